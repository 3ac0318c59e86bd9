"""The data of the plots of late labels: accuracy (or the error of numbers) by day in three ways, the
reporting triangle, and the delays by outcome (counting rule 30)."""

from collections.abc import Mapping, Sequence

import msgspec

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import ENDS, Cohort, total
from processor.domain.statistics.error_delays import largest_of
from processor.domain.tally.estimates import Estimator
from processor.domain.tally.windows import DAY
from processor.domain.values import DEFAULT_UNIT

#: The newest days that are shown, and the most frequent outcomes.
MAX_DAYS, _MAX_OUTCOMES = 21, 6
#: The ages of the triangle in seconds.
AGES = (DAY // 4, DAY // 2, DAY, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY, 14 * DAY)


class LateDay(msgspec.Struct, frozen=True):
    """One day, from ``start`` (seconds since 1970), with the accuracy in three ways, or the mean
    absolute error of numbers; None where there is none.

    ``predicted`` are the items predicted in it, ``judged`` those that are judged so far, ``so_far`` what
    these give; ``by_feedback`` is of the items whose feedback came in it, whatever the day of their
    predictions. ``nowcast`` has its interval. ``due`` is the share of the finally expected labels that
    should be in by now, and ``shares`` are those that were in at each of `AGES`, None where that is not
    past yet.
    """

    start: int
    predicted: int
    judged: int
    so_far: float | None
    by_feedback: float | None
    nowcast: tuple[float, float, float] | None
    due: float
    shares: tuple[float | None, ...]


class OutcomeDelays(msgspec.Struct, frozen=True):
    """The shares of an outcome's labels that are in at each of `ENDS`, of ``items`` mature ones. Of
    numbers an outcome is a class of errors, with its ``largest`` absolute error."""

    cell: Cell
    items: int
    shares: tuple[float, ...]
    largest: float | None = None


class LateDays(msgspec.Struct, frozen=True):
    """The days of the selected time, and the delays of the most frequent outcomes. ``of_numbers`` tells
    whether they are of a model of numbers."""

    days: tuple[LateDay, ...] = ()
    outcomes: tuple[OutcomeDelays, ...] = ()
    of_numbers: bool = False


def late_days(
    hours: Mapping[int, Cohort],
    by_day: Mapping[int, Sequence[float]],
    estimator: Estimator,
    now: float,
) -> LateDays:
    """Return what the plots show of the predictions of some hours, at ``now`` (s); nothing if no
    prediction is mature. ``by_day`` has the judged items, and the right ones or the sum of absolute
    errors, by the day of the feedback."""
    delays = estimator.delays
    if not delays.are_known:
        return LateDays()
    days: dict[int, dict[int, Cohort]] = {}
    for hour, cohort in hours.items():
        days.setdefault(hour // 24, {})[hour] = cohort
    shown = [
        _day(day, days[day], by_day.get(day, (0, 0)), estimator, now)
        for day in sorted(days)[-MAX_DAYS:]
    ]
    sizes = delays.items()
    largest = sorted(sizes, key=lambda cell: (-sizes[cell], cell))[:_MAX_OUTCOMES]
    outcomes = [
        OutcomeDelays(
            cell,
            sizes[cell],
            tuple([delays.of_cell(cell).share(end) for end in ENDS]),
            _largest_error(cell) if estimator.numbers else None,
        )
        for cell in largest
    ]
    return LateDays(tuple(shown), tuple(outcomes), estimator.numbers)


def _day(
    day: int,
    hours: dict[int, Cohort],
    by_feedback: Sequence[float],
    estimator: Estimator,
    now: float,
) -> LateDay:
    whole = total(hours.values())
    judged = {cell: sum(items) for cell, items in whole.judged.items()}
    count = sum(judged.values())
    said = estimator.of_cohorts(hours).nowcast
    if estimator.numbers:
        amount = sum(size * _unit(cell) for cell, size in whole.sizes.items())
        ends = said.mae, said.mae_low, said.mae_high
    else:
        amount = sum(n for cell, n in judged.items() if cell.actual == cell.predicted)
        ends = said.accuracy, said.accuracy_low, said.accuracy_high
    middle, low, high = ends
    interval = None if middle is None or low is None or high is None else (middle, low, high)
    delays = estimator.delays
    final = sum(items * delays.rate(label) for label, items in whole.predicted.items())
    end = (day + 1) * DAY
    return LateDay(
        day * DAY,
        sum(whole.predicted.values()),
        count,
        amount / count if count else None,
        by_feedback[1] / by_feedback[0] if by_feedback[0] else None,
        interval,
        (said.expected_judged or 0.0) / final if final else 0.0,
        tuple([_share(whole, age, final) if end + age <= now else None for age in AGES]),
    )


def _share(day: Cohort, age: int, final: float) -> float | None:
    early = day.until(ENDS.index(age))
    return min(1.0, sum(map(sum, early.judged.values())) / final) if final else None


def _largest_error(cell: Cell) -> float:
    return largest_of(int(cell.actual)) * _unit(cell)


def _unit(cell: Cell) -> float:
    return float(10.0 ** int(cell.predicted or DEFAULT_UNIT))
