"""The traffic of a simulated week of log time, and the exact counts that it must come to.

Each hour of predictions is drawn by itself from a seed: when a prediction is made and reaches the log,
its feedback, and when that reaches the log. The log and the truth are made from the same draws; nothing
of the processor is used. Times are minutes from the start, except `predicted_at` and `feedback_at` (ns).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..support.rows import RIGHT, TRUTH, WRONG, Ints

Flags = NDArray[np.bool_]

#: The start of the traffic, a full hour, in ns since 1970.
START = 472_222 * 3_600_000_000_000
_SECOND, _MINUTE, _HOUR = 1_000_000_000, 60_000_000_000, 3_600_000_000_000

#: The notebook's shares, as in `bench.load`.
_FEEDBACK, _RIGHT = 0.63, 46 / 63
_CORRECTED, _REPEATED, _DELAYED = 0.01, 0.01, 0.01
_SOONEST = 30 * _SECOND


class FeedbackContent(NamedTuple):
    """A feedback for each prediction of an hour: `given` tells where there is one, `reached` is the
    minute in which it reaches the log."""

    given: Flags
    feedback_at: Ints
    reached: Ints
    actual: Ints
    form: Ints
    again: Ints
    """The minute in which it reaches the log a second time; -1: it does not."""


class Hour(NamedTuple):
    """An hour of predictions: their ids (16 bytes each), and columns."""

    ids: NDArray[np.void]
    model: Ints
    predicted_at: Ints
    reached: Ints
    label: Ints
    again: Ints
    first: FeedbackContent
    second: FeedbackContent
    """The corrections of the feedback."""


class Expected(NamedTuple):
    """The exact counts of all that reached the log before a minute."""

    predictions: Ints
    """By model and minute."""
    judged: Ints
    """By basis, model, minute, actual, predicted and form of the feedback that counts."""
    kept: int
    """Requests in memory."""
    alone: int
    """Requests that got feedback after they had left memory, or whose prediction is still to come."""


@dataclass(frozen=True)
class Traffic:
    """`rate` predictions per second for `days`; feedback comes up to 9/7 of the horizon later."""

    rate: float
    days: int
    horizon: int = 168
    """In hours."""
    models: int = 10
    seed: int = 1

    @property
    def hours(self) -> int:
        """The number of hours with predictions."""
        return self.days * 24

    @cached_property
    def all_hours(self) -> int:
        """The number of hours until the last feedback has come, its repetition included."""
        return self.hours + self._longest // _HOUR + 3

    @property
    def _longest(self) -> int:
        return self.horizon * _HOUR * 9 // 7

    def hour(self, number: int) -> Hour:
        """The predictions of an hour and their feedback; the same ones each time."""
        rng = np.random.default_rng((self.seed, number))
        n = round(self.rate * 3600)
        predicted_at = number * _HOUR + np.arange(n) * (_HOUR // n)
        label = rng.integers(0, 3, n)
        slow = np.where(rng.random(n) < _DELAYED, 120, 2) * _SECOND
        reached = (predicted_at + rng.random(n) * slow).astype(np.int64) // _MINUTE
        first_given = rng.random(n) < _FEEDBACK
        # As many between a minute and ten as between a day and ten.
        delay = _SOONEST * (self._longest / _SOONEST) ** rng.random(n)
        feedback_at = predicted_at + delay.astype(np.int64)
        first = _said(rng, first_given, feedback_at, label)
        later = feedback_at + 1 + ((self._longest + _HOUR - delay) * rng.random(n) ** 3).astype(int)
        second = _said(rng, first_given & (rng.random(n) < _CORRECTED), later, label)
        return Hour(
            np.frombuffer(rng.bytes(16 * n), "V16"),
            rng.integers(0, self.models, n),
            predicted_at,
            reached,
            label,
            # Within the horizon, or it would be another prediction.
            _again(rng, reached, self.horizon * 60 // 7),
            first,
            second,
        )

    def expected(self, before: int) -> Expected:
        """The truth about what has reached the log before a minute, an hour's end."""
        minutes = self.all_hours * 60
        predictions = np.zeros((self.models, minutes), np.int64)
        judged = np.zeros((2, self.models, minutes, 3, 3, 3), np.int64)
        kept = alone = 0
        # What was born in an earlier hour has left memory when the last hour begins.
        oldest = (before - 1) // 60 - self.horizon
        for number in range(min(self.hours, before // 60)):
            hour = self.hour(number)
            here = hour.reached < before
            np.add.at(predictions, (hour.model[here], hour.predicted_at[here] // _MINUTE), 1)
            born = np.where(
                hour.first.given, np.minimum(hour.reached, hour.first.reached), hour.reached
            ) // 60  # fmt: skip
            in_time = [
                said.given & (said.reached < before) & (said.reached // 60 - born <= self.horizon)
                for said in (hour.first, hour.second)
            ]
            # The later one wins.
            for said, counts in (
                (hour.first, here & in_time[0] & ~in_time[1]),
                (hour.second, here & in_time[1]),
            ):
                for basis, at in enumerate((hour.predicted_at, said.feedback_at)):
                    place = hour.model, at // _MINUTE, said.actual, hour.label, said.form
                    np.add.at(judged[basis], tuple(column[counts] for column in place), 1)
            kept += int(((here | in_time[0]) & (born >= oldest)).sum())
            late = np.full(len(born), np.iinfo(np.int64).max)
            for said in (hour.first, hour.second):
                for reached in (said.reached, said.again):
                    came = said.given & (reached >= 0) & (reached < before)
                    out = came & (reached // 60 - born > self.horizon)
                    late = np.where(out, np.minimum(late, reached // 60), late)
            waits = late < np.iinfo(np.int64).max
            alone += int(waits.sum()) + int((in_time[0] & ~here).sum())
            kept += int((waits & (late >= oldest)).sum())
        return Expected(predictions, judged, kept, alone)

    def arrivals(self) -> Iterator[NDArray[np.void]]:
        """The events that reach the log, hour by hour, in the order of minutes: arrays of `ARRIVAL`."""
        waiting: dict[int, list[NDArray[np.void]]] = {}
        for number in range(self.all_hours):
            if number < self.hours:
                for group in _arrivals(self.hour(number)):
                    group = _in_order(group)
                    hours, starts = np.unique(group["minute"] // 60, return_index=True)
                    for one, part in zip(hours.tolist(), np.split(group, starts)[1:], strict=True):
                        waiting.setdefault(one, []).append(part)
            found = np.concatenate([np.zeros(0, ARRIVAL), *waiting.pop(number, [])])
            yield _in_order(found)


#: A prediction (`form` is -1, `label` the predicted label) or a feedback (`label` is the true label).
ARRIVAL = np.dtype(
    [
        ("minute", "i8"),
        ("id", "V16"),
        ("model", "i8"),
        ("at", "i8"),
        ("label", "i8"),
        ("form", "i8"),
    ]
)


def _in_order(arrivals: NDArray[np.void]) -> NDArray[np.void]:
    return arrivals[np.argsort(arrivals["minute"], kind="stable")]


def _said(
    rng: np.random.Generator, given: Flags, feedback_at: Ints, label: Ints
) -> FeedbackContent:
    n = len(label)
    right = rng.random(n) < _RIGHT
    actual = np.where(right, label, (label + rng.integers(1, 3, n)) % 3)
    form = np.where(rng.random(n) < 0.7, np.where(right, RIGHT, WRONG), TRUTH)
    reached = (feedback_at + rng.random(n) * 2 * _SECOND).astype(np.int64) // _MINUTE
    return FeedbackContent(given, feedback_at, reached, actual, form, _again(rng, reached, 60))


def _again(rng: np.random.Generator, reached: Ints, within: int) -> Ints:
    n = len(reached)
    return np.where(rng.random(n) < _REPEATED, reached + rng.integers(0, within, n), -1)


def _arrivals(hour: Hour) -> Iterator[NDArray[np.void]]:
    every = np.ones(len(hour.model), np.bool_)
    none = np.full(len(hour.model), -1)
    for given, minute, at, label, form in (
        (every, hour.reached, hour.predicted_at, hour.label, none),
        (every & (hour.again >= 0), hour.again, hour.predicted_at, hour.label, none),
        *(
            (said.given & (minute >= 0), minute, said.feedback_at, said.actual, said.form)
            for said in (hour.first, hour.second)
            for minute in (said.reached, said.again)
        ),
    ):
        group = np.zeros(int(given.sum()), ARRIVAL)
        for name, column in (
            ("minute", minute), ("id", hour.ids), ("model", hour.model), ("at", at),
            ("label", label), ("form", form),
        ):  # fmt: skip
            group[name] = column[given]
        yield group
