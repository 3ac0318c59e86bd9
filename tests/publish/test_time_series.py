"""Counts over time, compared with the buckets that they are the sums of."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, Counts
from processor.domain.statistics.labels import wilson
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import HOURS, MINUTES, TIERS, parse_window
from processor.publish.interfaces import WorkerView
from processor.publish.site import make_site
from processor.publish.time_series import MAX_LIST_POINTS, MAX_POINTS, TimeSeries, time_series
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.fakes import EXPERIMENT, NOW, UNJUDGED, FakeCounts, FakeHealth
from tests.support.large_counts import ManyModels
from tests.support.valued_counts import number_counts

MINUTE = int(NOW) // 60


class Buckets(FakeCounts):
    """One model: counts by how many minutes ago they were."""

    def __init__(self, ago: dict[int, Counts]) -> None:
        super().__init__({EXPERIMENT: Counts()})
        self._ago = ago

    def buckets(self, tier: int, by: str) -> dict[ModelKey, dict[int, Counts]]:
        size, keep = TIERS[tier].size // 60, TIERS[tier].keep // 60
        found: dict[int, Counts] = {}
        for ago, counts in self._ago.items():
            if not keep or ago <= keep:
                found.setdefault((MINUTE - ago) // size, Counts()).add(counts)
        return {EXPERIMENT: found}


def totals(result: TimeSeries) -> list[tuple[int, int, int]]:
    """Predictions, judged and correct of each model."""
    return [
        (sum(each.points.predictions), sum(each.points.judged), sum(each.points.correct))
        for each in result.models
    ]


@pytest.mark.parametrize("window", ["5m", "1h", "24h", "7d", "30d", "52w", "all"])
@pytest.mark.parametrize("only", [None, EXPERIMENT])
async def test_a_window_holds_what_its_buckets_hold(window: str, only: ModelKey | None) -> None:
    chosen = parse_window(window)
    size = TIERS[chosen.tier].size // 60 if chosen.seconds else 1
    ago = [0, 1, 4, 5, 59, 60, 1439, 1440, 10_079, 40_000, 500_000]
    result = await time_series(
        Buckets({each: Counts(3, 2, 1) for each in ago}), chosen, "request", NOW, only
    )
    first = MINUTE // size - chosen.seconds // 60 // size + 1 if chosen.seconds else 0
    inside = sum((MINUTE - each) // size >= first for each in ago)
    assert totals(result) == [(3 * inside, 2 * inside, inside)]
    points = result.models[0].points
    assert points.index == sorted(set(points.index))
    assert points.index[-1] < result.steps <= (MAX_POINTS if only else MAX_LIST_POINTS)


async def test_a_point_has_the_interval_of_its_counts() -> None:
    counts_source = Buckets({2: Counts(9, 8, 6), 1: Counts(1)})
    points = (await time_series(counts_source, parse_window("5m"), "request", NOW)).models[0].points
    assert points.index == [2, 3]
    assert (points.low[0], points.high[0]) == wilson(6, 8)
    assert (points.low[1], points.high[1]) == (None, None)


async def test_the_interval_leaves_out_numbers_without_a_tolerance() -> None:
    """A number is judged, and neither right nor wrong (counting rule 28)."""
    numbers = number_counts([(1.0, 2.0), (3.0, 3.0)])
    both = Counts(8, 8, 6)
    both.add(numbers)
    counts_source = Buckets({2: numbers, 1: both})
    points = (await time_series(counts_source, parse_window("5m"), "request", NOW)).models[0].points
    assert points.judged == [2, 10]
    assert (points.low[0], points.high[0]) == (None, None)
    assert (points.low[1], points.high[1]) == wilson(6, 8)


async def test_numbers_have_the_means_of_both_sides() -> None:
    buckets = Buckets({0: number_counts([(3.0, 2.0), (5.0, 8.0)])})
    series = await time_series(buckets, parse_window("1h"), "request", NOW)
    (model,) = series.models
    assert model.measure == "mae"
    assert (model.points.mean_predicted, model.points.mean_actual) == ([4.0], [5.0])
    assert model.points.value == [2.0]


@pytest.mark.parametrize(
    ("oldest", "step"),
    [(1, 60), (59, 60), (60, 120), (24 * 60, 25 * 60), (26 * 60, 3600), (32 * 1440, 86400)],
)
async def test_all_time_is_as_fine_as_the_buckets_that_reach_back(oldest: int, step: int) -> None:
    counts_source = Buckets({oldest: Counts(1), 0: Counts(1)})
    result = await time_series(counts_source, parse_window("all"), "request", NOW, EXPERIMENT)
    assert result.step == step
    assert totals(result) == [(2, 0, 0)]


async def test_nothing_is_no_error() -> None:
    counts_source = FakeCounts()
    assert (await time_series(counts_source, parse_window("all"), "request", NOW)).models == ()
    assert (
        await time_series(counts_source, parse_window("1h"), "request", NOW, EXPERIMENT)
    ).models == ()


def test_the_tally_gives_its_buckets() -> None:
    tally = Tally(1, "epoch", Settings().windows)
    delta = Delta(0, BASES.index("feedback"), MINUTE, (0, 2, 0, 0, 0, 0, 0), [])
    batch = DeltaBatch(1, "epoch", 0, 0, -1, [EXPERIMENT], [], [delta])
    assert tally.apply(0, int(NOW) * 1_000_000_000, batch)
    ((key, minutes),) = tally.buckets(MINUTES, "feedback")
    assert (key, minutes) == (EXPERIMENT, {MINUTE: Counts(judged=2)})
    ((_, hours),) = tally.buckets(HOURS, "feedback")
    assert hours == {MINUTE // 60: Counts(judged=2)}
    assert [buckets for _, buckets in tally.buckets(MINUTES, "request")] == [{}]


async def test_the_pages_answers_agree_with_the_contracts(counts_source: FakeCounts) -> None:
    worker = WorkerView(counts_source, FakeHealth(), Telemetry(late=3), Settings(), lambda: NOW)
    site = make_site(worker)
    async with TestClient(TestServer(site)) as client:

        async def body(path: str, **query: str) -> Any:
            async with client.get(path, params=query) as answer:
                assert answer.status == 200
                return await answer.json()

        for by in BASES:
            (whole, quiet) = (await body("/api/models", window="24h", by=by))["models"]
            names = dict(zip(ModelKey._fields, EXPERIMENT, strict=True))
            page = await body("/api/page", window="24h", by=by, **names)
            # The page has no fields of other tasks.
            shown = page["detail"]["result"]
            assert {name for name in whole if whole[name] not in (None, 0, [], {})} <= shown.keys()
            assert all(whole[name] == value for name, value in shown.items())
            for found, wanted in zip(page["models"], (whole, quiet), strict=True):
                assert found == {name: wanted[name] for name in found}
            assert [each["window"] for each in page["detail"]["windows"]] == list(
                counts_source.names
            )
            assert page["work"]["events"]["late"] == 3
            past = await body("/api/history", window="24h", by=by)
            assert len(past["models"]) == 2
        unknown = dict(zip(ModelKey._fields, UNJUDGED._replace(model="x"), strict=True))
        assert (await body("/api/page", **unknown))["detail"] is None
        async with client.get("/api/page", params={"window": "2h"}) as answer:
            assert answer.status == 400


async def test_many_models_share_one_axis() -> None:
    result = await time_series(ManyModels(5), parse_window("all"), "request", NOW)
    assert len(result.models) == 5
    assert all(each.points.index[-1] < result.steps for each in result.models)
