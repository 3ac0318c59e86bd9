"""The nowcast: what the scores of a window will be once its labels are in (counting rules 30 and 31).

Labels come late, and those of wrong answers often come sooner than others, so the items that are judged
so far are not a fair sample. The delays of old enough predictions, by outcome, tell which share of each
outcome's labels is in by now; dividing by that share corrects the counts. This is the chain ladder
method of claims reserving, by outcome.

Source: Mack, "Distribution-free calculation of the standard error of chain ladder reserve estimates",
ASTIN Bulletin 23 (1993); Lawless, "Adjustments for reporting delays and the prediction of occurred but
not reported events", Canadian Journal of Statistics 22 (1994).
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import sqrt
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays
from processor.domain.statistics.delays import ENDS, Cohort, predicted_in
from processor.domain.statistics.error_delays import WITHIN, verdict_of
from processor.domain.statistics.label_days import (
    USUAL_LEVEL,
    Ages,
    Day,
    Estimates,
    Level,
    add_day,
    by_age,
    expected,
    found_in,
    with_older,
)
from processor.domain.statistics.labels import Z
from processor.domain.statistics.outcome_shares import resolve
from processor.domain.values import DEFAULT_UNIT

_HOUR, _DAY = 3600, 86_400

#: Fewer judged items, or a smaller share of the labels, say too little.
MIN_JUDGED, MIN_SHARE = 30, 0.02
#: The bounds of the fit while delays are as they were.
MIN_FIT, MAX_FIT = 0.85, 1.15

#: The squared relative spread of absolute errors within a class, from half of it to all of it.
_CLASS_VARIANCE = 1 / 27

#: The ages of the hindcast in seconds, by name.
HINDCAST_AGES = {"1h": _HOUR, "6h": 6 * _HOUR, "1d": _DAY, "3d": 3 * _DAY}


class Hindcast(NamedTuple):
    """How right the nowcast of mature days would have been at an ``age``: the mean of nowcast minus
    final accuracy, and the share of its 95 % intervals that held the final accuracy, over ``cohorts``
    days. The days on which it would have been withheld are left out."""

    age: str
    mean_error: float | None
    coverage: float | None
    cohorts: int


class Nowcast(NamedTuple):
    """The nowcast of a window. All but ``fit``, ``judged`` and the two expectations are None or empty if
    it is ``withheld``, which is the reason then.

    ``cells`` are expected items by cell; ``judged`` items are in so far, and ``expected_judged`` is how
    many would be by the delays of mature predictions, of ``predicted`` items; ``fit`` is 1 where delays
    are as they were. Of numbers there are no cells, but a mean absolute error, ``mae``, and the accuracy
    is the share within the tolerance, if there is one.
    """

    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    fit: float | None
    predicted: int
    judged: int
    expected_judged: float | None
    cells: dict[Cell, float]
    withheld: str | None
    mae: float | None = None
    mae_low: float | None = None
    mae_high: float | None = None

    def withhold(self, reason: str) -> "Nowcast":
        """Return the nowcast without its scores and expectations, withheld for a reason."""
        return Nowcast(None, None, None, None, self.predicted, self.judged, None, {}, reason)


def hour_of(seconds: float) -> int:
    """Return the hour of a time in seconds since 1970."""
    return int(seconds // _HOUR)


def first_immature(now: float, maturity: float) -> int:
    """Return the first hour that is not mature at ``now``; both are in seconds."""
    return int((now - maturity) // _HOUR)


def nowcast(
    window: Mapping[int, Cohort],
    delays: Delays,
    now: float,
    numbers: bool = False,
    level: Level = USUAL_LEVEL,
) -> Nowcast:
    """Return the nowcast of the cohorts of a window, by hour since 1970, at ``now`` (s since 1970);
    ``numbers`` tells whether they are of numbers, by class of the error.

    With O judged items of actual a and predicted p in a day, and E the mean over its hours u of the
    share of mature items (a, p) with a delay of at most now - u, weighted by the predictions N(u, p):
    est(a, p) = O / E says how many there will be. The nowcast's cells are the sum over the days of N(p)
    times the shares of the outcomes, which heed also how many labels come of late: ``level`` says how
    many. The interval of accuracy is by the delta method.
    """
    predicted = predicted_in(window.values())
    judged = sum(sum(map(sum, cohort.judged.values())) for cohort in window.values())
    count = sum(predicted.values())
    if not delays.are_known:
        reason = "no predictions are old enough to know the delays"
        return Nowcast(None, None, None, None, count, judged, None, {}, reason)
    days = by_age(window, now)
    by_day: list[Estimates] = []
    missing = False
    for day in days.values():
        by_day.append({})
        missing |= add_day(by_day[-1], day, delays)
    due = sum(expected(day, delays) for day in days.values())
    fit, error = _fit(days, delays)
    final = sum(each.final for estimates in by_day for each in estimates.values())
    withheld = None
    if judged < MIN_JUDGED:
        withheld = f"fewer than {MIN_JUDGED} items are judged"
    elif missing or judged < MIN_SHARE * final:
        withheld = f"less than {MIN_SHARE:.0%} of the labels are in"
    elif fit is not None and not MIN_FIT - 2 * error <= fit <= MAX_FIT + 2 * error:
        withheld = "the pace of labels has changed"
    found = Nowcast(None, None, None, fit, count, judged, due, {}, withheld)
    if withheld is not None:
        return found
    of_days = [
        with_older(estimates, day, delays, level)
        for estimates, day in zip(by_day, days.values(), strict=True)
    ]
    if numbers:
        return _with_errors(found, of_days)
    cells, accuracy, deviation = resolve(of_days, _is_right)
    low, high = _share_interval(accuracy, deviation)
    return found._replace(accuracy=accuracy, accuracy_low=low, accuracy_high=high, cells=cells)


def _with_errors(found: Nowcast, days: Sequence[Day]) -> Nowcast:
    """Return the nowcast of numbers: the mean absolute error, and the share within the tolerance of the
    items that have one."""
    mae, deviation = _mean_error(days)
    found = found._replace(
        mae=mae, mae_low=max(0.0, mae - Z * deviation), mae_high=mae + Z * deviation
    )
    tolerated = [day.only(_has_tolerance) for day in days]
    if not any(day.estimates for day in tolerated):
        return found
    _, share, deviation = resolve(tolerated, _is_within)
    low, high = _share_interval(share, deviation)
    return found._replace(accuracy=share, accuracy_low=low, accuracy_high=high)


def _mean_error(days: Sequence[Day]) -> tuple[float, float]:
    """Return the expected mean absolute error and its standard error: the mean over the classes of
    errors of the mean error of their judged items."""
    sizes: dict[Cell, float] = {}
    judged: dict[Cell, float] = {}
    for cell, each in chain.from_iterable(day.estimates.items() for day in days):
        sizes[cell] = sizes.get(cell, 0.0) + each.size
        judged[cell] = judged.get(cell, 0.0) + each.judged
    means = {
        cell: size / judged[cell] * 10.0 ** int(cell.predicted or DEFAULT_UNIT)
        for cell, size in sizes.items()
    }
    cells, mae, deviation = resolve(days, means.__getitem__)
    whole = sum(cells.values())
    within = sum(
        (items / whole * means[cell]) ** 2 * _CLASS_VARIANCE / judged[cell]
        for cell, items in cells.items()
    )
    return mae, sqrt(deviation * deviation + within)


def _is_right(cell: Cell) -> float:
    return float(cell.actual == cell.predicted)


def _has_tolerance(cell: Cell) -> bool:
    return bool(verdict_of(int(cell.actual)))


def _is_within(cell: Cell) -> float:
    return float(verdict_of(int(cell.actual)) == WITHIN)


def _share_interval(share: float, deviation: float) -> tuple[float, float]:
    return max(0.0, share - Z * deviation), min(1.0, share + Z * deviation)


def _fit(days: Mapping[int, Ages], delays: Delays) -> tuple[float | None, float]:
    """Return the level of the labels of the window's last 24 hours, and its standard error; None if no
    day has enough labels to tell. Where the delays are so long that few labels are due in these hours,
    it is that of the latest day with enough of them."""
    for _, day in sorted(days.items()):
        if expected(day, delays) >= MIN_JUDGED:
            break
    else:
        return None, 0.0
    found = found_in(day, delays)
    if found is None:
        return None, 0.0
    return found.by_labels / found.items, found.error / found.items


def hindcast(days: Sequence[Cohort], delays: Delays, numbers: bool = False) -> list[Hindcast]:
    """Return how right the nowcast of some mature days would have been, by age; the delays are those of
    all mature predictions. Of ``numbers`` it is that of the mean absolute error, and errors are parts of
    the final one."""
    finals = [_of_age(day, delays, float("inf"), numbers) for day in days]
    found = []
    for name, age in HINDCAST_AGES.items():
        bucket = ENDS.index(age)
        errors, hits = [], 0
        for day, final in zip(days, finals, strict=True):
            if final is None or (numbers and not final[0]):
                continue
            early = _of_age(day.until(bucket), delays, float(age), numbers)
            if early is None:
                continue
            error = early[0] - final[0]
            hits += abs(error) <= Z * early[1]
            errors.append(error / final[0] if numbers else error)
        count = len(errors)
        mean = sum(errors) / count if count else None
        found.append(Hindcast(name, mean, hits / count if count else None, count))
    return found


def _of_age(
    cohort: Cohort, delays: Delays, age: float, numbers: bool
) -> tuple[float, float] | None:
    """Return the accuracy of a cohort of one age (s), or the mean absolute error of numbers, and its
    standard error; None if too few of its labels are in."""
    estimates: Estimates = {}
    missing = add_day(estimates, {age: cohort}, delays)
    judged = sum(estimate.judged for estimate in estimates.values())
    final = sum(estimate.final for estimate in estimates.values())
    if missing or judged < MIN_JUDGED or judged < MIN_SHARE * final:
        return None
    days = [with_older(estimates, {age: cohort}, delays, USUAL_LEVEL)]
    if numbers:
        return _mean_error(days)
    _, accuracy, deviation = resolve(days, _is_right)
    return accuracy, deviation
