"""The scores against scikit-learn, and against values calculated by hand."""

import warnings
from collections import Counter
from math import isclose
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.statistics.labels import UNDEFINED, Ratios, class_scores, mcc, scores, wilson

LABELS = ("a", "b", "c", "d", "ä")

pairs = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=60
)


def counted(items: list[tuple[str, str]]) -> Counts:
    """Counts of (actual, predicted) items."""
    cells = dict(Counter(Cell(*item) for item in items))
    correct = sum(n for cell, n in cells.items() if cell.actual == cell.predicted)
    return Counts(predictions=len(items), judged=len(items), correct=correct, cells=cells)


def close(ours: float | None, theirs: float) -> bool:
    return isclose(ours or 0.0, theirs, rel_tol=1e-12, abs_tol=1e-12)


@given(pairs)
def test_scores_equal_those_of_scikit_learn(items: list[tuple[str, str]]) -> None:
    actual, predicted = zip(*items, strict=True)
    labels = sorted({*actual, *predicted})
    ours = scores(counted(items))

    assert close(ours.accuracy, metrics.accuracy_score(actual, predicted))
    assert list(ours.classes) == labels
    theirs = metrics.precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    for score, *expected in zip(ours.classes.values(), *theirs, strict=True):
        ratios = score.ratios
        assert close(ratios.precision, expected[0])
        assert close(ratios.recall, expected[1])
        assert close(ratios.f1, expected[2])
        assert score.support == expected[3]
    for average, mean in (
        ("macro", ours.macro),
        ("micro", ours.micro),
        ("weighted", ours.weighted),
    ):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            actual, predicted, labels=labels, average=average, zero_division=0
        )
        assert close(mean.precision, precision)
        assert close(mean.recall, recall)
        assert close(mean.f1, f1)


@given(pairs)
def test_specificity_equals_that_of_one_class_against_the_rest(
    items: list[tuple[str, str]],
) -> None:
    actual, predicted = zip(*items, strict=True)
    labels = sorted({*actual, *predicted})
    ours = scores(counted(items))
    matrices: Any = metrics.multilabel_confusion_matrix(actual, predicted, labels=labels)
    tn, fp, fn, tp = (matrices[:, i, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))

    for i, score in enumerate(ours.classes.values()):
        assert score[:4] == (tp[i], fp[i], fn[i], tn[i])
        defined = tn[i] + fp[i] > 0
        assert (score.ratios.specificity is not None) == defined
    each = np.array([tn[i] / (tn[i] + fp[i]) if tn[i] + fp[i] else 0.0 for i in range(len(labels))])
    assert close(ours.macro.specificity, each.mean())
    assert close(ours.weighted.specificity, float(np.average(each, weights=tp + fn)))
    undefined = all(score.ratios.specificity is None for score in ours.classes.values())
    assert (ours.macro.specificity is None) == (ours.weighted.specificity is None) == undefined
    negatives = int(tn.sum() + fp.sum())
    assert close(ours.micro.specificity, int(tn.sum()) / negatives if negatives else 0.0)


@given(pairs)
def test_correlations_equal_those_of_scikit_learn(items: list[tuple[str, str]]) -> None:
    actual, predicted = zip(*items, strict=True)
    ours = scores(counted(items))

    # Without variance scikit-learn returns 0 or NaN; here the score is undefined.
    one_sided = len(set(actual)) == 1 or len(set(predicted)) == 1
    assert (ours.mcc is None) == one_sided
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert close(ours.mcc, metrics.matthews_corrcoef(actual, predicted))
        theirs = metrics.cohen_kappa_score(actual, predicted)
    if len({*actual, *predicted}) == 1:
        assert ours.kappa is None
    else:
        assert ours.kappa is not None
        assert close(ours.kappa, theirs)


EXPERIMENT = {
    Cell("t:0", "t:0"): 13,
    Cell("t:0", "t:1"): 1,
    Cell("t:0", "t:2"): 1,
    Cell("t:1", "t:1"): 14,
    Cell("t:1", "t:2"): 8,
    Cell("t:2", "t:0"): 3,
    Cell("t:2", "t:1"): 4,
    Cell("t:2", "t:2"): 19,
}


def test_experiment() -> None:
    ours = scores(Counts(100, 63, 46, 0, 63, 46 * MICRO, 0, EXPERIMENT))
    assert ours.coverage == 0.63
    assert ours.accuracy == 0.7301587301587301
    assert ours.accuracy_low == 0.6097009078044822
    assert ours.accuracy_high == 0.82416155587684
    assert ours.reward_mean == 0.7301587301587301
    assert ours.mcc == pytest.approx(0.5869593522663455, rel=1e-14)
    assert ours.kappa == pytest.approx(0.5853658536585367, rel=1e-14)
    first = ours.classes["t:0"]
    assert first.support == 15
    assert first.ratios == pytest.approx(
        Ratios(0.8125, 0.8666666666666667, 0.9375, 0.8387096774193549)
    )
    assert ours.macro == pytest.approx(
        Ratios(0.7426378446115288, 0.7445998445998446, 0.8574351790815206, 0.7417800701304506)
    )
    assert ours.weighted == pytest.approx(
        Ratios(0.7308076739467717, 0.7301587301587301, 0.8421468070858315, 0.7285925666903026)
    )
    assert ours.micro == pytest.approx(
        Ratios(0.7301587301587301, 0.7301587301587301, 0.8650793650793651, 0.7301587301587301)
    )


def test_nothing_counted_is_undefined() -> None:
    nothing = scores(Counts())
    assert nothing == (
        *(None, None, None, None, None),
        *({}, UNDEFINED, UNDEFINED, UNDEFINED),
        *(None, None),
    )


def test_unknown_actuals_are_incorrect_and_belong_to_no_class() -> None:
    counts = Counts(predictions=4, judged=4, correct=1, unknown_actual=3)
    counts.cells[Cell("x", "x")] = 1
    ours = scores(counts)
    assert ours.accuracy == 0.25
    assert ours.macro == ours.weighted == ours.micro == Ratios(1.0, 1.0, None, 1.0)


def test_undefined_class_score_is_none_and_counts_as_zero_in_the_mean() -> None:
    ours = scores(counted([("x", "x"), ("x", "y")]))
    assert ours.classes["y"].ratios.recall is None
    assert ours.classes["x"].ratios.specificity is None
    assert ours.macro.recall == 0.25
    assert ours.macro.specificity == 0.25


def test_an_average_is_undefined_only_where_no_class_defines_the_score() -> None:
    ours = scores(counted([("x", "y")]))
    assert ours.classes["x"].ratios == Ratios(None, 0.0, None, 0.0)
    assert ours.classes["y"].ratios == Ratios(0.0, None, 0.0, 0.0)
    # All the support is with x, whose precision is undefined; y defines it.
    assert ours.macro == ours.weighted == Ratios(0.0, 0.0, 0.0, 0.0)


@given(st.integers(1, 10**12), st.data())
def test_wilson_contains_the_ratio_and_stays_within_0_and_1(
    judged: int, data: st.DataObject
) -> None:
    correct = data.draw(st.integers(0, judged))
    low, high = wilson(correct, judged)
    assert low is not None
    assert high is not None
    assert 0.0 <= low <= correct / judged <= high <= 1.0
    assert (low == 0.0) or correct > 0
    assert (high == 1.0) or correct < judged


@pytest.mark.parametrize(
    ("correct", "judged", "low", "high"),
    [
        (0, 10, 0.0, 0.27753279986288),
        (10, 10, 0.72246720013712, 1.0),
        (81, 263, 0.2552710, 0.3662058),  # Newcombe, Statistics in Medicine 17 (1998), table I
        (15, 148, 0.0624, 0.1605),
    ],
)
def test_wilson_values(correct: int, judged: int, low: float, high: float) -> None:
    assert wilson(correct, judged) == pytest.approx((low, high), abs=5e-5)


def test_large_counts_stay_within_bounds() -> None:
    huge = 10**15
    perfect = class_scores({Cell("x", "x"): huge, Cell("y", "y"): 3 * huge})
    assert mcc(perfect) == pytest.approx(1.0)
    assert (mcc(perfect) or 0.0) <= 1.0
