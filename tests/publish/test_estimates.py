"""The published estimates while labels are late, against the pure functions."""

import asyncio
import subprocess

import pytest
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.nowcast_result import drift_result, expected_classes, nowcast_result
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.delays import Cohort, total
from processor.domain.tally.estimates import Estimates, Estimator
from processor.domain.tally.windows import Window, parse_window
from processor.publish.api import encode_json
from processor.publish.estimates import families as estimate_families
from processor.publish.estimates.live import (
    AGED_AFTER,
    BURST,
    CHANGED_AFTER,
    SHARE,
    LiveEstimates,
    ModelEstimates,
)
from processor.settings import Settings
from tests.publish.served import Site
from tests.support.domain.late_cohorts import END, delays_of, late_hours, tallied
from tests.support.domain.late_numbers import NumberEvents
from tests.support.fakes import EXPERIMENT, UNJUDGED, FakeCounts, experiment_counts
from tests.support.late_worlds import DAY
from tests.support.model_collector import ModelCollector
from tests.support.scrape_parser import Series, exposed, model, parse_openmetrics, values

WINDOWS = Settings().windows
MATURITY = 7 * DAY


@pytest.fixture(scope="module")
def hours() -> dict[int, Cohort]:
    return late_hours()


def expected(hours: dict[int, Cohort], window: str, now: float = END) -> Estimates:
    estimator = Estimator(hours.items(), total(hours.values()), now, MATURITY)
    return estimator.of_window(parse_window(window).seconds)


def estimates_of(hours: dict[int, Cohort]) -> dict[ModelKey, ModelEstimates]:
    by_window = {window.name: expected(hours, window.name) for window in WINDOWS}
    return {EXPERIMENT: ModelEstimates(by_window, delays_of(hours.values()))}


def scraped(
    estimates: dict[ModelKey, ModelEstimates], settings: Settings | None = None
) -> dict[Series, float]:
    source = FakeCounts({EXPERIMENT: experiment_counts()})
    return values(parse_text(exposed(source, settings or Settings(), estimates)))


def late_names(series: dict[Series, float]) -> set[str]:
    known = {family.name for family in estimate_families.FAMILIES}
    return {name for name, _ in series if name in known}


def test_values_are_those_of_the_estimates(hours: dict[int, Cohort]) -> None:
    series, found = scraped(estimates_of(hours)), expected(hours, "24h")
    nowcast = found.nowcast
    assert nowcast.withheld is None
    assert nowcast.expected_judged is not None
    assert found.drift is not None

    def value(name: str, **own: str) -> float:
        return series[model(f"model_{name}", EXPERIMENT, "24h", **own)]

    assert value("accuracy_nowcast_ratio") == nowcast.accuracy
    assert value("accuracy_nowcast_low_ratio") == nowcast.accuracy_low
    assert value("accuracy_nowcast_high_ratio") == nowcast.accuracy_high
    assert value("nowcast_fit_ratio") == nowcast.fit
    assert value("feedback_expected_ratio") == nowcast.expected_judged / nowcast.predicted
    for label, score in expected_classes(nowcast.cells).items():
        assert value("recall_nowcast_ratio", class_=label) == score.ratios.recall
        assert value("precision_nowcast_ratio", class_=label) == score.ratios.precision
    for past in found.hindcast:
        known = model("model_nowcast_error_ratio", EXPERIMENT, "24h", age=past.age) in series
        assert known is (past.mean_error is not None)
        if known:
            assert value("nowcast_error_ratio", age=past.age) == past.mean_error
            assert value("nowcast_interval_coverage_ratio", age=past.age) == past.coverage
    for label, items in found.predicted.items():
        assert value("predicted_items", class_=label) == items
    assert value("prediction_jensen_shannon_distance") == found.drift.jensen_shannon
    assert value("prediction_distance_by_chance") == found.drift.by_chance
    names = {family.name for family in estimate_families.FAMILIES}
    assert late_names(series) == {name for name in names if "absolute_error" not in name}
    assert not [1 for name, labels in series if name in late_names(series)
                if ("by", "request") not in labels]  # fmt: skip


def test_a_withheld_nowcast_is_absent(hours: dict[int, Cohort]) -> None:
    assert expected(hours, "5m").nowcast.withheld is not None
    series = scraped(estimates_of(hours))
    assert model("model_accuracy_nowcast_ratio", EXPERIMENT, "5m") not in series
    assert model("model_recall_nowcast_ratio", EXPERIMENT, "5m", class_="0") not in series
    assert model("model_predicted_items", EXPERIMENT, "5m", class_="0") in series
    # All time has nothing before it.
    assert model("model_prediction_distance_by_chance", EXPERIMENT, "all") not in series


def test_only_with_the_group_and_by_request(hours: dict[int, Cohort]) -> None:
    estimates = estimates_of(hours)
    for settings in (Settings(metrics=("labels",)), Settings(metrics_by=("feedback",))):
        assert late_names(scraped(estimates, settings)) == set()
    assert "delay" not in exposed(FakeCounts(), Settings(metrics=("labels",)), estimates)


def test_classes_are_limited() -> None:
    hours = late_hours(classes=3)
    series = scraped(estimates_of(hours), Settings(max_classes=2))
    predicted = expected(hours, "all").predicted
    shown = sorted(predicted, key=lambda label: -predicted[label])[:2]
    own = {dict(labels)["class"] for name, labels in series if name == "model_predicted_items"}
    assert own == {*shown, "other"}
    (rest,) = predicted.keys() - shown
    assert series[model("model_predicted_items", EXPERIMENT, class_="other")] == predicted[rest]
    recalls = {
        dict(labels)["class"] for name, labels in series if name == "model_recall_nowcast_ratio"
    }
    assert len(recalls) == 2
    assert series["processor_capped_labels", frozenset()] == 1


def test_the_histogram_has_all_delays(hours: dict[int, Cohort]) -> None:
    series, delays = scraped(estimates_of(hours)), delays_of(hours.values())
    names = dict(zip(("deployment_namespace", "deployment", "predictor", "model"), EXPERIMENT,
                     strict=True))  # fmt: skip

    def up_to(bound: str) -> float:
        labels = frozenset({**names, "le": bound}.items())
        return series["model_feedback_delay_seconds_bucket", labels]

    assert up_to("60.0") == delays[0]
    assert up_to("120.0") == sum(delays[:2])
    assert up_to("+Inf") == sum(delays)


def test_the_text_is_that_of_prometheus_client(hours: dict[int, Cohort], promtool: str) -> None:
    settings, estimates = Settings(), estimates_of(hours)
    source = FakeCounts({EXPERIMENT: experiment_counts()})
    registry = CollectorRegistry()
    registry.register(ModelCollector(source, settings, lambda: END, estimates))
    ours, theirs = exposed(source, settings, estimates), generate_latest(registry).decode()
    assert values(parse_text(ours)) == values(parse_text(theirs))
    assert values(parse_openmetrics(ours + "# EOF\n")) == values(parse_text(theirs))
    run = subprocess.run(
        [promtool, "check", "metrics"], input=ours, capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


class Clock:
    """A timer that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def live(timer: Clock, windows: tuple[Window, ...] = WINDOWS) -> LiveEstimates:
    return LiveEstimates(windows, MATURITY, timer)


async def test_live_estimates_are_those_of_the_estimator(hours: dict[int, Cohort]) -> None:
    estimates = live(Clock())
    source = FakeCounts(late={EXPERIMENT: tallied(hours), UNJUDGED: tallied({})})
    await estimates.refresh(source, END)
    assert estimates.by_model() == estimates_of(hours)
    source.late.clear()
    await estimates.refresh(source, END)
    assert estimates.by_model() == {}


async def test_estimates_are_made_again_when_counts_or_ages_changed() -> None:
    timer, hours = Clock(), late_hours()
    estimates, source = live(timer, WINDOWS[-1:]), FakeCounts(late={EXPERIMENT: tallied(hours)})

    async def made(now: float) -> ModelEstimates:
        timer.now += 100 * BURST / SHARE
        await estimates.refresh(source, now)
        return estimates.by_model()[EXPERIMENT]

    first = await made(END)
    assert await made(END + CHANGED_AFTER) is first
    whole = source.late[EXPERIMENT].of_all_time
    assert whole is not None
    whole.change_by(Counts(predictions=1))
    assert await made(END + CHANGED_AFTER - 1) is first
    second = await made(END + CHANGED_AFTER)
    assert second is not first
    assert await made(END + CHANGED_AFTER + AGED_AFTER - 1) is second
    assert await made(END + CHANGED_AFTER + AGED_AFTER) is not second


async def test_estimates_take_a_share_of_the_time(
    hours: dict[int, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that no time is left for come next time, the oldest first."""
    timer, keys = Clock(), [EXPERIMENT._replace(model=f"m{i}") for i in range(5)]
    estimates = live(timer)
    made: list[ModelKey] = []
    source = FakeCounts(late={key: tallied({}) for key in keys})
    by_cohorts = {id(cohorts): key for key, cohorts in source.late.items()}

    async def make(cohorts: object, now: float) -> tuple[ModelEstimates, float]:
        made.append(by_cohorts[id(cohorts)])
        return ModelEstimates({}, ()), BURST / 2

    monkeypatch.setattr(estimates, "_make", make)
    await estimates.refresh(source, END)
    assert made == keys[:2]
    await estimates.refresh(source, END)
    assert made == keys[:2]
    timer.now += BURST / 2 / SHARE
    await estimates.refresh(source, END + AGED_AFTER)
    assert made == keys[:3]
    timer.now += 100 * BURST / SHARE
    await estimates.refresh(source, END + AGED_AFTER + 1)
    assert made == keys[:5]
    timer.now += BURST / 2 / SHARE
    await estimates.refresh(source, END + AGED_AFTER + 2)
    assert made == [*keys, keys[0]]


async def test_deltas_that_come_while_hours_are_read_break_nothing(
    hours: dict[int, Cohort],
) -> None:
    """The hours are then ahead of the counts of all time, which must not make negative counts."""
    cohorts = tallied(hours)
    behind = cohorts._replace(of_all_time=tallied(late_hours(now=END - DAY / 24)).of_all_time)
    estimates = live(Clock())
    await estimates.refresh(FakeCounts(late={EXPERIMENT: behind}), END)
    assert estimates.by_model() == estimates_of(hours)


async def test_two_requests_at_once_make_them_once(hours: dict[int, Cohort]) -> None:
    estimates = live(Clock())
    source = FakeCounts(late={EXPERIMENT: tallied(hours)})
    await asyncio.gather(*(estimates.refresh(source, END) for _ in range(2)))
    assert estimates.by_model().keys() == {EXPERIMENT}


async def test_the_metrics_port_serves_them(hours: dict[int, Cohort]) -> None:
    source = FakeCounts({EXPERIMENT: experiment_counts(), UNJUDGED: Counts(predictions=5)})
    source.late[EXPERIMENT] = tallied(hours)
    site = Site(source, clock=lambda: END)
    async with TestClient(await site.serve()) as client:
        text = await (await client.get("/metrics")).text()
        found = await (await client.get("/api/models?window=24h&by=request")).json()
        by_feedback = await (await client.get("/api/models?window=24h&by=feedback")).json()
    estimates = expected(hours, "24h")
    assert values(parse_text(text))[
        model("model_accuracy_nowcast_ratio", EXPERIMENT, "24h")
    ] == estimates.nowcast.accuracy  # fmt: skip
    first, second = found["models"]
    nowcast = nowcast_result(estimates)
    assert encode_json(first["nowcast"]) == encode_json(nowcast)
    assert encode_json(first["drift"]) == encode_json(drift_result(estimates))
    assert second["nowcast"] is second["drift"] is None
    assert by_feedback["models"][0]["nowcast"] is None


async def test_estimates_of_numbers(hours: dict[int, Cohort]) -> None:
    """Beside those of labels, whose model answers with both."""
    numbers = NumberEvents(seed=7, days=12, per_day=1200).cohorts(END)
    source = FakeCounts(late={EXPERIMENT: tallied({}, numbers), UNJUDGED: tallied(hours, numbers)})
    source.models = {key: Counts(predictions=1) for key in source.late}
    site = Site(source, clock=lambda: END)
    async with TestClient(await site.serve()) as client:
        series = values(parse_text(await (await client.get("/metrics")).text()))
        first, second = (await (await client.get("/api/models?window=24h&by=request")).json())[
            "models"
        ]
    estimator = Estimator(numbers.items(), total(numbers.values()), END, MATURITY, numbers=True)
    nowcast = estimator.of_window(DAY).nowcast
    assert nowcast.mae is not None
    for key, found, accuracy in (
        (EXPERIMENT, first, nowcast.accuracy),
        (UNJUDGED, second, expected(hours, "24h").nowcast.accuracy),
    ):
        for name, value in (
            ("absolute_error_nowcast", nowcast.mae),
            ("absolute_error_nowcast_low", nowcast.mae_low),
            ("absolute_error_nowcast_high", nowcast.mae_high),
            ("accuracy_nowcast_ratio", accuracy),
        ):
            assert series[model(f"model_{name}", key, "24h")] == value
        assert found["nowcast"]["mae"] == nowcast.mae
        assert found["nowcast"]["accuracy"] == accuracy
    assert (first["drift"], first["nowcast"]["classes"]) == (None, {})
    assert second["drift"] is not None
    delays = ("model_feedback_delay_seconds_bucket", "+Inf")
    found_delays = {
        dict(labels)["deployment"]: n
        for (name, labels), n in series.items()
        if (name, dict(labels).get("le")) == delays
    }
    judged = sum(delays_of(numbers.values()))
    assert found_delays[EXPERIMENT.deployment] == judged
    assert found_delays[UNJUDGED.deployment] == judged + sum(delays_of(hours.values()))


async def test_days_of_the_plots(hours: dict[int, Cohort]) -> None:
    """They are kept for a minute, and only of the models that were asked for last."""
    source, estimates = FakeCounts(late={EXPERIMENT: tallied(hours)}), live(Clock())
    found = await estimates.late_days(source, EXPERIMENT, END)
    assert found is not None
    assert not found.of_numbers
    assert [day.start for day in found.days] == [day * DAY for day in range(12)]
    whole = total(hours.values())
    assert sum(day.predicted for day in found.days) == sum(whole.predicted.values())
    assert sum(day.judged for day in found.days) == sum(delays_of(hours.values()))
    first, last = found.days[0], found.days[-1]
    # Of the oldest day all labels are in: the three ways agree.
    assert first.nowcast is not None
    assert first.so_far is not None
    assert first.due > 0.95 > last.due
    assert first.nowcast[0] == pytest.approx(first.so_far, abs=0.02)
    assert first.shares[0] is not None
    assert all(share is None for share in last.shares)
    assert {each.cell.actual == each.cell.predicted for each in found.outcomes} == {True, False}
    source.late.clear()
    assert await estimates.late_days(source, EXPERIMENT, END + 10) is found
    assert await estimates.late_days(source, EXPERIMENT, END + 2 * AGED_AFTER) is None
    assert await estimates.late_days(source, UNJUDGED, END) is None
