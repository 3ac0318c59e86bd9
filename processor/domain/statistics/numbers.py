"""Scores of numbers (counting rules 27 and 28): bias, MAE, RMSE, R2, correlation, MAPE, WAPE, quantiles
of the error, and the share within a tolerance.

A prediction p and a truth y are integers in units of 10^unit, and e = p - y; all sums are of these.
"""

from bisect import bisect_right
from math import isqrt, sqrt
from operator import add as add_integers
from typing import NamedTuple

from processor.domain.statistics.error_delays import unit_label
from processor.domain.statistics.labels import Z
from processor.domain.statistics.sums import Key, Sum, Sums, add, of_kind
from processor.domain.values import DEFAULT_UNIT, Schema

_MILLION = 1_000_000
#: The part of the truth that a tolerance of 100 % is.
_WHOLE = 10**9
#: The quantiles of |e| that are published, by their names.
RANKS = {"0.5": (1, 2), "0.9": (9, 10), "0.95": (95, 100), "0.99": (99, 100)}


def _root(k: int) -> int:
    """Return ceil(2^(k / 8)) exactly: the square root three times, rounded down and then mended."""
    root = isqrt(isqrt(isqrt(1 << k)))
    return root if root**8 == 1 << k else root + 1


#: Bucket 1 + k of |e| begins at the edge k; bucket 0 is for |e| = 0.
EDGES = tuple([_root(k) for k in range(8 * 62)])


def bucket_of(error: int) -> int:
    """Return the bucket of an absolute error in units.

    >>> bucket_of(0), bucket_of(1), bucket_of(2), bucket_of(1000)
    (0, 1, 9, 80)
    """
    return bisect_right(EDGES, error)


def upper_edge(bucket: int) -> int:
    """Return the largest absolute error of a bucket, in units.

    >>> upper_edge(0), upper_edge(1), upper_edge(80)
    (0, 1, 1023)
    """
    return EDGES[bucket] - 1 if bucket else 0


def is_within(error: int, actual: int, tolerance: tuple[int, int]) -> bool:
    """Return whether an absolute error is within a tolerance (see `Schema`), inclusive."""
    units, part = tolerance
    return error <= units if part < 0 else error * _WHOLE <= part * abs(actual)


def contribute(predicted: int, actual: int, schema: Schema, sums: Sums) -> bool | None:
    """Add what an item contributes; numbers are in units. Returns whether it is within the tolerance,
    None without a tolerance."""
    unit = unit_label(schema.unit)
    error = predicted - actual
    size = abs(error)
    add(sums, Sum.NUMBER_ITEMS, 1, unit)
    add(sums, Sum.ERROR, error, unit)
    add(sums, Sum.ABSOLUTE_ERROR, size, unit)
    add(sums, Sum.SQUARED_ERROR, error * error, unit)
    add(sums, Sum.ACTUAL, actual, unit)
    add(sums, Sum.SQUARED_ACTUAL, actual * actual, unit)
    add(sums, Sum.PREDICTED, predicted, unit)
    add(sums, Sum.SQUARED_PREDICTED, predicted * predicted, unit)
    add(sums, Sum.PRODUCT, predicted * actual, unit)
    add(sums, Sum.ABSOLUTE_ACTUAL, abs(actual), unit)
    add(sums, Sum.ERROR_BUCKET, 1, unit, bucket_of(size))
    if actual:
        magnitude = abs(actual)
        add(sums, Sum.PERCENTAGE, (_MILLION * size + magnitude // 2) // magnitude, unit)
        add(sums, Sum.PERCENTAGE_ITEMS, 1, unit)
    if schema.tolerance is None:
        return None
    add(sums, Sum.TOLERANCE_ITEMS, 1, unit)
    within = is_within(size, actual, schema.tolerance)
    add(sums, Sum.WITHIN, int(within), unit)
    return within


class NumberScores(NamedTuple):
    """All scores of a model's numbers, in their own measure (not in units). ``histogram`` has the
    largest |e| of each bucket that is not empty, and its items."""

    items: int
    bias: float | None
    mae: float | None
    mae_low: float | None
    mae_high: float | None
    rmse: float | None
    r2: float | None
    correlation: float | None
    mape: float | None
    wape: float | None
    absolute_error_quantiles: dict[str, float]
    mean_actual: float | None
    mean_predicted: float | None
    deviation_actual: float | None
    deviation_predicted: float | None
    slope: float | None
    intercept: float | None
    histogram: tuple[tuple[float, int], ...]


NONE = NumberScores(
    0,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    {},
    None,
    None,
    None,
    None,
    None,
    None,
    (),
)
_LINEAR = (Sum.ERROR, Sum.ABSOLUTE_ERROR, Sum.ACTUAL, Sum.PREDICTED, Sum.ABSOLUTE_ACTUAL)
_SQUARES = (Sum.SQUARED_ERROR, Sum.SQUARED_ACTUAL, Sum.SQUARED_PREDICTED, Sum.PRODUCT)


#: The unit in which errors of several units are added, the finest that there is.
_FINEST = -12
_UNITS = {unit_label(unit): unit for unit in range(-12, 13)}


class NumberTotals(NamedTuple):
    """Sums over items judged as numbers, in units of 10^-12, which can be added up over time: of |e|,
    of e^2, of the predictions and of the truths."""

    items: int = 0
    total: int = 0
    squares: int = 0
    predicted: int = 0
    actual: int = 0

    def plus(self, other: "NumberTotals") -> "NumberTotals":
        """The sums of both."""
        return NumberTotals(*map(add_integers, self, other))

    def means(self) -> tuple[float | None, float | None]:
        """The mean prediction and the mean truth; None without items."""
        if not self.items:
            return None, None
        predicted, actual = (
            _scaled(each, self.items, _FINEST) for each in (self.predicted, self.actual)
        )
        return predicted, actual

    def mean_error(self) -> tuple[float | None, float | None, float | None]:
        """The MAE with both ends of its 95 % interval, as in `scores`; None where not defined."""
        n = self.items
        if not n:
            return None, None, None
        mae = _scaled(self.total, n, _FINEST)
        if n == 1:
            return mae, None, None
        half = _half_width(n, self.total, self.squares, _FINEST)
        return mae, mae - half, mae + half


def number_totals(sums: Sums) -> NumberTotals:
    """Return the totals of numbers over all units.

    >>> sums = {}
    >>> for p, y in (1_000_000, 2_000_000), (4_000_000, 2_000_000), (3_000_000, 3_000_000):
    ...     _ = contribute(p, y, Schema(), sums)
    >>> number_totals(sums).mean_error()[0], number_totals(sums).means()
    (1.0, (2.6666666666666665, 2.3333333333333335))
    """
    items = total = squares = predicted = actual = 0
    for label, unit in _UNITS.items() if sums else ():
        n = sums.get(Key(Sum.NUMBER_ITEMS, label))
        if n is not None:
            scale: int = 10 ** (unit - _FINEST)
            items += n
            total += sums.get(Key(Sum.ABSOLUTE_ERROR, label), 0) * scale
            squares += sums.get(Key(Sum.SQUARED_ERROR, label), 0) * scale**2
            predicted += sums.get(Key(Sum.PREDICTED, label), 0) * scale
            actual += sums.get(Key(Sum.ACTUAL, label), 0) * scale
    return NumberTotals(items, total, squares, predicted, actual)


def tolerance_items(sums: Sums) -> int:
    """Return how many items were judged as numbers with a tolerance."""
    return _total(sums, Sum.TOLERANCE_ITEMS)


def within(sums: Sums) -> int:
    """Return how many items were within their tolerance."""
    return _total(sums, Sum.WITHIN)


def _total(sums: Sums, kind: Sum) -> int:
    """Return a sum over all units."""
    return sum(of_kind(sums, kind).values())


def scores(sums: Sums) -> NumberScores:
    """Return all scores of numbers; a score that is not defined is None. With n items:

    - bias = sum e / n, MAE = sum |e| / n, RMSE = sqrt(sum e^2 / n)
    - 95 % interval of the MAE: MAE -+ 1.96 sqrt(v / n), v = (sum e^2 - (sum |e|)^2 / n) / (n - 1)
    - R2 = 1 - sum e^2 / (sum y^2 - (sum y)^2 / n); Pearson's correlation of p and y
    - standard deviation of y = sqrt(sum y^2 / n - (sum y / n)^2), and so for p
    - least squares line y = intercept + slope p: slope = cov(p, y) / var(p)
    - MAPE = mean of |e| / |y| over items whose y is not 0, WAPE = sum |e| / sum |y|
    - quantile of |e|: upper edge of the first bucket with at least that share of the items up to it

    Source: scikit-learn, `mean_absolute_error`, `root_mean_squared_error`, `r2_score`; numpy,
    `corrcoef`, `std`, `polyfit`.

    >>> sums = {}
    >>> for p, y in (1_000_000, 2_000_000), (4_000_000, 2_000_000), (3_000_000, 3_000_000):
    ...     _ = contribute(p, y, Schema(), sums)
    >>> found = scores(sums)
    >>> found.bias, found.mae, found.mape, found.absolute_error_quantiles["0.5"]
    (0.3333333333333333, 1.0, 0.5, 1.048575)
    """
    units = {label: int(label or DEFAULT_UNIT) for label, _ in of_kind(sums, Sum.NUMBER_ITEMS)}
    if not units:
        return NONE
    finest = min(units.values())
    total: dict[int, int] = dict.fromkeys((*Sum,), 0)
    errors: dict[int, int] = {}
    for (kind, label, index), n in sums.items():
        unit = units.get(label)
        if unit is None or not Sum.NUMBER_ITEMS <= kind <= Sum.WITHIN:
            continue
        scale: int = 10 ** (unit - finest)
        if kind == Sum.ERROR_BUCKET:
            edge = upper_edge(index) * scale
            errors[edge] = errors.get(edge, 0) + n
        else:
            total[kind] += n * (scale if kind in _LINEAR else scale**2 if kind in _SQUARES else 1)
    return _scores(total, sorted(errors.items()), finest)


def _scores(total: dict[int, int], errors: list[tuple[int, int]], unit: int) -> NumberScores:
    n = total[Sum.NUMBER_ITEMS]
    if not n:
        return NONE
    size, squares = total[Sum.ABSOLUTE_ERROR], total[Sum.SQUARED_ERROR]
    actual, predicted = total[Sum.ACTUAL], total[Sum.PREDICTED]
    # n^2 times the variances and the covariance.
    actual_spread = n * total[Sum.SQUARED_ACTUAL] - actual * actual
    predicted_spread = n * total[Sum.SQUARED_PREDICTED] - predicted * predicted
    together = n * total[Sum.PRODUCT] - predicted * actual
    mae = _scaled(size, n, unit)
    half = _half_width(n, size, squares, unit) if n > 1 else None
    return NumberScores(
        n,
        _scaled(total[Sum.ERROR], n, unit),
        mae,
        None if half is None else mae - half,
        None if half is None else mae + half,
        sqrt(squares / n) * 10.0**unit,
        1 - n * squares / actual_spread if n > 1 and actual_spread else None,
        together / (sqrt(actual_spread) * sqrt(predicted_spread))
        if actual_spread and predicted_spread
        else None,
        _ratio(total[Sum.PERCENTAGE], _MILLION * total[Sum.PERCENTAGE_ITEMS]),
        _ratio(size, total[Sum.ABSOLUTE_ACTUAL]),
        {name: _scaled(_quantile(errors, n, *rank), 1, unit) for name, rank in RANKS.items()},
        _scaled(actual, n, unit),
        _scaled(predicted, n, unit),
        sqrt(actual_spread) / n * 10.0**unit,
        sqrt(predicted_spread) / n * 10.0**unit,
        together / predicted_spread if predicted_spread else None,
        _scaled(actual * predicted_spread - together * predicted, n * predicted_spread, unit)
        if predicted_spread
        else None,
        tuple([(_scaled(edge, 1, unit), count) for edge, count in errors]),
    )


def _half_width(n: int, size: int, squares: int, unit: int) -> float:
    """Return half the width of the MAE's interval, for n > 1 items."""
    return Z * sqrt(max(0, n * squares - size * size) / (n * n * (n - 1))) * 10.0**unit


def _scaled(amount: int, divisor: int, unit: int) -> float:
    """Return amount / divisor, in units, as a number."""
    power: int = 10 ** abs(unit)
    return amount / (divisor * power) if unit < 0 else amount * power / divisor


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quantile(errors: list[tuple[int, int]], n: int, part: int, whole: int) -> int:
    """Return the smallest edge with at least part / whole of the n items up to it."""
    found = 0
    for edge, count in errors:
        found += count
        if found * whole >= part * n:
            return edge
    return errors[-1][0]
