"""Simulated models whose labels come late, wrong ones sooner than right ones (numpy arrays, one entry a
prediction)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import BUCKETS, ENDS, Cohort

HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class World:
    """How a model and its labels behave; times are in days.

    Traffic triples at ``surge``, and for one to three days ``surges`` times at random. Accuracy falls by
    ``fall`` at ``drop``, delays become ``slower`` times as long at ``slow``, and no label comes from
    ``stop`` on; from ``fewer`` on a ninth of them no longer comes. Delays are log-normal, with one
    median for wrong and one for right predictions; with ``deliveries`` the labels wait for one delivery
    a week. With ``nights`` a third of each day has no traffic. The class 1 no longer
    occurs from ``without`` on.
    """

    days: float = 31
    per_day: float = 4000
    classes: int = 2
    accuracy: float = 0.848
    labelled: float = 0.9
    wrong_after: float = 0.45
    right_after: float = 1.8
    spread: float = 0.75
    surge: float | None = None
    surges: int = 0
    drop: float | None = None
    fall: float = 0.05
    slow: float | None = None
    slower: float = 1.5
    stop: float | None = None
    weekly: bool = False
    nights: bool = False
    deliveries: bool = False
    without: float | None = None
    fewer: float | None = None


class Events:
    """The predictions of a world: times and delays in seconds, labels as numbers."""

    def __init__(self, world: World, seed: int) -> None:
        random = np.random.default_rng(seed)
        hours = np.arange(round(world.days * 24))
        rate = world.per_day / 24 * (1 + 0.5 * np.sin(2 * np.pi * hours / 24))
        if world.weekly:
            rate = rate * np.where(hours // 24 % 7 >= 5, 0.3, 1.0)
        if world.nights:
            rate = np.where(hours % 24 < 8, 0.0, rate)
        if world.surge is not None:
            rate = np.where(hours >= world.surge * 24, 3 * rate, rate)
        moments = np.random.default_rng((seed, 1))  # so that a world without surges is as it was
        for start in moments.integers(0, len(hours), world.surges):
            rate[start : start + moments.integers(24, 72)] *= 3
        counts = random.poisson(rate)
        hour = np.repeat(hours, counts)
        size = len(hour)
        self.classes = world.classes
        self.time: NDArray[np.float64] = (hour + random.random(size)) * HOUR
        shares = [0.9, 0.1] if world.classes == 2 else [0.6, 0.3, 0.1]
        self.predicted: NDArray[np.int64] = random.choice(world.classes, size, p=shares)
        if world.without is not None:
            self.predicted[(self.predicted == 1) & (self.time >= world.without * DAY)] = 0
        accuracy = np.full(size, world.accuracy)
        if world.drop is not None:
            accuracy -= world.fall * (self.time >= world.drop * DAY)
        self.right: NDArray[np.bool_] = random.random(size) < accuracy
        others = (self.predicted + 1 + random.integers(0, world.classes - 1, size)) % world.classes
        self.actual: NDArray[np.int64] = np.where(self.right, self.predicted, others)
        self.fewer = self.time >= (np.inf if world.fewer is None else world.fewer * DAY)
        labelled = np.where(self.fewer, world.labelled * 8 / 9, world.labelled)
        self.labelled: NDArray[np.bool_] = random.random(size) < labelled
        median = np.where(self.right, world.right_after, world.wrong_after) * DAY
        if world.slow is not None:
            median = np.where(self.time >= world.slow * DAY, world.slower * median, median)
        self.delay: NDArray[np.float64] = median * np.exp(
            world.spread * random.standard_normal(size)
        )
        if world.deliveries:
            came = np.ceil((self.time + self.delay) / (7 * DAY)) * 7 * DAY
            self.delay = came - self.time
        if world.stop is not None:
            self.labelled &= self.time + self.delay < world.stop * DAY

    def cohorts(self, now: float, horizon: float = 30 * DAY) -> dict[int, Cohort]:
        """The cohorts by hour of all that is known at ``now`` (s)."""
        classes = self.classes
        found: dict[int, Cohort] = {}
        hours = (self.time // HOUR).astype(np.int64)
        seen = self.time < now
        keys, counts = np.unique(hours[seen] * classes + self.predicted[seen], return_counts=True)
        for key, items in zip(keys.tolist(), counts.tolist(), strict=True):
            hour, label = divmod(key, classes)
            found.setdefault(hour, Cohort()).add_predicted(str(label), items)
        known = self._known(now) & (self.delay <= horizon)
        bucket = np.searchsorted(np.array(ENDS), self.delay[known], side="left")
        cell = (hours[known] * classes + self.actual[known]) * classes + self.predicted[known]
        keys, counts = np.unique(cell * BUCKETS + bucket, return_counts=True)
        for key, items in zip(keys.tolist(), counts.tolist(), strict=True):
            rest, number = divmod(key, BUCKETS)
            rest, predicted = divmod(rest, classes)
            hour, actual = divmod(rest, classes)
            found[hour].add_judged(Cell(str(actual), str(predicted)), number, items)
        return found

    def accuracy(self, start: float, end: float) -> float:
        """The accuracy of the predictions from ``start`` to ``end`` (s), labelled or not."""
        return float(self.right[(self.time >= start) & (self.time < end)].mean())

    def by_feedback(self, start: float, end: float) -> tuple[int, int]:
        """How many items were judged from ``start`` to ``end`` (s), and how many of them right."""
        at = self.time + self.delay
        judged = self.labelled & (at >= start) & (at < end)
        return int(judged.sum()), int((judged & self.right).sum())

    def by_request(self, start: float, end: float) -> tuple[int, int]:
        """How many items predicted from ``start`` to ``end`` (s) are judged at ``end``, and how many of
        them right."""
        judged = self._known(end) & (self.time >= start) & (self.time < end)
        return int(judged.sum()), int((judged & self.right).sum())

    def _known(self, now: float) -> NDArray[np.bool_]:
        return self.labelled & (self.time + self.delay <= now)


def hourly(start: float, end: float) -> Iterator[float]:
    """Yield the ends of the hours from ``start`` to ``end`` (days), in seconds."""
    for hour in range(round(start * 24), round(end * 24)):
        yield (hour + 1) * float(HOUR) - 1
