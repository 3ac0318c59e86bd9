"""Scores of a classifier from its counts (counting rules 19 to 22). An undefined score (0/0) is None,
never 0. All formulas take counts of items, and cost at most one pass over the cells.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from operator import mul
from typing import NamedTuple

from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.statistics.sums import Sum, of_kind

#: The 97.5 % quantile of the standard normal distribution, for intervals of 95 %.
Z = 1.959963984540054


class Ratios(NamedTuple):
    """Precision, recall, specificity and F1 of a class, or their means over the classes; each is from
    0 to 1, or None where it is undefined."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None


#: The means of a model without judged items.
UNDEFINED = Ratios(None, None, None, None)


class ClassScores(NamedTuple):
    """One class against all others: true and false positives and negatives (items), and the ratios."""

    tp: int
    fp: int
    fn: int
    tn: int
    ratios: Ratios

    @property
    def support(self) -> int:
        """The number of items whose actual label is this class."""
        return self.tp + self.fn


class Scores(NamedTuple):
    """All scores of one model. ``classes`` is sorted by label."""

    coverage: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    reward_mean: float | None
    classes: dict[str, ClassScores]
    macro: Ratios
    micro: Ratios
    weighted: Ratios
    mcc: float | None
    kappa: float | None


def scores(counts: Counts) -> Scores:
    """All scores of some counts.

    - coverage = judged / predictions, which is meaningful on the request basis only
    - accuracy = correct / judged without numbers that have no tolerance, with its 95 % interval
      (`wilson`)
    - reward_mean = reward_sum / rewards
    - the other scores are those of the functions below

    >>> s = scores(Counts(4, 3, 2, cells={Cell("x", "x"): 2, Cell("x", "y"): 1}))
    >>> s.coverage, s.accuracy, s.classes["x"].ratios.recall, s.macro.f1
    (0.75, 0.6666666666666666, 0.6666666666666666, 0.4)
    """
    classes = class_scores(counts.cells)
    judged = decided(counts)
    low, high = wilson(counts.correct, judged)
    return Scores(
        coverage=ratio(counts.judged, counts.predictions),
        accuracy=ratio(counts.correct, judged),
        accuracy_low=low,
        accuracy_high=high,
        reward_mean=ratio(counts.reward_sum, MICRO * counts.rewards),
        classes=classes,
        macro=macro(classes),
        micro=micro(classes),
        weighted=weighted(classes),
        mcc=mcc(classes),
        kappa=kappa(classes),
    )


def decided(counts: Counts) -> int:
    """Return the judged items that are right or wrong: all but numbers without a tolerance."""
    if not counts.has_sums or counts.judged == counts.unknown_actual + sum(counts.cells.values()):
        # All have labels. That is known without a look at hundreds of sums of probabilities.
        return counts.judged
    sums = counts.sums
    measured = sum(of_kind(sums, Sum.NUMBER_ITEMS).values())
    tolerated = sum(of_kind(sums, Sum.TOLERANCE_ITEMS).values())
    return counts.judged - measured + tolerated


def ratio(part: int, whole: int) -> float | None:
    """``part / whole``; None if ``whole`` is 0.

    >>> ratio(1, 4), ratio(0, 0)
    (0.25, None)
    """
    return part / whole if whole else None


def one_vs_rest(tp: int, fp: int, fn: int, tn: int) -> Ratios:
    """Precision, recall, specificity and F1 of one class against all others.

    precision = TP/(TP+FP), recall = TP/(TP+FN), specificity = TN/(TN+FP), F1 = 2TP/(2TP+FP+FN).

    Source: Sokolova and Lapalme, "A systematic analysis of performance measures for classification
    tasks", Information Processing & Management 45 (2009), table 2.

    >>> one_vs_rest(tp=3, fp=1, fn=2, tn=4)
    Ratios(precision=0.75, recall=0.6, specificity=0.8, f1=0.6666666666666666)
    >>> one_vs_rest(tp=0, fp=0, fn=2, tn=0)
    Ratios(precision=None, recall=0.0, specificity=None, f1=0.0)
    """
    return Ratios(
        precision=tp / (tp + fp) if tp + fp else None,
        recall=tp / (tp + fn) if tp + fn else None,
        specificity=tn / (tn + fp) if tn + fp else None,
        f1=2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
    )


def class_scores(cells: Mapping[Cell, int]) -> dict[str, ClassScores]:
    """The scores of every class that occurs as actual or predicted label, sorted by label.

    The counts are those of scikit-learn, `multilabel_confusion_matrix`.

    >>> class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1})["y"]
    ClassScores(tp=0, fp=1, fn=0, tn=2, ratios=Ratios(precision=0.0, recall=None, \
specificity=0.6666666666666666, f1=0.0))
    """
    right: dict[str, int] = {}
    actuals: dict[str, int] = {}
    predictions: dict[str, int] = {}
    for (actual, predicted), n in cells.items():
        actuals[actual] = actuals.get(actual, 0) + n
        predictions[predicted] = predictions.get(predicted, 0) + n
        if actual == predicted:
            right[actual] = n
    total = sum(actuals.values())
    classes = {}
    for label in sorted(actuals.keys() | predictions.keys()):
        tp = right.get(label, 0)
        fp = predictions.get(label, 0) - tp
        fn = actuals.get(label, 0) - tp
        tn = total - tp - fp - fn
        classes[label] = ClassScores(tp, fp, fn, tn, one_vs_rest(tp, fp, fn, tn))
    return classes


def macro(classes: Mapping[str, ClassScores]) -> Ratios:
    """The macro average: the unweighted mean of the classes' scores. An undefined score counts as 0
    if another class defines that score; a score that no class defines is None (counting rule 20).

    Source: scikit-learn, `precision_recall_fscore_support` with average="macro", zero_division=0.

    >>> macro(class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1}))
    Ratios(precision=0.5, recall=0.3333333333333333, specificity=0.3333333333333333, f1=0.4)
    >>> macro(class_scores({Cell("x", "x"): 2}))
    Ratios(precision=1.0, recall=1.0, specificity=None, f1=1.0)
    """
    each = classes.values()
    return _mean([1] * len(each), [score.ratios for score in each])


def weighted(classes: Mapping[str, ClassScores]) -> Ratios:
    """The weighted average: the mean of the classes' scores weighted by support, sum_k t_k s_k / sum_k
    t_k. An undefined score counts as 0 if another class defines that score; a score that no class
    defines is None (counting rule 20).

    Source: scikit-learn, `precision_recall_fscore_support` with average="weighted",
    zero_division=0.

    >>> weighted(class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1})).recall
    0.6666666666666666
    """
    each = classes.values()
    return _mean([score.support for score in each], [score.ratios for score in each])


def _mean(weights: Sequence[int], ratios: Sequence[Ratios]) -> Ratios:
    total = sum(weights)
    if not total:
        return UNDEFINED
    return Ratios(*(_average(weights, column, total) for column in zip(*ratios, strict=True)))


def _average(weights: Sequence[int], values: tuple[float | None, ...], total: int) -> float | None:
    if values.count(None) == len(values):
        return None
    weighted_sum: float = sum(map(mul, weights, [value or 0.0 for value in values]))
    return weighted_sum / total


def micro(classes: Mapping[str, ClassScores]) -> Ratios:
    """The micro average: the scores of the TP, FP, FN and TN summed over all classes (counting rule
    20).

    Source: scikit-learn, `precision_recall_fscore_support` with average="micro".

    >>> micro(class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1})).specificity
    0.6666666666666666
    """
    tp = fp = fn = tn = 0
    for score in classes.values():
        tp += score.tp
        fp += score.fp
        fn += score.fn
        tn += score.tn
    return one_vs_rest(tp, fp, fn, tn)


def wilson(correct: int, judged: int, z: float = Z) -> tuple[float | None, float | None]:
    """The lower and upper bound of the Wilson score interval of ``correct / judged``; 95 % by default.
    (None, None) if nothing is judged.

    With n = judged and p = correct / n:
    (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n).
    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927); Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001);
    statsmodels, `proportion_confint` with method="wilson".

    >>> wilson(46, 63)
    (0.6097009078044822, 0.82416155587684)
    >>> wilson(0, 0)
    (None, None)
    """
    if not judged:
        return None, None
    p = correct / judged
    scale = 1 + z * z / judged
    centre = (p + z * z / (2 * judged)) / scale
    half = z * sqrt(p * (1 - p) / judged + z * z / (4 * judged * judged)) / scale
    # With none or all correct a bound is exactly 0 or 1, which floats miss by a rounding error.
    low = max(0.0, centre - half) if correct else 0.0
    high = min(1.0, centre + half) if correct < judged else 1.0
    return low, high


def mcc(classes: Mapping[str, ClassScores]) -> float | None:
    """The Matthews correlation coefficient for K classes, from -1 to 1; None if all items have the same
    actual or the same predicted class.

    With s items, c correct ones, t_k of actual and p_k of predicted class k:
    (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)).
    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 28 (2004); scikit-learn, `matthews_corrcoef`.

    >>> mcc(class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1, Cell("y", "y"): 1}))
    0.5773502691896258
    >>> mcc(class_scores({Cell("x", "x"): 2}))
    """
    s, c, chance, predicted, actual = _sums(classes)
    product = (s * s - predicted) * (s * s - actual)
    return (c * s - chance) / sqrt(product) if product else None


def kappa(classes: Mapping[str, ClassScores]) -> float | None:
    """Cohen's kappa, at most 1; None if all items have one class, both as actual and as predicted.

    kappa = (p_o - p_e) / (1 - p_e), where p_o is the observed and p_e the expected agreement. In
    integers it is (c s - e) / (s^2 - e) with e = sum p_k t_k, and c, s, p_k and t_k as in `mcc`.
    Source: Cohen, "A coefficient of agreement for nominal scales" (1960); scikit-learn,
    `cohen_kappa_score`.

    >>> kappa(class_scores({Cell("x", "x"): 2, Cell("x", "y"): 1, Cell("y", "y"): 1}))
    0.5
    >>> kappa(class_scores({Cell("x", "x"): 2}))
    """
    s, c, chance, _, _ = _sums(classes)
    return ratio(c * s - chance, s * s - chance)


def _sums(classes: Mapping[str, ClassScores]) -> tuple[int, int, int, int, int]:
    """The numbers of all and of correct items, and the sums over classes of p_k t_k, p_k^2 and t_k^2,
    as in `mcc`."""
    items = correct = chance = predicted = actual = 0
    for score in classes.values():
        p, t = score.tp + score.fp, score.support
        items += t
        correct += score.tp
        chance += p * t
        predicted += p * p
        actual += t * t
    return items, correct, chance, predicted, actual
