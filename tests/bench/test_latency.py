"""Probes are matched to the numbers that count them, and the tables say what was found."""

import json

import pytest

from bench.latency import Lane, Level, counted, percentile, table
from bench.scale import shared
from bench.scale import table as scale_table
from bench.support.measure import BenchError, Run

SCRAPE = """# TYPE model_predictions gauge
model_predictions{deployment_namespace="seldon",deployment="model-9",predictor="default",\
model="classifier",window="all",by="request"} 12.0
model_predictions{deployment_namespace="seldon",deployment="model-9",predictor="default",\
model="classifier",window="5m",by="request"} 3.0
model_judged{deployment_namespace="seldon",deployment="model-9",predictor="default",\
model="classifier",window="all",by="request"} 7
model_judged{deployment_namespace="seldon",deployment="model-9",predictor="default",\
model="classifier",window="all",by="feedback"} 8
model_correct{deployment_namespace="seldon",deployment="model-9",predictor="default",\
model="classifier",window="all",by="request"} 6
"""


def test_numbers_of_all_time_by_request_are_read() -> None:
    assert list(counted(SCRAPE)) == [("model-9", "predictions", 12), ("model-9", "judged", 7)]


def test_a_probe_counts_once_with_the_scrape_that_has_it() -> None:
    lane = Lane()
    lane.sent["predictions"] = [10.0, 11.0, 12.0]
    lane.sent["judged"] = [11.0]

    assert lane.waiting == 4
    assert lane.show("predictions", 0, 10.1) == []
    assert lane.show("predictions", 2, 12.5) == [2.5, 1.5]
    assert lane.show("predictions", 2, 12.6) == []
    assert lane.show("judged", 1, 12.7) == [pytest.approx(1.7)]
    assert lane.waiting == 1
    with pytest.raises(BenchError, match=r"4 predictions .* 3 were sent"):
        lane.show("predictions", 4, 13.0)


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.99, 99), (0.991, 100), (1, 100), (0, 1)]
)
def test_percentile_is_a_value_that_was_found(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_table_of_latencies() -> None:
    level = Level(0.5, 1000, 998, [number / 1000 for number in range(1, 101)], [0.02])

    assert table([level]).splitlines()[-1] == ("| 50% | 1,000 | 998 | 50 | 99 | 100 | 100 | 20 |")


def test_table_of_workers() -> None:
    one = [Run("1 workers", 1000, seconds, 0.02, 10**8) for seconds in (0.02, 0.04)]
    two = [Run("2 workers", 1000, seconds, 0.03, 2 * 10**8) for seconds in (0.01, 0.04)]

    assert scale_table({1: one, 2: two}).splitlines()[2:] == [
        "| 1 | 37,500 (25,000-50,000) | 1.00 | 20.0 (20.0-20.0) | 100 (100-100) |",
        "| 2 | 62,500 (25,000-100,000) | 1.50 | 30.0 (30.0-30.0) | 200 (200-200) |",
    ]


def _ready(observations: range, deltas: range, lag: int | None = 0) -> bytes:
    held = {"observations": list(observations), "deltas": list(deltas)}
    return json.dumps({"partitions": held, "lag": lag}).encode()


@pytest.mark.parametrize(
    ("bodies", "so"),
    [
        ([_ready(range(8), range(8))], True),
        ([_ready(range(4), range(3)), _ready(range(4, 8), range(3, 8))], True),
        ([_ready(range(4), range(3)), None], False),
        ([_ready(range(8), range(8)), _ready(range(0), range(0))], False),
        ([_ready(range(5), range(3)), _ready(range(4, 8), range(3, 8))], False),
        ([_ready(range(4), range(4)), _ready(range(4, 8), range(4, 8), lag=None)], False),
    ],
)
def test_workers_share_when_every_part_is_held_once(bodies: list[bytes | None], so: bool) -> None:
    assert shared(bodies) is so
