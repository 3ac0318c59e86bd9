"""The expected outcomes of predictions whose labels are late (counting rule 30): how many of each
outcome there will be, and the mean of a value over them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, sqrt
from operator import truediv
from typing import NamedTuple

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays, Distribution
from processor.domain.statistics.delays import Cohort
from processor.domain.statistics.error_delays import usual_of

#: The relative deviation by which more or fewer labels come than from mature predictions.
DUE_DEVIATION = 0.03
#: The bounds of the logarithm of their number beside the usual one, how exactly it is found, and in how
#: many steps at most.
_MAX_LOG_SCALE, _PRECISION, _STEPS = 2.0, 1e-13, 60


def mean_share(distribution: Distribution, items_by_age: Iterable[tuple[float, float]]) -> float:
    """Return the share of the labels of items of some ages (s) that is in by now; 0 without items."""
    whole = found = 0.0
    for age, items in items_by_age:
        if items:
            whole += items
            found += items * distribution.share(age)
    return found / whole if found else 0.0


class Estimate:
    """The final items of one cell: ``judged`` ones are in, ``final`` ones are expected. Of numbers,
    ``size`` is the sum of the absolute errors of the judged ones."""

    __slots__ = ("_of_items", "_of_sample", "final", "judged", "share_of", "size")

    def __init__(self, share_of: Distribution) -> None:
        self.judged = self.size = self.final = 0.0
        self.share_of = share_of
        #: The variance of the items that are in, and the error of their shares times the root of the
        #: mature items, both in final items.
        self._of_items = self._of_sample = 0.0

    def add(self, judged: float, share: float, rate: float) -> None:
        """Add the judged items of a day, whose ``share`` is in; ``rate`` is that of all predictions that
        are judged in the end."""
        final = judged / share
        self.judged += judged
        self.final += final
        # Of which hours of the day the outcomes are is chance too: so it is the day's mean share here.
        self._of_items += max(0.0, 1 - rate * share) * judged / share**2
        self._of_sample += final * sqrt(max(0.0, 1 - share) / share)

    @property
    def variance(self) -> float:
        """The squared relative error of ``final``: of the items that are in, and of the mature sample
        that gives their share, which is the same for all days."""
        return (self._of_items + self._of_sample**2 / self.share_of.items) / self.final**2


#: The estimates of some cells.
Estimates = dict[Cell, Estimate]


def add_older(estimates: Estimates, days: Iterable[Mapping[float, Cohort]], delays: Delays) -> None:
    """Add one judged item of each predicted label with the outcomes of mature predictions, or a part of
    one where only a part of the labels is missing: an outcome that is not in yet may still come. The
    cohorts of a day are by age in seconds."""
    ages = [(age, cohort.predicted) for day in days for age, cohort in day.items()]
    judged: dict[str, float] = {}
    for cell, each in estimates.items():
        judged[cell.predicted] = judged.get(cell.predicted, 0.0) + each.judged
    for label in sorted({label for _, predicted in ages for label in predicted}):
        weights = [(age, predicted[label]) for age, predicted in ages if predicted.get(label)]
        count, rate = sum(items for _, items in weights), delays.rate(label)
        outcomes = delays.outcomes(label)
        missing = 1 - judged.get(label, 0.0) / (count * rate) if count * rate > 0 else 0.0
        if missing <= 0 or not outcomes:
            continue
        shares = {cell: mean_share(delays.of_cell(cell), weights) for cell in outcomes}
        due = sum(items * shares[cell] for cell, items in outcomes.items())
        for cell, items in outcomes.items() if due else ():
            if not shares[cell]:
                continue
            estimate = estimates.get(cell)
            if estimate is None:
                estimate = estimates[cell] = Estimate(delays.of_cell(cell))
            part = missing * items * shares[cell] / due
            estimate.add(part, shares[cell], rate)
            if delays.of_numbers:
                estimate.size += part * usual_of(int(cell.actual))


class _Shares(NamedTuple):
    """The expected shares of the outcomes of one predicted label. ``pull`` and ``strength`` say how
    these answer to an error of an estimate and of the number of labels that are due: see `_mean`."""

    by_cell: dict[Cell, float]
    pull: dict[Cell, float]
    strength: dict[Cell, float]


def _shares(own: Mapping[Cell, Estimate], due: float) -> _Shares:
    """Return the shares p of outcomes whose estimates are those of one predicted label, of which ``due``
    items will be judged.

    O items of an outcome are in, of a share E = O / est. They are taken as Poisson with the mean
    due s p E, where s, by which more or fewer labels come than from mature predictions, is log-normal
    around 1 with the deviation t = `DUE_DEVIATION`. The most likely p and s, with sum p = 1, are
    p = O / (due s E + log(s) / t^2). With t = 0 the number of labels would be taken as known, with an
    infinite t it would say nothing, and p would be est / sum est.
    """
    judged = [each.judged for each in own.values()]
    expected = [due * each.judged / each.final for each in own.values()]
    scale, divisors = _solve(judged, expected)
    shares = list(map(truediv, judged, divisors))
    strengths = list(map(truediv, shares, divisors))
    pulls = [
        strength * (items * scale + DUE_DEVIATION**-2)
        for strength, items in zip(strengths, expected, strict=True)
    ]
    whole = sum(shares)
    return _Shares(
        {cell: share / whole for cell, share in zip(own, shares, strict=True)},
        dict(zip(own, pulls, strict=True)),
        dict(zip(own, strengths, strict=True)),
    )


def _solve(judged: Sequence[float], expected: Sequence[float]) -> tuple[float, list[float]]:
    """Return the s of `_shares` and the divisors of the judged items: by Newton's method, and where that
    leaves the bounds, by halving them."""
    low, high = -_MAX_LOG_SCALE, _MAX_LOG_SCALE
    found, scale, divisors = 0.0, 1.0, list(expected)
    for _ in range(_STEPS):
        scale, pulled = exp(found), found / DUE_DEVIATION**2
        divisors = [items * scale + pulled for items in expected]
        slope, excess = 0.0, -1.0
        if min(divisors) > 0:
            for items, usual, divisor in zip(judged, expected, divisors, strict=True):
                share = items / divisor
                excess += share
                slope -= share / divisor * (usual * scale + DUE_DEVIATION**-2)
        if not slope or excess > 0:
            low = found
        else:
            high = found
        step = excess / slope if slope else 0.0
        if slope and abs(step) <= _PRECISION:
            break
        found = found - step if slope and low < found - step < high else (low + high) / 2
    return scale, divisors


def _mean(
    own: Mapping[Cell, Estimate], shares: _Shares, value_of: Callable[[Cell], float]
) -> tuple[float, float]:
    """Return the mean of the cells' values over the outcomes of one predicted label, and its variance by
    the delta method: of the estimates, and of the number of labels that are due."""
    mean = sum(share * value_of(cell) for cell, share in shares.by_cell.items())
    weight = sum(shares.pull.values())
    middle = sum(pull * value_of(cell) for cell, pull in shares.pull.items()) / weight
    variance = sum(
        (shares.by_cell[cell] * (value_of(cell) - middle)) ** 2 * each.variance
        for cell, each in own.items()
    )
    of_due = sum(n * (value_of(cell) - middle) for cell, n in shares.strength.items())
    return mean, variance + (of_due / DUE_DEVIATION) ** 2


def resolve(
    estimates: Estimates,
    predicted: Mapping[str, int],
    delays: Delays,
    value_of: Callable[[Cell], float],
) -> tuple[dict[Cell, float], float, float]:
    """Return the expected items by cell, the mean of the cells' values over them, such as the accuracy,
    and its standard error. A predicted label of which nothing is judged is left out."""
    by_label: dict[str, dict[Cell, Estimate]] = {}
    for cell, estimate in estimates.items():
        by_label.setdefault(cell.predicted, {})[cell] = estimate
    weights = {label: max(0, predicted.get(label, 0)) for label in by_label}
    whole = sum(weights.values())
    cells: dict[Cell, float] = {}
    variance = mean = 0.0
    for label, own in by_label.items():
        due = weights[label] * delays.rate(label)
        if not due:
            continue
        shares = _shares(own, due)
        cells |= {cell: weights[label] * share for cell, share in shares.by_cell.items()}
        own_mean, own_variance = _mean(own, shares, value_of)
        mean += weights[label] / whole * own_mean
        variance += (weights[label] / whole) ** 2 * own_variance
    return cells, mean, sqrt(variance)
