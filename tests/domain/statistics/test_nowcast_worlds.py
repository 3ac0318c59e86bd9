"""The nowcast in simulated worlds. The seeds were not chosen after a look."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import pytest

from processor.domain.statistics.delays import total
from processor.domain.statistics.nowcast import MAX_FIT, MIN_FIT
from processor.domain.tally.estimates import Estimates, Estimator
from tests.support.late_worlds import DAY, Events, World

_NOW = 30.0 * DAY + 7 * 3600
_SEEDS = range(1, 11)


class Errors(NamedTuple):
    """The errors of the nowcasts that were not withheld, and the share of their intervals that held."""

    values: Sequence[float]
    held: float

    @property
    def rms(self) -> float:
        return sqrt(sum(error * error for error in self.values) / len(self.values))


def estimates(events: Events, hours: int, now: float = _NOW) -> Estimates:
    cohorts = events.cohorts(now)
    estimator = Estimator(cohorts.items(), total(cohorts.values()), now, 7 * DAY)
    return estimator.of_window(hours * 3600)


def errors(world: World, hours: int) -> Errors:
    found, held = [], 0
    for seed in _SEEDS:
        events = Events(world, seed)
        nowcast = estimates(events, hours).nowcast
        assert nowcast.withheld is None, (seed, nowcast)
        assert nowcast.accuracy is not None
        assert nowcast.accuracy_low is not None
        assert nowcast.accuracy_high is not None
        start = (_NOW // 3600 + 1 - hours) * 3600
        truth = events.accuracy(start, _NOW)
        found.append(nowcast.accuracy - truth)
        held += nowcast.accuracy_low <= truth <= nowcast.accuracy_high
    return Errors(found, held / len(found))


@pytest.mark.parametrize("hours", [24, 168])
@pytest.mark.parametrize(
    "world",
    [World(), World(classes=3), World(surge=29), World(drop=26), World(weekly=True)],
    ids=["steady", "three classes", "surge", "drop", "weekly"],
)
def test_it_is_right_before_the_labels_are_in(world: World, hours: int) -> None:
    found = errors(world, hours)
    assert found.rms <= 0.02
    assert found.held >= 0.7


def test_both_bases_mislead_where_it_does_not() -> None:
    events = Events(World(surge=29), seed=1)
    nowcast = estimates(events, 24).nowcast
    judged, right = events.by_request(_NOW - DAY, _NOW)
    assert right / judged < 0.6
    judged, right = events.by_feedback(_NOW - DAY, _NOW)
    assert right / judged < 0.8
    assert nowcast.accuracy == pytest.approx(0.848, abs=0.02)


@pytest.mark.parametrize("seed", _SEEDS)
def test_it_is_withheld_when_labels_slow_down(seed: int) -> None:
    nowcast = estimates(Events(World(slow=28), seed), 24).nowcast
    assert nowcast.withheld == "the pace of labels has changed"
    assert nowcast.accuracy is None
    assert nowcast.fit is not None
    assert nowcast.fit < MIN_FIT < MAX_FIT


def test_the_hindcast_says_how_right_it_was() -> None:
    found = {each.age: each for each in estimates(Events(World(), 1), 24).hindcast}
    assert found["1h"].cohorts == 0
    for age in ("1d", "3d"):
        assert found[age].cohorts == 23
        assert found[age].mean_error == pytest.approx(0, abs=0.01)
        assert (found[age].coverage or 0) >= 0.9
