"""Significance tests for the difference of two accuracies."""

from math import comb, erfc, sqrt
from typing import NamedTuple

#: Discordant pairs below which the exact test is used: the normal approximation is too rough there.
_EXACT_BELOW = 25


class Significance(NamedTuple):
    """The result of a test. ``p_value`` is two-sided: the probability of at least such a difference if
    both accuracies are equal. ``statistic`` is z, chi squared, or None for an exact test."""

    test: str
    statistic: float | None
    p_value: float


def two_proportion_z(
    right: int, judged: int, other_right: int, other_judged: int
) -> Significance | None:
    """Two-proportion z-test with pooled variance, for independent samples of ``judged`` items each, of
    which ``right`` are correct. None if a sample is empty, or if all or none are correct in both.

    z = (p1 - p2) / sqrt(p (1 - p) (1/n1 + 1/n2)), where p is the proportion of both samples together.
    Source: Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions" (2003), section
    3.1, without continuity correction; statsmodels, `proportions_ztest`.

    >>> two_proportion_z(46, 63, 50, 60).p_value
    0.16702473873156867
    """
    if not judged or not other_judged:
        return None
    pooled = (right + other_right) / (judged + other_judged)
    variance = pooled * (1 - pooled) * (1 / judged + 1 / other_judged)
    if not variance:
        return None
    z = (right / judged - other_right / other_judged) / sqrt(variance)
    return Significance("two-proportion z-test (pooled)", z, erfc(abs(z) / sqrt(2)))


def mcnemar(only_first: int, only_second: int) -> Significance | None:
    """McNemar's test for paired samples, from the discordant pairs: the numbers of items that only the
    first, or only the second, model predicted correctly. None without discordant pairs.

    With n = b + c discordant pairs: exact (binomial with p = 1/2) for n < 25, else chi squared with
    Edwards' continuity correction, (|b - c| - 1)^2 / n.
    Source: McNemar, "Note on the sampling error of the difference between correlated proportions",
    Psychometrika 12 (1947); Edwards, "Note on the correction for continuity", Psychometrika 13
    (1948); statsmodels, `mcnemar`.

    >>> mcnemar(1, 5)
    Significance(test="McNemar's test (exact binomial)", statistic=None, p_value=0.21875)
    >>> mcnemar(0, 0)
    """
    n = only_first + only_second
    if not n:
        return None
    if n < _EXACT_BELOW:
        tail = sum(comb(n, i) for i in range(min(only_first, only_second) + 1))
        return Significance("McNemar's test (exact binomial)", None, min(1.0, 2 * tail / 2**n))
    chi_squared = (abs(only_first - only_second) - 1) ** 2 / n
    name = "McNemar's test (chi squared, continuity corrected)"
    return Significance(name, chi_squared, erfc(sqrt(chi_squared / 2)))
