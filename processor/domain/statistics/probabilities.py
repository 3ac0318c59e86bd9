"""Scores of probabilities (counting rules 24 to 26): Brier score, log loss, ROC AUC, average precision,
calibration error, top-k accuracy.

All are computed from integers: q = 65535 p of each class, and 64 bins of q that are equal in log-odds.
"""

from bisect import bisect_right
from collections import Counter
from functools import cache
from itertools import accumulate
from math import exp
from operator import add as add_integers
from operator import mul
from typing import NamedTuple

from processor.domain.interpreter import class_names, second_class
from processor.domain.quantities import ONE, log_loss, unpack_probabilities
from processor.domain.statistics.labels import one_vs_rest
from processor.domain.statistics.sums import Kinds, Sum, Sums, add
from processor.domain.values import PROBABILITY, Answer

#: The number of bins, and the q at which each but the first begins.
BINS = 64
EDGES = tuple([round(ONE / (1 + exp(-(i - 32) * 11 / 32))) for i in range(1, BINS)])
#: The rank of an actual that is not among the probabilities that are kept.
BEYOND = 17
#: The k of the top-k accuracies, each as long as there are more classes.
TOP_KS = (2, 3, 5, 10)
_MILLION = 1_000_000

log_loss_of = cache(log_loss)


def bin_of(q: int) -> int:
    """Return the bin of a q.

    >>> bin_of(0), bin_of(32768), bin_of(65535)
    (0, 32, 63)
    """
    return bisect_right(EDGES, q)


def contribute(answer: Answer, packed: bytes, actual: str, sums: Sums) -> None:
    """Add what an item with packed probabilities contributes, once its actual label is known."""
    width, label = answer.width, answer.label
    if not width:
        # The probability of the predicted label is all that is known.
        _add_top(int.from_bytes(packed, "little"), label == actual, sums)
        return
    names = class_names(answer)
    known = actual in names
    pairs = [(names[position], q) for position, q in unpack_probabilities(packed, width)]
    own: int | None = None
    rank = BEYOND
    for name, q in pairs:
        add(sums, Sum.CLASS_ITEMS, 1, name)
        add(sums, Sum.CLASS_Q, q, name)
        add(sums, Sum.CLASS_Q_SQUARES, q * q, name)
        is_own = name == actual
        if is_own:
            add(sums, Sum.OWN_ITEMS, 1, name)
            add(sums, Sum.OWN_Q, q, name)
            if own is None:
                own, rank = q, _rank(pairs, q, name)
        if known:
            add(sums, Sum.POSITIVES if is_own else Sum.NEGATIVES, 1, name, bin_of(q))
    add(sums, Sum.PROBABILITY_ITEMS, 1)
    add(sums, Sum.LOG_LOSS, log_loss_of(own or 0))
    add(sums, Sum.RANK, 1, bin=rank)
    if own is None:
        add(sums, Sum.OUTSIDE, 1)
    second = second_class(answer)
    if second is not None:
        add(sums, Sum.SECOND, 1, second, bin=int(answer.mode == PROBABILITY))
    top = next((q for name, q in pairs if name == label), None)
    if top is not None:
        _add_top(top, label == actual, sums)


def pairs_of(answer: Answer, packed: bytes) -> list[tuple[str, int]]:
    """Return the classes and q of packed probabilities; those of a confidence are the label's alone."""
    if not answer.width:
        return [(str(answer.label), int.from_bytes(packed, "little"))]
    names = class_names(answer)
    return [(names[position], q) for position, q in unpack_probabilities(packed, answer.width)]


def _rank(pairs: list[tuple[str, int]], own: int, actual: str) -> int:
    """Return 1 + the number of classes with a greater q, or an equal one before the actual."""
    rank = 1
    before = True
    for name, q in pairs:
        if name == actual:
            before = False
        rank += q > own or (before and q == own)
    return rank


def _add_top(q: int, right: bool, sums: Sums) -> None:
    index = bin_of(q)
    add(sums, Sum.TOP_ITEMS, 1, bin=index)
    add(sums, Sum.TOP_RIGHT, int(right), bin=index)
    add(sums, Sum.TOP_Q, q, bin=index)


class ClassCurve(NamedTuple):
    """The scores of one class against the others, from its bins; ``positives`` and ``negatives`` are
    the items by bin."""

    roc_auc: float | None
    roc_auc_error_bound: float | None
    average_precision: float | None
    positives: tuple[int, ...]
    negatives: tuple[int, ...]


class Threshold(NamedTuple):
    """The scores of the second of two labels if items whose probability is ``threshold`` or more are
    predicted as it; ``false_positive_rate`` is FP / (FP + TN)."""

    threshold: float
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    f1: float | None


class CalibrationBin(NamedTuple):
    """The items whose predicted label had a probability from ``low`` to ``high``."""

    low: float
    high: float
    items: int
    mean_probability: float
    right: int


class ProbabilityScores(NamedTuple):
    """All scores of a model's probabilities. ``classes`` is by label, sorted; ``second`` is the class
    that the scores of two classes are about, ``by_threshold`` whether a threshold decided between them
    (for some items at least)."""

    items: int
    brier_score: float | None
    log_loss: float | None
    roc_auc: float | None
    roc_auc_error_bound: float | None
    average_precision: float | None
    calibration_error: float | None
    top_k_accuracy: dict[str, float]
    reciprocal_rank: float | None
    calibration: tuple[CalibrationBin, ...]
    classes: dict[str, ClassCurve]
    second: str | None
    thresholds: tuple[Threshold, ...]
    by_threshold: bool


NONE = ProbabilityScores(0, None, None, None, None, None, None, {}, None, (), {}, None, (), False)


def scores(kinds: Kinds) -> ProbabilityScores:
    """Return all scores of probabilities; a score that is not defined is None. ``kinds`` are the sums
    by `by_kind`.

    - log loss = mean of -ln(q / 65535) of the actual class
    - reciprocal rank = mean of 1 / rank of the actual class
    - top-k accuracy = share of items whose actual class is among the k most probable ones
    - the others are those of the functions below

    Source: scikit-learn, `brier_score_loss`, `log_loss`, `roc_auc_score`, `average_precision_score`,
    `top_k_accuracy_score`.
    """
    calibration, error = _calibration(kinds)
    items = kinds.get(Sum.PROBABILITY_ITEMS, {}).get(("", 0), 0)
    if not items:
        return NONE._replace(calibration=calibration, calibration_error=error)
    labels = sorted(label for label, _ in kinds.get(Sum.CLASS_ITEMS, {}))
    second = _second(kinds, labels) if len(labels) == 2 else None
    curves = _curves(kinds, labels)
    curve = curves[second] if second is not None else None
    ranks = {rank: n for (_, rank), n in kinds.get(Sum.RANK, {}).items()}
    loss = kinds.get(Sum.LOG_LOSS, {}).get(("", 0), 0)
    return ProbabilityScores(
        items,
        _brier_score(kinds, items, labels if second is None else [second]),
        loss / (_MILLION * items),
        curve and curve.roc_auc,
        curve and curve.roc_auc_error_bound,
        curve and curve.average_precision,
        error,
        {
            str(k): sum(n for rank, n in ranks.items() if rank <= k) / items
            for k in TOP_KS
            if k < len(labels)
        },
        sum(n / rank for rank, n in sorted(ranks.items()) if rank != BEYOND) / items,
        calibration,
        curves,
        second,
        () if curve is None else thresholds(curve.positives, curve.negatives),
        any(index for _, index in kinds.get(Sum.SECOND, {})),
    )


def _brier_score(kinds: Kinds, items: int, labels: list[str]) -> float:
    """Return the mean over items of the sum over ``labels`` of (p - y)^2, plus 1 for an item whose
    actual is none of the classes: the second label of two alone, else all.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    78 (1950).
    """
    squares, own_q, own = (
        kinds.get(kind, {}) for kind in (Sum.CLASS_Q_SQUARES, Sum.OWN_Q, Sum.OWN_ITEMS)
    )
    total = 0
    for label in labels:
        key = label, 0
        total += squares.get(key, 0) - 2 * ONE * own_q.get(key, 0) + ONE * ONE * own.get(key, 0)
    outside = kinds.get(Sum.OUTSIDE, {}).get(("", 0), 0)
    return (total + ONE * ONE * outside) / (ONE * ONE * items)


def _second(kinds: Kinds, labels: list[str]) -> str:
    """Return the second of two labels: the one that stood there most often, else by label order."""
    seconds = Counter[str]()
    for (label, _), n in kinds.get(Sum.SECOND, {}).items():
        seconds[label] += n
    return max(labels, key=lambda label: (seconds[label], label))


def _curves(kinds: Kinds, labels: list[str]) -> dict[str, ClassCurve]:
    positives, negatives = (
        _items_by_bin(kinds.get(kind, {}), labels) for kind in (Sum.POSITIVES, Sum.NEGATIVES)
    )
    found = {}
    for label in labels:
        above, below = tuple(positives[label]), tuple(negatives[label])
        found[label] = ClassCurve(
            *roc_auc(above, below), average_precision(above, below), above, below
        )
    return found


def _items_by_bin(items: dict[tuple[str, int], int], labels: list[str]) -> dict[str, list[int]]:
    found = {label: [0] * BINS for label in labels}
    for (label, index), n in items.items():
        if label in found:
            found[label][index] = n
    return found


def roc_auc(
    positives: tuple[int, ...], negatives: tuple[int, ...]
) -> tuple[float | None, float | None]:
    """Return the area under the ROC curve from the items by bin, and the bound of its error.

    sum over bins of pos(b) (neg below b + neg(b) / 2) / (P N); the bound is sum pos(b) neg(b) / (2 P N).
    (None, None) without items of both kinds.

    >>> roc_auc((0, 1, 1), (1, 1, 0))
    (0.875, 0.125)
    """
    pairs = sum(positives) * sum(negatives)
    if not pairs:
        return None, None
    ties = sum(map(mul, positives, negatives))
    twice = 2 * sum(map(mul, positives, accumulate(negatives, initial=0))) + ties
    return twice / (2 * pairs), ties / (2 * pairs)


def average_precision(positives: tuple[int, ...], negatives: tuple[int, ...]) -> float | None:
    """Return the average precision from the items by bin: the sum over thresholds, from the highest bin
    down, of (recall - recall before) * precision. None without positive items.

    >>> average_precision((0, 1, 1), (1, 1, 0))
    0.8333333333333333
    """
    total = sum(positives)
    if not total:
        return None
    above = accumulate(map(add_integers, reversed(positives), reversed(negatives)))
    found = accumulate(reversed(positives))
    area = 0.0
    for p, right, items in zip(reversed(positives), found, above, strict=True):
        if p:
            area += p * right / items
    return area / total


def thresholds(positives: tuple[int, ...], negatives: tuple[int, ...]) -> tuple[Threshold, ...]:
    """Return the scores at the lower edge of each bin that has items, the lowest first.

    >>> found = thresholds((0, 2) + (0,) * 62, (1,) + (0,) * 63)
    >>> [(one.threshold, one.recall, one.f1) for one in found]
    [(0.0, 1.0, 0.8), (3.0518043793392844e-05, 1.0, 1.0)]
    """
    edges = (0, *EDGES)
    tp, fp = sum(positives), sum(negatives)
    fn = tn = 0
    found = []
    for index, (p, n) in enumerate(zip(positives, negatives, strict=True)):
        if p or n:
            ratios = one_vs_rest(tp, fp, fn, tn)
            rate = fp / (fp + tn) if fp + tn else None
            edge = edges[index] / ONE
            found.append(Threshold(edge, ratios.precision, ratios.recall, rate, ratios.f1))
        tp, fp, fn, tn = tp - p, fp - n, fn + p, tn + n
    return tuple(found)


def _calibration(kinds: Kinds) -> tuple[tuple[CalibrationBin, ...], float | None]:
    """Return the bins of the predicted label, and the calibration error: sum over bins of
    |65535 right - sum q| / (65535 n).

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning" (2015).
    """
    items = {index: n for (_, index), n in kinds.get(Sum.TOP_ITEMS, {}).items()}
    if not items:
        return (), None
    right, total = (kinds.get(kind, {}) for kind in (Sum.TOP_RIGHT, Sum.TOP_Q))
    edges = (0, *EDGES, ONE)
    bins = []
    gap = 0
    for index, n in sorted(items.items()):
        hits, q = right.get(("", index), 0), total.get(("", index), 0)
        gap += abs(ONE * hits - q)
        low, high = edges[index] / ONE, edges[index + 1] / ONE
        bins.append(CalibrationBin(low, high, n, q / (ONE * n), hits))
    return tuple(bins), gap / (ONE * sum(items.values()))
