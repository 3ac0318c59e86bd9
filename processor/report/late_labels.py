"""The data behind the plots of late labels: accuracy by day in three ways, the reporting triangle, and
the delays by outcome (counting rule 30)."""

import msgspec

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import ENDS, Cohort, total
from processor.domain.statistics.nowcast import Delays
from processor.domain.tally.windows import DAY
from processor.replay.estimates import ModelEstimates

#: The newest days that are shown, and the most frequent outcomes.
_MAX_DAYS, _MAX_OUTCOMES = 21, 6
#: The ages of the triangle in seconds.
AGES = (DAY // 4, DAY // 2, DAY, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY, 14 * DAY)


class LateDay(msgspec.Struct, frozen=True):
    """One day, from ``start`` (seconds since 1970).

    ``predicted`` are the items predicted in it, ``judged`` and ``right`` what is known of them so far;
    ``by_feedback`` are the items whose feedback came in it, whatever the day of their predictions.
    ``nowcast`` has its interval. ``due`` is the share of the finally expected labels that should be in
    by now, and ``shares`` are those that were in at each of `AGES`, None where that is not past yet.
    """

    start: int
    predicted: int
    judged: int
    right: int
    by_feedback: int
    by_feedback_right: int
    nowcast: tuple[float, float, float] | None
    due: float
    shares: tuple[float | None, ...]


class OutcomeDelays(msgspec.Struct, frozen=True):
    """The shares of an outcome's labels that are in at each of `ENDS`, of ``items`` mature ones."""

    cell: Cell
    items: int
    shares: tuple[float, ...]


class LateLabels(msgspec.Struct, frozen=True):
    """The days of the selected time, and the delays of the most frequent outcomes."""

    days: tuple[LateDay, ...] = ()
    outcomes: tuple[OutcomeDelays, ...] = ()


def late_labels_of(found: ModelEstimates) -> LateLabels:
    """Return what the plots of a model show; nothing if no prediction is mature."""
    cohorts, delays = found.cohorts, found.estimator.delays
    if not delays.are_known or not cohorts.delayed:
        return LateLabels()
    by_day: dict[int, dict[int, Cohort]] = {}
    for hour, cohort in cohorts.window.items():
        by_day.setdefault(hour // 24, {})[hour] = cohort
    days = [_day(found, day, by_day[day], delays) for day in sorted(by_day)[-_MAX_DAYS:]]
    sizes = delays.items()
    largest = sorted(sizes, key=lambda cell: (-sizes[cell], cell))[:_MAX_OUTCOMES]
    outcomes = [
        OutcomeDelays(cell, sizes[cell], tuple([delays.of_cell(cell).share(end) for end in ENDS]))
        for cell in largest
    ]
    return LateLabels(tuple(days), tuple(outcomes))


def _day(found: ModelEstimates, day: int, hours: dict[int, Cohort], delays: Delays) -> LateDay:
    whole = total(hours.values())
    judged = {cell: sum(items) for cell, items in whole.judged.items()}
    said = found.estimator.of_cohorts(hours).nowcast
    interval = None
    if said.accuracy is not None and said.accuracy_low is not None:
        interval = said.accuracy, said.accuracy_low, said.accuracy_high or said.accuracy
    final = sum(items * delays.rate(label) for label, items in whole.predicted.items())
    end = (day + 1) * DAY
    by_feedback, by_feedback_right = found.cohorts.by_day.get(day, (0, 0))
    return LateDay(
        day * DAY,
        sum(whole.predicted.values()),
        sum(judged.values()),
        sum(n for cell, n in judged.items() if cell.actual == cell.predicted),
        by_feedback,
        by_feedback_right,
        interval,
        (said.expected_judged or 0.0) / final if final else 0.0,
        tuple([_share(whole, age, final) if end + age <= found.now else None for age in AGES]),
    )


def _share(day: Cohort, age: int, final: float) -> float | None:
    early = day.until(ENDS.index(age))
    return min(1.0, sum(map(sum, early.judged.values())) / final) if final else None
