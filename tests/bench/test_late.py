"""The simulation behind the table of late labels."""

import numpy as np
import pytest

from bench.late.__main__ import triangles
from bench.late.worlds import NOW, Measured, best_estimate, measured, summary
from tests.support.late_worlds import DAY, Events, World


def test_errors_in_numbers() -> None:
    found = summary(
        [Measured(0.03, 0.0, True), Measured(-0.01, 0.02, False), Measured(None, 0.0, None)]
    )
    assert found.mean == pytest.approx(0.01)
    assert found.rms == pytest.approx(0.0005**0.5)
    assert found.best_rms == pytest.approx((0.0004 / 3) ** 0.5)
    assert found.held == 0.5
    assert found.withheld == pytest.approx(1 / 3)


def test_the_best_estimate_is_near_the_truth() -> None:
    world = World(per_day=1000)
    events = Events(world, 1)
    assert best_estimate(events, world, NOW - DAY) == pytest.approx(0.848, abs=0.04)
    assert dict(measured(world, [1])).keys() == {"24 h", "7 d"}


def test_triangles_have_all_that_is_known() -> None:
    events = Events(World(days=8, per_day=200), 1)
    now = 8.0 * DAY
    found = triangles(events, now)
    known = events.labelled & (events.time + events.delay <= now)
    assert [len(ages) for ages in found["right"]] == list(range(8, 0, -1))
    assert sum(map(sum, found["right"])) == np.sum(known & events.right)
    assert sum(map(sum, found["wrong"])) == np.sum(known & ~events.right)
