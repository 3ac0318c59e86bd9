"""The estimates of a window whose labels are late: the nowcast, the expected feedback, and the drift of
its predictions (counting rules 30 to 32)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from processor.domain.statistics.delay_shares import Delays, reached
from processor.domain.statistics.delays import Cohort, predicted_in, total
from processor.domain.statistics.drift import Drift, drift
from processor.domain.statistics.label_days import USUAL_LEVEL, recent_level
from processor.domain.statistics.nowcast import (
    Hindcast,
    Nowcast,
    first_immature,
    hindcast,
    hour_of,
    nowcast,
)
from processor.domain.tally.windows import DAY, HOUR

_WEEK = 7 * 24
_DAY = 24


class Estimates(NamedTuple):
    """The estimates of one window. ``drift`` is against the same length of time before it and
    ``drift_of_week`` against the same window a week ago; None for all time, for windows that are not
    whole hours, and where nothing was predicted. ``predicted`` are the window's items by predicted
    label."""

    nowcast: Nowcast
    hindcast: list[Hindcast]
    drift: Drift | None
    drift_of_week: Drift | None
    predicted: Mapping[str, int]


def put_together(labels: Estimates, numbers: Estimates) -> Estimates:
    """Return the estimates of a window of a model some of whose answers are labels and others numbers:
    those of the labels, with the error and the expectations of the numbers."""
    found, other = labels.nowcast, numbers.nowcast
    expected = [each.expected_judged for each in (found, other) if each.expected_judged is not None]
    return labels._replace(
        nowcast=found._replace(
            predicted=found.predicted + other.predicted,
            judged=found.judged + other.judged,
            expected_judged=sum(expected) if expected else None,
            mae=other.mae,
            mae_low=other.mae_low,
            mae_high=other.mae_high,
        )
    )


class Estimator:
    """Makes the estimates of a model at ``now``, from its cohorts by hour and the one of all time, which
    can have older hours. Times are in seconds; ``maturity`` is the age from which a prediction's labels
    count as complete. ``numbers`` tells whether the cohorts are those of numbers; these have no
    drift."""

    def __init__(
        self,
        hours: Iterable[tuple[int, Cohort]],
        whole: Cohort,
        now: float,
        maturity: float,
        numbers: bool = False,
    ) -> None:
        self._now = now
        self.numbers = numbers
        """Whether the cohorts are those of numbers."""
        self._end = hour_of(now)
        self._hours = dict(hours)
        first = first_immature(now, maturity)
        days: dict[int, dict[int, Cohort]] = {}
        for hour, cohort in self._hours.items():
            days.setdefault(hour // _DAY, {})[hour] = cohort
        self._days = {day: total(cohorts.values()) for day, cohorts in sorted(days.items())}
        split = first // _DAY
        parts: dict[int, Cohort] = {}
        for day, cohort in self._days.items():
            if day < split:
                parts.setdefault(reached(now - (day + 1) * DAY), Cohort()).add(cohort)
        at_split = parts.setdefault(reached(maturity), Cohort())
        for hour, cohort in days.get(split, {}).items():
            if hour < first:
                at_split.add(cohort)
        # Older than the oldest hour that is kept.
        oldest = min([*self._hours, first])
        parts.setdefault(reached(now - oldest * HOUR), Cohort()).add(self._older(whole))
        self.delays = Delays(parts, numbers)
        """The delays of the predictions that are mature."""
        self._level = (
            recent_level({h: c for h, c in self._hours.items() if h >= first}, self.delays, now)
            if self.delays.are_known
            else USUAL_LEVEL
        )
        self.whole = whole
        """The cohort of all time."""
        self._hindcast = hindcast(
            [cohort for day, cohort in self._days.items() if day < split], self.delays, numbers
        )

    def of_window(self, seconds: int) -> Estimates:
        """Return the estimates of the window of the last ``seconds``; 0 is all time."""
        if not seconds:
            return self.of_cohorts(self._everything())
        length = -(-seconds // HOUR)
        drifts: list[Drift | None] = [None, None]
        if seconds % HOUR == 0 and not self.numbers:
            found, *others = (
                self._predicted(self._end - back, length) for back in (0, length, _WEEK)
            )
            drifts = [drift(found, other) for other in others]
        estimates = self.of_cohorts(self._window(self._end, length))
        return estimates._replace(drift=drifts[0], drift_of_week=drifts[1])

    def of_cohorts(self, window: Mapping[int, Cohort]) -> Estimates:
        """Return the estimates of some cohorts by hour, without drift."""
        found = nowcast(window, self.delays, self._now, self.numbers, self._level)
        predicted = {} if self.numbers else predicted_in(window.values())
        return Estimates(found, self._hindcast, None, None, predicted)

    def _window(self, end: int, length: int) -> dict[int, Cohort]:
        return {h: cohort for h, cohort in self._hours.items() if end - length < h <= end}

    def _everything(self) -> dict[int, Cohort]:
        """Return all hours; those that are not kept any more as the one before the others."""
        older = self._older(self.whole)
        first = min(self._hours, default=self._end)
        return {first - 1: older, **self._hours} if any(older.predicted.values()) else self._hours

    def _older(self, whole: Cohort) -> Cohort:
        """Return the sum of the hours of ``whole`` that are not kept any more."""
        older = Cohort()
        older.add(whole)
        older.add(total(self._days.values()), -1)
        return older

    def _predicted(self, end: int, length: int) -> dict[str, int]:
        return predicted_in(self._window(end, length).values())
