"""Simulated worlds, the errors of their nowcasts, and the best that can be had of each."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr  # type: ignore[import-untyped]

from processor.domain.statistics.delays import total
from processor.domain.tally.estimates import Estimator
from tests.support.late_worlds import DAY, HOUR, Events, World

#: The moment of each nowcast, in seconds: seven in the morning of the last day.
NOW = 30.0 * DAY + 7 * HOUR
MATURITY = 7 * DAY
#: The windows, in hours.
WINDOWS = {"24 h": 24, "7 d": 7 * 24}

WORLDS = {
    "steady": World(),
    "accuracy falls by 0.10 at once": World(drop=26, fall=0.1),
    "traffic times three": World(surge=29),
    "three classes": World(classes=3),
    "400 predictions a day": World(per_day=400),
    "weekly rhythm": World(weekly=True),
    "a ninth of the labels no longer comes": World(fewer=26),
    "labels 1.05 times slower": World(slow=28, slower=1.05),
    "labels 1.5 times slower": World(slow=28),
}


class Measured(NamedTuple):
    """One nowcast: its error, the error of the best estimate, and whether its interval held; the first
    and the last are None if it was withheld."""

    error: float | None
    best: float
    held: bool | None


class Summary(NamedTuple):
    """The nowcasts of one world in one window."""

    mean: float
    rms: float
    best_rms: float
    held: float
    withheld: float


def measured(world: World, seeds: Iterable[int]) -> Iterator[tuple[str, Measured]]:
    """Yield the nowcast of each seed in each window."""
    for seed in seeds:
        events = Events(world, seed)
        hours = events.cohorts(NOW)
        estimator = Estimator(hours.items(), total(hours.values()), NOW, MATURITY)
        for name, length in WINDOWS.items():
            start = (NOW // HOUR + 1 - length) * HOUR
            truth = events.accuracy(start, NOW)
            found = estimator.of_window(length * HOUR).nowcast
            best = best_estimate(events, world, start) - truth
            if found.accuracy is None:
                yield name, Measured(None, best, None)
                continue
            low, high = found.accuracy_low or 0.0, found.accuracy_high or 1.0
            yield name, Measured(found.accuracy - truth, best, low <= truth <= high)


def best_estimate(events: Events, world: World, start: float) -> float:
    """Return the most likely accuracy of the predictions from ``start`` on, for somebody who knows the
    world: the distribution of the delays of right and of wrong ones, and the share that gets a label.
    Nobody does; it is what the labels that are in allow at best. It also knows when accuracy fell. By
    expectation and maximization."""
    inside = (events.time >= start) & (events.time < NOW)
    known = inside & events.labelled & (events.time + events.delay <= NOW)
    right = 0.0
    labelled = world.labelled * np.where(events.fewer, 8 / 9, 1.0)
    fell = events.time >= (np.inf if world.drop is None else world.drop * DAY)
    for label, after in product(range(events.classes), (False, True)):
        own = inside & (events.predicted == label) & (fell == after)
        if not own.any():
            continue
        ages = np.log((NOW - events.time[own]) / DAY)
        slower = np.log(world.slower) * (events.time[own] >= (world.slow or np.inf) * DAY)
        in_right, in_wrong = (
            labelled[own] * ndtr((ages - slower - np.log(median)) / world.spread)
            for median in (world.right_after, world.wrong_after)
        )
        is_known, is_right = known[own], events.right[own]
        share = 0.5
        for _ in range(500):
            missing = share * (1 - in_right)
            likely = missing / (missing + (1 - share) * (1 - in_wrong))
            last, share = share, float(np.where(is_known, is_right, likely).mean())
            if abs(share - last) < 1e-9:
                break
        right += share * own.sum()
    return float(right / inside.sum())


def summary(found: Iterable[Measured]) -> Summary:
    """Return the errors of some nowcasts in numbers; NaN where all were withheld."""
    all_of_them = list(found)
    errors = [each.error for each in all_of_them if each.error is not None]
    held = [each.held for each in all_of_them if each.held is not None]
    return Summary(
        sum(errors) / len(errors) if errors else float("nan"),
        _rms(errors),
        _rms([each.best for each in all_of_them]),
        sum(held) / len(held) if held else float("nan"),
        1 - len(errors) / len(all_of_them),
    )


def _rms(errors: list[float]) -> float:
    return sqrt(sum(each * each for each in errors) / len(errors)) if errors else float("nan")
