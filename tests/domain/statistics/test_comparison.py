"""The significance tests against statsmodels and SciPy."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportions_ztest

from processor.domain.statistics.comparison import mcnemar, two_proportion_z

SAMPLES = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(SAMPLES, SAMPLES)
def test_two_proportion_z(first: tuple[int, int], second: tuple[int, int]) -> None:
    right = first[0] + second[0]
    assume(0 < right < first[1] + second[1])
    found = two_proportion_z(*first, *second)
    assert found is not None
    z, p = proportions_ztest([first[0], second[0]], [first[1], second[1]])
    assert found.statistic == pytest.approx(z, abs=1e-9)
    assert found.p_value == pytest.approx(p, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("samples", [(0, 0, 5, 9), (5, 5, 9, 9), (0, 5, 0, 9)])
def test_no_result_without_variance(samples: tuple[int, int, int, int]) -> None:
    assert two_proportion_z(*samples) is None


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar(first: int, second: int) -> None:
    assume(first + second > 0)
    found = mcnemar(first, second)
    assert found is not None
    exact = first + second < 25
    reference = reference_mcnemar([[7, first], [second, 9]], exact=exact, correction=True)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-300)
    assert ("exact" in found.test) == exact
    if exact:
        binomial = binomtest(first, first + second).pvalue
        assert found.p_value == pytest.approx(binomial, rel=1e-9)
    else:
        assert found.statistic == pytest.approx(reference.statistic)
