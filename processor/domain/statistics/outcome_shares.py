"""The expected outcomes of predictions whose labels are late (counting rule 30): the shares of outcomes
of each day, and the mean of a value over them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, sqrt
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.label_days import Day, Due, Estimates

#: The bounds of the logarithm of the number of labels beside the usual one, how exactly it is found, and
#: in how many steps at most.
_MAX_LOG_SCALE, _PRECISION, _STEPS = 2.0, 1e-13, 60


class _Shares(NamedTuple):
    """The expected shares of the outcomes of one day and predicted label. ``pull`` and ``strength`` say
    how these answer to an error of an estimate, and to one standard error of the number of labels that
    are due: see `_Errors`."""

    by_cell: dict[Cell, float]
    pull: dict[Cell, float]
    strength: dict[Cell, float]


def _shares(own: Estimates, due: Due) -> _Shares:
    """Return the shares p of outcomes whose estimates are those of one day and predicted label.

    O items of an outcome are in, of a share E = O / est. Each of n predictions is one of them with the
    chance l s p E, where n l labels are ``due``, and s, by which more or fewer come, is log-normal
    around 1 with the variance v. The most likely p and s, with sum p = 1, are
    p = O / (n l s E + (1 - l s E) log(s) / v). With v = 0 the number of labels would be taken as known,
    with an infinite v it would say nothing, and p would be est / sum est.
    """
    judged = [each.judged for each in own.values()]
    expected = [due.items * each.judged / each.final for each in own.values()]
    log_scale = _solve(judged, expected, due)
    found = [_divisor(exp(log_scale) * items, log_scale, due) for items in expected]
    shares = [items / divisor for items, (divisor, _) in zip(judged, found, strict=True)]
    strengths = [
        share / divisor * (1 - due.in_by_now(exp(log_scale) * items)) / sqrt(due.variance)
        for share, (divisor, _), items in zip(shares, found, expected, strict=True)
    ]
    pulls = [share / divisor * slope for share, (divisor, slope) in zip(shares, found, strict=True)]
    whole = sum(shares)
    return _Shares(
        {cell: share / whole for cell, share in zip(own, shares, strict=True)},
        dict(zip(own, pulls, strict=True)),
        dict(zip(own, strengths, strict=True)),
    )


def _divisor(mean: float, log_scale: float, due: Due) -> tuple[float, float]:
    """Return by what the judged items of an outcome are divided to have its share, and how fast that
    grows with ``log_scale``; ``mean`` items would be in were they all of this outcome."""
    part = due.in_by_now(mean)
    return (
        mean + (1 - part) * log_scale / due.variance,
        mean + (1 - part - part * log_scale) / due.variance,
    )


def _solve(judged: Sequence[float], expected: Sequence[float], due: Due) -> float:
    """Return the log(s) of `_shares`: by Newton's method, and where that leaves the bounds, by halving
    them."""
    # Beyond the upper one the shares would rise again.
    low, high = -_MAX_LOG_SCALE, min(_MAX_LOG_SCALE, due.variance * due.items / due.rate)
    found = 0.0
    for _ in range(_STEPS):
        scale = exp(found)
        divisors = [_divisor(items * scale, found, due) for items in expected]
        slope, excess = 0.0, -1.0
        if min(divisors)[0] > 0:
            for items, (divisor, growth) in zip(judged, divisors, strict=True):
                share = items / divisor
                excess += share
                slope -= share / divisor * growth
        if not slope or excess > 0:
            low = found
        else:
            high = found
        step = excess / slope if slope else 0.0
        if slope and abs(step) <= _PRECISION:
            break
        found = found - step if slope and low < found - step < high else (low + high) / 2
    return found


class _Errors:
    """The errors of a mean by what is chance: of the items of each day and cell, of the mature sample by
    cell, and of the number of labels that are due, by predicted label."""

    def __init__(self) -> None:
        self._of_items = 0.0
        self._of_sample: dict[Cell, float] = {}
        self._of_due: dict[str, float] = {}

    def add(
        self,
        label: str,
        weight: float,
        own: Estimates,
        shares: _Shares,
        values: Mapping[Cell, float],
    ) -> None:
        """Add those of a day's outcomes of a predicted label by the delta method, times ``weight``."""
        pulls = sum(shares.pull.values())
        middle = sum(pull * values[cell] for cell, pull in shares.pull.items()) / pulls
        for cell, each in own.items():
            part = weight * shares.by_cell[cell] * (values[cell] - middle)
            self._of_items += part * part * each.of_items
            self._of_sample[cell] = self._of_sample.get(cell, 0.0) + part * each.of_sample
        of_due = sum(n * (values[cell] - middle) for cell, n in shares.strength.items())
        self._of_due[label] = self._of_due.get(label, 0.0) + weight * of_due

    @property
    def deviation(self) -> float:
        """The standard error of the mean."""
        shared = (*self._of_sample.values(), *self._of_due.values())
        return sqrt(self._of_items + sum(error * error for error in shared))


def resolve(
    days: Iterable[Day], value_of: Callable[[Cell], float]
) -> tuple[dict[Cell, float], float, float]:
    """Return the expected items by cell, the mean of the cells' values over them, such as the accuracy,
    and its standard error. They are the sum of those of the days. Predictions of a day and label of
    which nothing is known are taken to be like those of the other days; without any they are left out.
    """
    cells: dict[Cell, float] = {}
    predicted: dict[str, int] = {}
    known: dict[str, int] = {}
    parts: list[tuple[str, int, Estimates, _Shares]] = []
    for day in days:
        by_label: dict[str, Estimates] = {}
        for cell, estimate in day.estimates.items():
            by_label.setdefault(cell.predicted, {})[cell] = estimate
        for label, items in day.predicted.items():
            predicted[label] = predicted.get(label, 0) + max(0, items)
        for label, own in by_label.items():
            items = max(0, day.predicted.get(label, 0))
            if not items or not day.due[label].items:
                continue
            known[label] = known.get(label, 0) + items
            parts.append((label, items, own, _shares(own, day.due[label])))
    whole = sum(predicted[label] for label in known)
    errors = _Errors()
    for label, items, own, shares in parts:
        weight = items * predicted[label] / known[label]
        for cell, share in shares.by_cell.items():
            cells[cell] = cells.get(cell, 0.0) + weight * share
        errors.add(label, weight / whole, own, shares, {cell: value_of(cell) for cell in own})
    mean = sum(items * value_of(cell) for cell, items in cells.items()) / whole if whole else 0.0
    return cells, mean, errors.deviation
