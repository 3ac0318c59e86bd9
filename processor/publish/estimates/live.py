"""The estimates of all models while labels are late, made again now and then."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import add
from time import perf_counter, thread_time
from typing import NamedTuple

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts, Totals
from processor.domain.statistics.delays import BUCKETS, Cohort, cohort_of, total
from processor.domain.statistics.error_delays import number_cohort_of
from processor.domain.statistics.nowcast import hour_of
from processor.domain.statistics.numbers import number_totals
from processor.domain.statistics.verdicts import verdicts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.estimates import Estimates, Estimator, put_together
from processor.domain.tally.late_days import MAX_DAYS, LateDays, late_days
from processor.domain.tally.windows import HOURS, Window
from processor.publish.cooperative import TIME_SLICE
from processor.publish.interfaces import CountsSource

#: The share of the time that estimates may take on average, and seconds that they may take at once: of
#: CPU. `python -m bench.late cost` says what a model takes.
SHARE, BURST = 0.02, 1.0
#: Seconds after which the estimates of a model are made again: where its counts changed, and where only
#: its labels' age did.
CHANGED_AFTER, AGED_AFTER = 10.0, 60.0
#: The models whose plots are kept.
_MAX_KEPT_DAYS = 16


class ModelEstimates(NamedTuple):
    """The estimates of one model by the name of the window, and its judged items of all time by bucket
    of the delay of their feedback."""

    by_window: Mapping[str, Estimates]
    delays: Sequence[int]


class _Kept(NamedTuple):
    """Estimates as of ``now`` and of the all-time ``totals``; None without predicted labels."""

    now: float
    totals: Totals | None
    estimates: ModelEstimates | None


class LiveEstimates:
    """Makes and keeps the estimates of each model in the ``windows``; ``maturity`` is in seconds.

    ``timer`` gives the seconds by which the share of the time is measured.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        maturity: float,
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        self._windows = windows
        self._maturity = maturity
        self._timer = timer
        self._kept: dict[ModelKey, _Kept] = {}
        #: What the plots of models show, and of when; the newest first.
        self._days: dict[ModelKey, tuple[float, LateDays]] = {}
        self._budget, self._paid_at = BURST, timer()
        self._is_busy = False

    def by_model(self) -> Mapping[ModelKey, ModelEstimates]:
        """Return the estimates of the models that have some."""
        return {
            key: kept.estimates for key, kept in self._kept.items() if kept.estimates is not None
        }

    async def refresh(self, counts_source: CountsSource, now: float) -> None:
        """Make the estimates at ``now`` (seconds since 1970) of the models that are due, those that wait
        longest first, as far as the share of the time allows; forget the models that are not there any
        more."""
        if self._is_busy:
            return  # another request does it
        self._is_busy = True
        try:
            await self._refresh(counts_source.cohorts(), now)
        finally:
            self._is_busy = False

    async def _refresh(self, models: Mapping[ModelKey, Cohorts], now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if key in models}
        time = self._timer()
        self._budget = min(BURST, self._budget + SHARE * (time - self._paid_at))
        self._paid_at = time
        waiting = {key: self._waiting(key, cohorts, now) for key, cohorts in models.items()}
        due = [key for key, age in waiting.items() if age >= 1]
        for key in sorted(due, key=waiting.__getitem__, reverse=True):
            if self._budget <= 0:
                break
            totals = _totals(models[key])
            estimates, seconds = await self._make(models[key], now)
            self._budget -= seconds
            self._kept[key] = _Kept(now, totals, estimates)

    def _waiting(self, key: ModelKey, cohorts: Cohorts, now: float) -> float:
        """Return the age of a model's estimates, as a multiple of that at which they are made again."""
        kept = self._kept.get(key)
        if kept is None:
            return float("inf")
        is_changed = kept.totals != _totals(cohorts)
        return abs(now - kept.now) / (CHANGED_AFTER if is_changed else AGED_AFTER)

    async def late_days(
        self, counts_source: CountsSource, key: ModelKey, now: float
    ) -> LateDays | None:
        """Return what the plots of a model show at ``now`` (s); None if it has predicted nothing that
        there are estimates of. They are kept for a minute."""
        kept = self._days.get(key)
        if kept is not None and abs(now - kept[0]) < AGED_AFTER:
            return kept[1]
        cohorts = counts_source.cohorts().get(key)
        kinds, _ = ([], 0.0) if cohorts is None else await _read(cohorts)
        if not kinds:
            return None
        kind = kinds[0]
        by_day = _by_day(counts_source.buckets(HOURS, "feedback").get(key, {}), now, kind.numbers)

        def work() -> LateDays:
            first = hour_of(now) // 24 - MAX_DAYS + 1
            shown = {hour: each for hour, each in kind.hours.items() if hour // 24 >= first}
            return late_days(shown, by_day, self._estimator(kind, now), now)

        found = await asyncio.to_thread(work)
        self._days = {key: (now, found), **self._days}
        while len(self._days) > _MAX_KEPT_DAYS:
            self._days.popitem()
        return found

    async def _make(self, cohorts: Cohorts, now: float) -> tuple[ModelEstimates | None, float]:
        """Return the estimates of a model, and the seconds of CPU that they took."""
        kinds, seconds = await _read(cohorts)
        if not kinds:
            return None, seconds

        def work() -> tuple[ModelEstimates, float]:
            started = thread_time()
            found = [self._estimates(kind, now) for kind in kinds]
            return _put_together(*found), thread_time() - started

        estimates, more = await asyncio.to_thread(work)
        return estimates, seconds + more

    def _estimator(self, kind: "_Kind", now: float) -> Estimator:
        complete = _at_least(kind.whole, total(kind.hours.values()))
        return Estimator(kind.hours.items(), complete, now, self._maturity, kind.numbers)

    def _estimates(self, kind: "_Kind", now: float) -> ModelEstimates:
        estimator = self._estimator(kind, now)
        by_window = {each.name: estimator.of_window(each.seconds) for each in self._windows}
        return ModelEstimates(by_window, _delays(estimator.whole))


class _Kind(NamedTuple):
    """The cohorts of a model's labels, or of its ``numbers``, by hour and of all time."""

    hours: dict[int, Cohort]
    whole: Cohort
    numbers: bool


async def _read(cohorts: Cohorts) -> tuple[list[_Kind], float]:
    """Return the cohorts of labels and of numbers of a model, those that it has, and the seconds of CPU
    that reading took. Counts are live objects of the event loop: they are read on it, a slice of time at
    once."""
    began, seconds = thread_time(), 0.0
    kinds = [_Kind({}, cohorts.whole(), False), _Kind({}, cohorts.whole_numbers(), True)]
    kinds = [kind for kind in kinds if any(kind.whole.predicted.values())]
    for hour, counts in list(cohorts.by_hour.items()) if kinds else ():
        sums = counts.delays
        for kind in kinds:
            kind.hours[hour] = (number_cohort_of if kind.numbers else cohort_of)(sums)
        spent = thread_time() - began
        if spent >= TIME_SLICE:
            seconds += spent
            await asyncio.sleep(0)
            began = thread_time()
    return kinds, seconds + thread_time() - began


def _by_day(hours: Mapping[int, Counts], now: float, numbers: bool) -> dict[int, list[float]]:
    """Return the judged items, and the right ones or the sum of absolute errors, by day."""
    found: dict[int, list[float]] = {}
    for hour in range((hour_of(now) // 24 - MAX_DAYS + 1) * 24, hour_of(now) + 1):
        counts = hours.get(hour)
        if counts is None:
            continue
        day = found.setdefault(hour // 24, [0, 0])
        if numbers:
            totals = number_totals(counts.sums)
            day[0] += totals.items
            day[1] += (totals.mean_error()[0] or 0.0) * totals.items
        else:
            right, wrong = verdicts(counts)
            day[0] += right + wrong
            day[1] += right
    return found


def _put_together(first: ModelEstimates, *others: ModelEstimates) -> ModelEstimates:
    """Return the estimates of labels and those of numbers as one."""
    for other in others:
        windows = {
            name: put_together(each, other.by_window[name])
            for name, each in first.by_window.items()
        }
        first = ModelEstimates(windows, list(map(add, first.delays, other.delays)))
    return first


def _totals(cohorts: Cohorts) -> Totals | None:
    counts = cohorts.of_all_time
    return None if counts is None else counts.totals()


def _at_least(whole: Cohort, hours: Cohort) -> Cohort:
    """Return the cohort of all time, with at least what its hours have: deltas that were folded while
    the hours were read are in some hours and not in ``whole``."""
    found = Cohort()
    for label in {**whole.predicted, **hours.predicted}:
        items = max(whole.predicted.get(label, 0), hours.predicted.get(label, 0))
        found.add_predicted(label, items)
    nothing = [0] * BUCKETS
    for cell in {**whole.judged, **hours.judged}:
        one, other = whole.judged.get(cell, nothing), hours.judged.get(cell, nothing)
        found.judged[cell] = list(map(max, one, other))
    for cell in {**whole.sizes, **hours.sizes}:
        found.add_size(cell, max(whole.sizes.get(cell, 0), hours.sizes.get(cell, 0)))
    return found


def _delays(cohort: Cohort) -> list[int]:
    return list(map(sum, zip(*cohort.judged.values(), strict=True))) or [0] * BUCKETS
