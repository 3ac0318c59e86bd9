"""The metrics that only alert rules need."""

from typing import Any

from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import parse_rules
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.tally.recent import RecentCounts
from processor.domain.tally.windows import parse_window
from processor.publish.alert_families import recent_samples
from processor.publish.exposition import Exposition
from processor.settings import Settings
from tests.publish.served import Site
from tests.support.fakes import EXPERIMENT, UNJUDGED, FakeCounts, experiment_counts
from tests.support.valued_counts import number_counts

KEY = ModelKey("seldon", "iris", "default", "tree")
Samples = dict[str, dict[tuple[str, ...], float]]


def parsed(text: str) -> Samples:
    """Values by family and by the labels' values in the order of their names."""
    return {
        family.name: {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in family.samples
        }
        for family in parse_text(text)
    }


def recent(month: Counts, day: Counts, whole: Counts | None = None) -> Samples:
    windows = {"24h": (day, day), "7d": (month, month), "30d": (month, month)}
    exposition = Exposition(64)
    for labels, samples in recent_samples(KEY, RecentCounts(windows, whole or month), 2):
        exposition.add_samples(labels, samples)
    return parsed(exposition.text())


ENTRY = {
    "match": "seldon/*",
    "floor": 0.7,
    "max_error": 2.5,
    "feedback_every": "7d",
    "min_coverage": 0,
    "retired": True,
    "retired_classes": ["old"],
}


async def scrape(client: TestClient[Any, Any]) -> Samples:
    async with client.get("/metrics") as answer:
        return parsed(await answer.text())


async def test_limits_of_the_models_file_are_published_as_it_is_now() -> None:
    site = Site(FakeCounts({EXPERIMENT: experiment_counts(), UNJUDGED: Counts(5)}))
    site.rules = parse_rules({"models": [ENTRY]}, "file")
    async with TestClient(await site.serve()) as client:
        found = await scrape(client)
        names = ("sklearn", "seldon", "classifier", "default")
        assert found["model_floor_ratio"] == {names: 0.7}
        assert found["model_max_error"] == {names: 2.5}
        assert found["model_feedback_every_seconds"] == {names: 7 * 86400}
        assert found["model_min_coverage_ratio"] == {names: 0}
        assert found["model_retired"] == {names: 1}
        assert found["model_class_retired"] == {("old", *names): 1}
        async with client.get("/api/models?window=all&by=request") as answer:
            first, second = (await answer.json())["models"]
        assert first["targets"] == {
            "floor": 0.7,
            "max_error": 2.5,
            "feedback_every": 604800,
            "min_coverage": 0,
            "retired": True,
            "retired_classes": ["old"],
        }
        assert second["targets"] is None
        site.rules.replace(parse_rules({"models": [{"match": "shop/*", "floor": 1}]}, "f").entries)
        found = await scrape(client)
        assert found["model_floor_ratio"] == {("churn", "shop", "xgb", "default"): 1}
        assert "model_retired" not in found


async def test_recent_windows_do_not_depend_on_the_settings() -> None:
    settings = Settings(windows=(parse_window("5m"),), metrics_by=("request",))
    site = Site(FakeCounts({EXPERIMENT: experiment_counts()}, names=("5m",)), settings=settings)
    async with TestClient(await site.serve()) as client:
        found = await scrape(client)
    views = {(labels[0], labels[-1]) for labels in found["model_recent_judged"]}
    assert views == {(by, w) for by in ("request", "feedback") for w in ("24h", "7d", "30d")}
    assert set(found["model_recent_predictions"].values()) == {100}
    assert set(found["model_recent_correct"].values()) == {46}


def test_a_class_that_vanished_has_samples_of_zero() -> None:
    month = Counts(
        judged=10, correct=7, cells={Cell("a", "a"): 5, Cell("b", "b"): 2, Cell("b", "a"): 3}
    )
    day = Counts(judged=2, correct=2, cells={Cell("a", "a"): 2})
    found = recent(month, day)["model_class_items"]
    of = {(labels[1], labels[4], labels[-1]): value for labels, value in found.items()}
    assert of == {
        ("a", "actual", "30d"): 5,
        ("a", "predicted", "30d"): 8,
        ("a", "right", "30d"): 5,
        ("b", "actual", "30d"): 5,
        ("b", "predicted", "30d"): 2,
        ("b", "right", "30d"): 2,
        ("a", "actual", "24h"): 2,
        ("a", "predicted", "24h"): 2,
        ("a", "right", "24h"): 2,
        ("b", "actual", "24h"): 0,
        ("b", "predicted", "24h"): 0,
        ("b", "right", "24h"): 0,
    }


def test_the_largest_classes_of_the_month_are_those_of_the_day() -> None:
    month = Counts(judged=9, cells={Cell("a", "a"): 5, Cell("b", "b"): 3, Cell("c", "c"): 1})
    day = Counts(judged=9, cells={Cell("c", "c"): 9})
    classes = {labels[1] for labels in recent(month, day)["model_class_items"]}
    assert classes == {"a", "b"}


def test_numbers_without_a_tolerance_are_never_correct() -> None:
    """So a share of correct items would be 0."""
    numbers = number_counts([(2, 1), (4, 2)])
    assert "model_recent_correct" not in recent(Counts(judged=2), Counts(judged=2), numbers)


def test_the_group_of_labels_has_the_classes() -> None:
    counts = Counts(judged=1, correct=1, cells={Cell("a", "a"): 1})
    both = RecentCounts(dict.fromkeys(("24h", "7d", "30d"), (counts, counts)), counts)
    names = {
        sample.family
        for _, samples in recent_samples(KEY, both, 64, ("numbers",))
        for sample in samples
    }
    assert names == {"model_recent_judged", "model_recent_predictions", "model_recent_correct"}
