"""Simulated models of numbers whose truths come late, those of large errors sooner than others (numpy
arrays, one entry a prediction)."""

from collections.abc import Iterator
from random import Random

import numpy as np
from numpy.typing import NDArray

from processor.domain.log.observations import EVENT, Feedback, Prediction
from processor.domain.quantities import pack_number
from processor.domain.statistics.delays import Cohort, bucket_of
from processor.domain.statistics.error_delays import (
    MeasuredItem,
    add_measured,
    class_of,
)
from processor.domain.timestamps import SECOND
from processor.domain.values import NUMBER, Answer, Reading, Schema
from tests.support.domain.join_batches import MODEL
from tests.support.domain.join_model import Observation
from tests.support.late_worlds import DAY, HOUR


class NumberEvents:
    """The predictions of a model: times, errors and delays; errors are log-normal in units of a
    millionth, one in seven is above ``limit``, and these are known after half a day, others after two.
    From ``drop`` (days) on errors are twice as large, from ``slow`` on delays 1.5 times as long."""

    limit = 2_000_000

    def __init__(
        self,
        seed: int,
        days: float = 31,
        per_day: float = 4000,
        drop: float | None = None,
        slow: float | None = None,
    ) -> None:
        random = np.random.default_rng(seed)
        size = random.poisson(days * per_day)
        self.time: NDArray[np.float64] = np.sort(random.random(size)) * days * DAY
        scale = np.where(self.time >= (np.inf if drop is None else drop * DAY), 2.0, 1.0)
        errors = 800_000 * scale * np.exp(0.85 * random.standard_normal(size))
        self.error: NDArray[np.int64] = errors.astype(np.int64)
        median = np.where(self.error > self.limit, 0.5, 2.0) * DAY
        if slow is not None:
            median = np.where(self.time >= slow * DAY, 1.5 * median, median)
        self.delay: NDArray[np.float64] = median * np.exp(0.75 * random.standard_normal(size))
        self.known: NDArray[np.bool_] = random.random(size) < 0.9

    def items(self, now: float) -> Iterator[tuple[float, MeasuredItem, float | None]]:
        """Yield each prediction up to ``now`` (s): time, error, and the delay if it is judged."""
        seen = self.time < now
        judged = self.known & (self.time + self.delay <= now)
        columns = (self.time[seen], self.error[seen], self.delay[seen], judged[seen])
        for time, size, delay, is_judged in zip(*(each.tolist() for each in columns), strict=True):
            item = MeasuredItem("", class_of(size, size <= self.limit), size)
            yield time, item, delay if is_judged else None

    def cohorts(self, now: float) -> dict[int, Cohort]:
        """The cohorts by hour of all that is known at ``now`` (s)."""
        found: dict[int, Cohort] = {}
        for time, item, delay in self.items(now):
            cohort = found.setdefault(int(time // HOUR), Cohort())
            cohort.add_predicted("", 1)
            if delay is not None:
                add_measured(cohort, item, bucket_of(round(delay * SECOND)))
        return found

    def truth(self, start: float, end: float) -> tuple[float, float]:
        """The mean absolute error, in millions of units, and the share within the limit of the
        predictions from ``start`` to ``end`` (s), known or not."""
        errors = self.error[(self.time >= start) & (self.time < end)]
        return float(errors.mean()) / 1e6, float((errors <= self.limit).mean())

    def so_far(self, start: float, end: float) -> float:
        """The mean absolute error of those that are judged at ``end``."""
        judged = self.known & (self.time >= start) & (self.time + self.delay <= end)
        return float(self.error[judged].mean()) / 1e6


def number_observations(events: NumberEvents, start: int, end: float) -> list[Observation]:
    """The events as a join takes them, in any order."""
    answers = (Answer(None, None, NUMBER, Schema(tolerance=(events.limit, -1))),)
    seen: list[Observation] = []
    for number, (time, item, delay) in enumerate(events.items(end)):
        name, at = f"r{number}", start + round(time * SECOND)
        values = (pack_number(item.size),)
        seen.append(Prediction(MODEL, name, at, EVENT, number, answers, False, values))
        if delay is not None:
            truth = (Reading(NUMBER, 0.0),)
            scope = MODEL._replace(predictor="", model="")
            seen.append(Feedback(scope, name, at + round(delay * SECOND), EVENT, 1, truth, None))
    Random(1).shuffle(seen)
    return seen
