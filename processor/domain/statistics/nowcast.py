"""The nowcast: what the scores of a window will be once its labels are in (counting rules 30 and 31).

Labels come late, and those of wrong answers often come sooner than others, so the items that are judged
so far are not a fair sample. The delays of old enough predictions, by outcome, tell which share of each
outcome's labels is in by now; dividing by that share corrects the counts. This is the chain ladder
method of claims reserving, by outcome.

Source: Mack, "Distribution-free calculation of the standard error of chain ladder reserve estimates",
ASTIN Bulletin 23 (1993); Lawless, "Adjustments for reporting delays and the prediction of occurred but
not reported events", Canadian Journal of Statistics 22 (1994).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import BUCKETS, ENDS, Cohort, predicted_in, total
from processor.domain.statistics.labels import Z

_HOUR, _DAY = 3600, 86_400

#: Fewer judged items, or a smaller share of the labels, say too little.
MIN_JUDGED, MIN_SHARE = 30, 0.02
#: The bounds of the fit while delays are as they were.
MIN_FIT, MAX_FIT = 0.85, 1.15

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
    are as they were.
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

    def withhold(self, reason: str) -> "Nowcast":
        """Return the nowcast without its scores and expectations, withheld for a reason."""
        return Nowcast(None, None, None, None, self.predicted, self.judged, None, {}, reason)


class Delays:
    """The delays of mature predictions: shares of labels that are in at an age, by cell."""

    def __init__(self, mature: Cohort) -> None:
        self._by_cell: dict[Cell, _Distribution] = {}
        by_label: dict[str, list[int]] = {}
        everything = [0] * BUCKETS
        for cell, delays in mature.judged.items():
            if any(delays):
                self._by_cell[cell] = _Distribution(delays)
                _add(by_label.setdefault(cell.predicted, [0] * BUCKETS), delays)
                _add(everything, delays)
        self._by_label = {label: _Distribution(delays) for label, delays in by_label.items()}
        self._all = _Distribution(everything) if any(everything) else None
        self._predicted = mature.predicted
        self._rate = _rate(sum(everything), sum(mature.predicted.values()))

    @property
    def are_known(self) -> bool:
        """Whether any mature prediction was judged."""
        return self._all is not None

    def of_cell(self, cell: Cell) -> "_Distribution":
        """Return the delays of an outcome; of one that no mature prediction had, those of all outcomes
        of its predicted label, or else of all."""
        return self._by_cell.get(cell) or self.of_label(cell.predicted)

    def of_label(self, label: str) -> "_Distribution":
        """Return the delays of a predicted label, or else of all."""
        found = self._by_label.get(label) or self._all
        assert found is not None
        return found

    def rate(self, label: str) -> float:
        """Return the share of mature predictions of a label that were judged; of a label without any,
        that of all labels."""
        found = self._by_label.get(label)
        judged = found.items if found else 0
        return _rate(judged, self._predicted.get(label, 0)) or self._rate or 0.0

    def items(self) -> dict[Cell, int]:
        """Return the mature judged items by cell."""
        return {cell: found.items for cell, found in self._by_cell.items()}

    def predicted(self, label: str) -> int:
        """Return the mature predictions of a label."""
        return self._predicted.get(label, 0)


class _Distribution:
    """The delays of ``items`` judged items, linear within a bucket."""

    __slots__ = ("_sums", "items")

    def __init__(self, delays: Sequence[int]) -> None:
        self._sums = [0, *accumulate(delays)]
        self.items = self._sums[-1]

    def share(self, age: float) -> float:
        """Return the share of the items with a delay of at most ``age`` seconds."""
        bucket = bisect_left(ENDS, age)
        if bucket == len(ENDS):
            return 1.0
        start = ENDS[bucket - 1] if bucket else 0
        part = max(0.0, age - start) / (ENDS[bucket] - start)
        before, after = self._sums[bucket], self._sums[bucket + 1]
        return (before + part * (after - before)) / self.items


class _Estimate:
    """The final items of one cell: ``judged`` ones are in, ``final`` ones are expected."""

    __slots__ = ("final", "judged", "share_of")

    def __init__(self, share_of: _Distribution) -> None:
        self.judged = 0
        self.final = 0.0
        self.share_of = share_of

    def variance(self, rate: float) -> float:
        """Return the squared relative error of ``final``: of the items that are in, and of the mature
        sample that gives their share."""
        share = self.judged / self.final
        sample = (1 - share) / (share * self.share_of.items)
        return max(0.0, 1 - share * rate) / self.judged + max(0.0, sample)


#: The estimates of some cells.
_Estimates = dict[Cell, _Estimate]


def hour_of(seconds: float) -> int:
    """Return the hour of a time in seconds since 1970."""
    return int(seconds // _HOUR)


def first_immature(now: float, maturity: float) -> int:
    """Return the first hour that is not mature at ``now``; both are in seconds."""
    return int((now - maturity) // _HOUR)


def nowcast(window: Mapping[int, Cohort], delays: Delays, now: float) -> Nowcast:
    """Return the nowcast of the cohorts of a window, by hour since 1970, at ``now`` (s since 1970).

    With O judged items of actual a and predicted p in a day, and E the mean over its hours u of the
    share of mature items (a, p) with a delay of at most now - u, weighted by the predictions N(u, p):
    est(a, p) = sum over days of O / E, and the nowcast's cells are
    N(p) est(a, p) / sum over a of est(a, p). The interval of accuracy is by the delta method.
    """
    predicted = predicted_in(window.values())
    judged = sum(sum(map(sum, cohort.judged.values())) for cohort in window.values())
    count = sum(predicted.values())
    if not delays.are_known:
        reason = "no predictions are old enough to know the delays"
        return Nowcast(None, None, None, None, count, judged, None, {}, reason)
    days: dict[int, dict[float, Cohort]] = {}
    # In one order, so that a sum of floats is the same in a live run and in a replay.
    for hour, cohort in sorted(window.items()):
        age = max(0.0, now - (hour + 0.5) * _HOUR)
        days.setdefault(int(age // _DAY), {})[age] = cohort
    estimates: _Estimates = {}
    missing = False
    for day in days.values():
        missing |= _add_day(estimates, day, delays)
    expected = sum(_expected(day, delays) for day in days.values())
    fit, error = _fit(days, delays)
    final = sum(estimate.final for estimate in estimates.values())
    withheld = None
    if judged < MIN_JUDGED:
        withheld = f"fewer than {MIN_JUDGED} items are judged"
    elif missing or judged < MIN_SHARE * final:
        withheld = f"less than {MIN_SHARE:.0%} of the labels are in"
    elif fit is not None and not MIN_FIT - 2 * error <= fit <= MAX_FIT + 2 * error:
        withheld = "the pace of labels has changed"
    if withheld is not None:
        return Nowcast(None, None, None, fit, count, judged, expected, {}, withheld)
    cells, accuracy, deviation = _resolve(estimates, predicted, delays)
    low, high = max(0.0, accuracy - Z * deviation), min(1.0, accuracy + Z * deviation)
    return Nowcast(accuracy, low, high, fit, count, judged, expected, cells, None)


def _add_day(estimates: _Estimates, day: Mapping[float, Cohort], delays: Delays) -> bool:
    """Add the cohorts of a day, by age in seconds. Returns whether items are judged of which none should
    be."""
    missing = False
    whole = total(day.values())
    for cell, counts in sorted(whole.judged.items()):
        judged = sum(counts)
        if judged <= 0:
            continue
        distribution = delays.of_cell(cell)
        share = _mean_share(distribution, day, cell.predicted)
        estimate = estimates.get(cell)
        if estimate is None:
            estimate = estimates[cell] = _Estimate(distribution)
        estimate.judged += judged
        if share > 0:
            estimate.final += judged / share
        else:
            missing = True
    return missing


def _mean_share(distribution: _Distribution, day: Mapping[float, Cohort], label: str) -> float:
    weights = {age: cohort.predicted.get(label, 0) for age, cohort in day.items()}
    whole = sum(weights.values())
    if whole <= 0:
        # Feedback was counted whose predictions were not: the archive's predictions are not provided.
        weights, whole = dict.fromkeys(day, 1), len(day)
    return sum(n * distribution.share(age) for age, n in weights.items() if n) / whole


def _expected(day: Mapping[float, Cohort], delays: Delays) -> float:
    """Return how many items of a day would be judged by now (counting rule 31)."""
    return sum(
        items * delays.rate(label) * delays.of_label(label).share(age)
        for age, cohort in day.items()
        for label, items in sorted(cohort.predicted.items())
        if items
    )


def _fit(days: Mapping[int, Mapping[float, Cohort]], delays: Delays) -> tuple[float | None, float]:
    """Return the expected items by the labels that are in, divided by those that the judged share of
    mature predictions gives, and its standard error; None if no day has enough labels to tell.

    It is of the window's last 24 hours; where the delays are so long that few labels are due there, of
    the latest day with enough of them.
    """
    for _, day in sorted(days.items()):
        if _expected(day, delays) >= MIN_JUDGED:
            break
    else:
        return None, 0.0
    estimates: _Estimates = {}
    if _add_day(estimates, day, delays):
        return None, 0.0
    found = due = squares = 0.0
    for label, items in sorted(predicted_in(day.values()).items()):
        rate = delays.rate(label)
        if not rate:
            continue
        own = [each for cell, each in estimates.items() if cell.predicted == label]
        final = sum(each.final for each in own)
        due += items
        found += final / rate
        squares += sum((each.final / rate) ** 2 * each.variance(rate) for each in own)
        if mature := delays.predicted(label):
            squares += (final / rate) ** 2 * (1 - rate) / (rate * mature)
    return (found / due, sqrt(squares) / due) if due else (None, 0.0)


def _resolve(
    estimates: _Estimates, predicted: Mapping[str, int], delays: Delays
) -> tuple[dict[Cell, float], float, float]:
    """Return the expected items by cell, their accuracy, and its standard error. A predicted label of
    which nothing is judged is left out."""
    by_label: dict[str, float] = {}
    for cell, estimate in estimates.items():
        by_label[cell.predicted] = by_label.get(cell.predicted, 0.0) + estimate.final
    weights = {label: max(0, predicted.get(label, 0)) for label in by_label}
    whole = sum(weights.values())
    cells: dict[Cell, float] = {}
    variance = right = 0.0
    shares = {cell: each.final / by_label[cell.predicted] for cell, each in estimates.items()}
    for cell, estimate in estimates.items():
        label = cell.predicted
        weight = weights[label] / whole
        cells[cell] = weights[label] * shares[cell]
        own = shares.get(Cell(label, label), 0.0)
        is_right = cell.actual == label
        right += weight * shares[cell] * is_right
        slope = weight * own * (is_right - shares[cell])
        variance += slope * slope * estimate.variance(delays.rate(label))
    return cells, right, sqrt(variance)


def hindcast(days: Sequence[Cohort], delays: Delays) -> list[Hindcast]:
    """Return how right the nowcast of some mature days would have been, by age; the delays are those of
    all mature predictions."""
    found = []
    for name, age in HINDCAST_AGES.items():
        bucket = ENDS.index(age)
        errors, hits = [], 0
        for day in days:
            final = _of_age(day, delays, float("inf"))
            early = _of_age(day.until(bucket), delays, float(age))
            if final is None or early is None:
                continue
            errors.append(early[0] - final[0])
            hits += abs(errors[-1]) <= Z * early[1]
        count = len(errors)
        mean = sum(errors) / count if count else None
        found.append(Hindcast(name, mean, hits / count if count else None, count))
    return found


def _of_age(cohort: Cohort, delays: Delays, age: float) -> tuple[float, float] | None:
    """Return the accuracy of a cohort of one age (s), and its standard error; None if too few of its
    labels are in."""
    estimates: _Estimates = {}
    missing = _add_day(estimates, {age: cohort}, delays)
    judged = sum(estimate.judged for estimate in estimates.values())
    final = sum(estimate.final for estimate in estimates.values())
    if missing or judged < MIN_JUDGED or judged < MIN_SHARE * final:
        return None
    _, accuracy, deviation = _resolve(estimates, cohort.predicted, delays)
    return accuracy, deviation


def _add(to: list[int], other: Sequence[int]) -> None:
    for position, items in enumerate(other):
        to[position] += items


def _rate(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole > 0 else None
