"""Drift of predictions (counting rule 32): how far the predicted labels of two spans of time differ, and
how far chance alone would take them."""

from collections.abc import Mapping
from functools import cache
from math import exp, lgamma, log, log2, sqrt
from typing import NamedTuple

#: The share of equal samples whose distance is below that "by chance".
_CONFIDENCE = 0.95


class Drift(NamedTuple):
    """The Jensen-Shannon distance of two distributions of labels, from 0 to 1, and the distance that
    95 % of equal distributions stay below for these numbers of items."""

    jensen_shannon: float
    by_chance: float


def drift(items: Mapping[str, int], before: Mapping[str, int]) -> Drift | None:
    """Return the drift between two spans, by items of each label; None if one of them is empty.

    With p and q the shares of the labels, and m = (p + q) / 2: the distance is the root of
    (sum p log2(p/m) + sum q log2(q/m)) / 2. By chance, for k labels and n1 and n2 items, it is
    sqrt(chi2.95(k - 1) (1/n1 + 1/n2) / (8 ln 2)).
    Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information
    Theory 37 (1991); Grosse et al., "Analysis of symbolic sequences using the Jensen-Shannon
    divergence", Physical Review E 65 (2002); SciPy, `jensenshannon` with base=2.

    >>> [round(number, 3) for number in drift({"a": 60, "b": 40}, {"a": 50, "b": 50})]
    [0.085, 0.118]
    >>> drift({}, {"a": 1})
    >>> drift({"a": 1, "b": 3, "c": -2}, {"b": 3, "c": 2}) == drift({"a": 1, "b": 3}, {"b": 3, "c": 2})
    True
    """
    # A share of less than nothing has no logarithm.
    items, before = ({label: n for label, n in each.items() if n > 0} for each in (items, before))
    sizes = sum(items.values()), sum(before.values())
    if min(sizes) <= 0:
        return None
    divergence = 0.0
    labels = {*items, *before}
    for label in sorted(labels):
        p, q = items.get(label, 0) / sizes[0], before.get(label, 0) / sizes[1]
        mean = (p + q) / 2
        divergence += sum(part * log2(part / mean) for part in (p, q) if part > 0) / 2
    quantile = chi_squared_quantile(len(labels) - 1) if len(labels) > 1 else 0.0
    by_chance = sqrt(quantile * (1 / sizes[0] + 1 / sizes[1]) / (8 * log(2)))
    return Drift(sqrt(max(0.0, divergence)), min(1.0, by_chance))


@cache
def chi_squared_quantile(degrees: int) -> float:
    """Return the 95 % quantile of the chi-squared distribution with so many degrees of freedom.

    >>> round(chi_squared_quantile(1), 6), round(chi_squared_quantile(10), 6)
    (3.841459, 18.307038)
    """
    low, high = 0.0, 10.0 * degrees + 10
    for _ in range(200):
        middle = (low + high) / 2
        if _lower_gamma(degrees / 2, middle / 2) < _CONFIDENCE:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _lower_gamma(shape: float, x: float) -> float:
    """Return the regularized lower incomplete gamma function, by its series: all its terms are positive.

    Source: NIST Digital Library of Mathematical Functions, 8.11.4.
    """
    if x <= 0:
        return 0.0
    term = exp(shape * log(x) - x - lgamma(shape + 1))
    if not term:
        return 0.0 if x < shape else 1.0
    total, step = term, shape
    while term > total * 1e-17:
        step += 1
        term *= x / step
        total += term
    return min(1.0, total)
