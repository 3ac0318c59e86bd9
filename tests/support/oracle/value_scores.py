"""The scores of probabilities, numbers and label sets by scikit-learn, numpy and fractions: from the
items themselves, all at once, with nothing shared with the product. Numbers in brackets are the rules'
own.

Each function returns fields of the result's JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    hamming_loss,
    jaccard_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

ONE = 65535
EDGES = np.round(ONE / (1 + np.exp(-(np.arange(1, 64) - 32) * 11 / 32)))
NOTHING: dict[str, Any] = {
    **dict.fromkeys(
        ("brier_score", "log_loss", "roc_auc", "roc_auc_error_bound", "average_precision")
    ),
    **{"calibration_error": None, "top_k_accuracy": {}, "reciprocal_rank": None},
    **{"calibration": [], "thresholds": [], "threshold": None, "best_threshold": None},
    **dict.fromkeys(("bias", "mae", "mae_low", "mae_high", "rmse", "r2", "correlation")),
    **dict.fromkeys(("mape", "wape", "within_tolerance", "mean_actual", "mean_predicted")),
    **dict.fromkeys(("deviation_actual", "deviation_predicted", "slope", "intercept")),
    **{"absolute_error_quantiles": {}, "error_histogram": []},
    **dict.fromkeys(("exact_match", "hamming_loss", "jaccard")),
    **{"custom": {}, "custom_failed": {}},
    **dict.fromkeys(
        ("nowcast", "drift", "targets")
    ),  # only with --nowcast, or with limits in the models file
}


# Probabilities


class Probabilities(NamedTuple):
    """An item: all class names, the q that are kept by position, the predicted and the actual label. A
    confidence alone has no names, and one q at the position 0. ``threshold`` is the one that
    decided if the row was one probability."""

    names: tuple[str, ...]
    q: Mapping[int, int]
    label: str
    actual: str
    threshold: float | None = None


def quantized(probability: float | Fraction) -> int:
    """q, rounded half to even, of the exact value (24)."""
    return round(Fraction(probability) * ONE)


def kept(scores: Sequence[float]) -> dict[int, int]:
    """The q that are kept of scores (24); empty if they are no probabilities or say only a label."""
    if not all(0 <= score <= 1 for score in scores) or abs(math.fsum(scores) - 1) > 0.01 + 1e-9:
        return {}
    found = {position: quantized(score) for position, score in enumerate(scores)}
    if all(q in (0, ONE) for q in found.values()):
        return {}
    if len(scores) > 16:
        largest = sorted(found, key=lambda position: (-scores[position], position))[:10]
        found = {position: found[position] for position in largest}
    return found


def bin_of(q: int) -> int:
    """The bin of a q (25)."""
    return int((q >= EDGES).sum())


def by_class(items: Sequence[Probabilities]) -> dict[str, tuple[list[bool], list[int]]]:
    """Of each class: whether each item is of it, and the bins of its probability."""
    found: dict[str, tuple[list[bool], list[int]]] = {}
    for item in items:
        for position, q in item.q.items() if item.names else ():
            of, bins = found.setdefault(item.names[position], ([], []))
            if item.actual in item.names:
                of.append(item.names[position] == item.actual)
                bins.append(bin_of(q))
    return dict(sorted(found.items()))


def curve(of: Sequence[bool], bins: Sequence[int]) -> dict[str, float | None]:
    """ROC AUC with its bound, and average precision (26)."""
    both = len(set(of)) == 2
    ties = sum(
        one == other
        for one, is_one in zip(bins, of, strict=True)
        if is_one
        for other, is_other in zip(bins, of, strict=True)
        if not is_other
    )
    return {
        "roc_auc": float(roc_auc_score(of, bins)) if both else None,
        "roc_auc_error_bound": ties / (2 * sum(of) * (len(of) - sum(of))) if both else None,
        "average_precision": float(average_precision_score(of, bins)) if any(of) else None,
    }


def probability_scores(items: Sequence[Probabilities]) -> dict[str, Any]:
    """All scores of probabilities (26)."""
    found = dict(NOTHING) | calibration(items)
    named = [item for item in items if item.names]
    if not named:
        return found
    classes = by_class(items)
    seconds = Counter(item.names[1] for item in named if len(item.names) == 2)
    second = max(classes, key=lambda label: (seconds[label], label)) if len(classes) == 2 else None
    squares, losses, ranks = [], [], []
    for item in named:
        q = {item.names[position]: one for position, one in item.q.items()}
        own = q.get(item.actual)
        p = {name: one / ONE for name, one in q.items()}
        wanted = classes if second is None else (second,)
        squares.append(
            (own is None)
            + sum((p[name] - (name == item.actual)) ** 2 for name in wanted if name in p)
        )
        losses.append(-math.log((own or 0.5) / ONE))
        order = sorted(q, key=lambda name: (-q[name], item.names.index(name)))
        ranks.append(math.inf if own is None else 1 + order.index(item.actual))
    found |= {
        "brier_score": float(np.mean(squares)),
        "log_loss": float(np.mean(losses)),
        "top_k_accuracy": {
            str(k): float(np.mean([rank <= k for rank in ranks]))
            for k in (2, 3, 5, 10)
            if k < len(classes)
        },
        "reciprocal_rank": float(np.mean([1 / rank for rank in ranks])),
        "threshold": next((item.threshold for item in named if item.threshold), None),
    }
    if second is not None:
        found |= curve(*classes[second]) | thresholds(*classes[second])
    return found


def calibration(items: Sequence[Probabilities]) -> dict[str, Any]:
    """The bins of the predicted label and their error (25, 26)."""
    tops: dict[int, list[tuple[int, bool]]] = {}
    for item in items:
        names = item.names or (item.label,)
        top = next((q for position, q in item.q.items() if names[position] == item.label), None)
        if top is not None:
            tops.setdefault(bin_of(top), []).append((top, item.label == item.actual))
    edges = [0, *EDGES.tolist(), ONE]
    bins = [
        {
            "low": edges[number] / ONE,
            "high": edges[number + 1] / ONE,
            "items": len(there),
            "mean_probability": float(np.mean([q for q, _ in there])) / ONE,
            "right": sum(right for _, right in there),
        }
        for number, there in sorted(tops.items())
    ]
    if not bins:
        return {"calibration": [], "calibration_error": None}
    gaps = [abs(one["right"] - one["mean_probability"] * one["items"]) for one in bins]
    return {
        "calibration": bins,
        "calibration_error": math.fsum(gaps) / sum(one["items"] for one in bins),
    }


def thresholds(of: Sequence[bool], bins: Sequence[int]) -> dict[str, Any]:
    """The scores if all items from a bin on are predicted as the class."""
    truth, places = np.array(of, bool), np.array(bins, int)
    found = []
    for place in sorted(set(bins)):
        predicted = places >= place
        p, r, f, _ = precision_recall_fscore_support(
            truth, predicted, labels=[True], zero_division=np.nan
        )
        negatives = (~truth).sum()
        rate = (predicted & ~truth).sum() / negatives if negatives else np.nan
        values = (p[0], r[0], rate, f[0])
        names = ("precision", "recall", "false_positive_rate", "f1")
        found.append(
            {"threshold": [0, *EDGES.tolist()][place] / ONE}
            | {n: None if math.isnan(v) else float(v) for n, v in zip(names, values, strict=True)}
        )
    best = max(found, key=lambda one: one["f1"] or 0.0, default=None)
    return {"thresholds": found, "best_threshold": best and best["threshold"]}


# Numbers


class Number(NamedTuple):
    """An item: prediction and truth in units of 10^unit, and the tolerance of the models file."""

    predicted: int
    actual: int
    unit: int = -6
    tolerance: float | str | None = None

    @property
    def within(self) -> bool | None:
        """Whether the error is within the tolerance, inclusive (28)."""
        if self.tolerance is None:
            return None
        error = abs(self.predicted - self.actual)
        if isinstance(self.tolerance, str):
            return error <= abs(self.actual) * Fraction(self.tolerance.rstrip("%")) / 100
        return error <= round(Fraction(self.tolerance) / Fraction(10) ** self.unit)


def in_units(number: float, unit: int = -6) -> int | None:
    """A number in units, rounded half to even, of the exact value (27); None where it is too large."""
    amount = round(Fraction(number) / Fraction(10) ** unit)
    return amount if abs(amount) <= 10**18 else None


def upper_edge(error: int) -> int:
    """The largest error in the bucket of an error (27): below the next power of 2^(1/8)."""
    if not error:
        return 0
    k = (error**8).bit_length() - 1
    return math.isqrt(math.isqrt(math.isqrt(2 ** (k + 1) - 1)))


def number_scores(items: Sequence[Number]) -> dict[str, Any]:
    """All scores of numbers (28), from exact fractions."""
    found = dict(NOTHING)
    if not items:
        return found
    n = len(items)
    sizes = [Fraction(10) ** item.unit for item in items]
    p = [item.predicted * size for item, size in zip(items, sizes, strict=True)]
    y = [item.actual * size for item, size in zip(items, sizes, strict=True)]
    e = [one - other for one, other in zip(p, y, strict=True)]
    absolute = [abs(one) for one in e]
    mae = sum(absolute, Fraction()) / n
    spread, spread_p = _spread(y, y), _spread(p, p)
    squares = sum((one * one for one in e), Fraction())
    edges = sorted(
        upper_edge(abs(item.predicted - item.actual)) * size
        for item, size in zip(items, sizes, strict=True)
    )
    parts = [
        (10**6 * abs(item.predicted - item.actual) + abs(item.actual) // 2) // abs(item.actual)
        for item in items
        if item.actual
    ]
    whole = sum(map(abs, y), Fraction())
    slope = _spread(p, y) / spread_p if spread_p else None
    within = [item.within for item in items if item.within is not None]
    found |= {
        "bias": float(sum(e, Fraction()) / n),
        "mae": float(mae),
        "rmse": math.sqrt(squares / n),
        "r2": float(1 - squares / spread) if n > 1 and spread else None,
        "correlation": float(_spread(p, y)) / math.sqrt(spread) / math.sqrt(spread_p)
        if spread and spread_p
        else None,
        "mape": sum(parts) / len(parts) / 1e6 if parts else None,
        "wape": float(sum(absolute, Fraction()) / whole) if whole else None,
        "mean_actual": float(sum(y, Fraction()) / n),
        "mean_predicted": float(sum(p, Fraction()) / n),
        "deviation_actual": math.sqrt(spread / n),
        "deviation_predicted": math.sqrt(spread_p / n),
        "slope": float(slope) if slope is not None else None,
        "intercept": float((sum(y, Fraction()) - slope * sum(p, Fraction())) / n)
        if slope is not None
        else None,
        "absolute_error_quantiles": {
            name: float(edges[math.ceil(Fraction(name) * n) - 1])
            for name in ("0.5", "0.9", "0.95", "0.99")
        },
        "error_histogram": [
            {"up_to": float(edge), "items": count} for edge, count in sorted(Counter(edges).items())
        ],
        "within_tolerance": sum(within) / len(within) if within else None,
    }
    if n > 1:
        variance = sum(((one - mae) ** 2 for one in absolute), Fraction()) / (n - 1)
        half = 1.959963984540054 * math.sqrt(variance / n)
        found |= {"mae_low": float(mae) - half, "mae_high": float(mae) + half}
    return found


def _spread(one: Sequence[Fraction], other: Sequence[Fraction]) -> Fraction:
    """The sum of products of distances from the mean."""
    means = [sum(values, Fraction()) / len(values) for values in (one, other)]
    return sum(
        ((a - means[0]) * (b - means[1]) for a, b in zip(one, other, strict=True)), Fraction()
    )


# Label sets


class LabelSet(NamedTuple):
    """An item: the predicted and the actual labels."""

    predicted: frozenset[str]
    actual: frozenset[str]


def set_scores(items: Sequence[LabelSet]) -> dict[str, Any]:
    """All scores of label sets but the averages (29)."""
    found = dict(NOTHING)
    if not items:
        return found
    labels = sorted(frozenset().union(*(item.predicted | item.actual for item in items)))
    found["threshold"] = 0.5
    found["exact_match"] = float(np.mean([item.predicted == item.actual for item in items]))
    if not labels:
        return found | {"jaccard": 1.0}
    actual, predicted = indicators(items, labels)
    # The Jaccard index of an item is counted in millionths.
    each = [jaccard_score(y, p, zero_division=1) for y, p in zip(actual, predicted, strict=True)]
    return found | {
        "hamming_loss": float(hamming_loss(actual, predicted)),
        "jaccard": float(np.mean(np.round(np.array(each) * 1e6) / 1e6)),
    }


def set_classes(items: Sequence[LabelSet]) -> dict[str, dict[str, Any]]:
    """The scores of each label against its absence."""
    labels = sorted(frozenset().union(*(item.predicted | item.actual for item in items)))
    if not labels:
        return {}
    actual, predicted = indicators(items, labels)
    found = {}
    for i, label in enumerate(labels):
        sides = actual[:, i], predicted[:, i]
        (((tn, fp), _),) = multilabel_confusion_matrix(*sides, labels=[1])
        p, r, f, support = (
            one[0]
            for one in precision_recall_fscore_support(*sides, labels=[1], zero_division=np.nan)
        )
        values = (p, r, tn / (tn + fp) if tn + fp else np.nan, f)
        names = ("precision", "recall", "specificity", "f1")
        found[label] = {
            name: None if math.isnan(value) else float(value)
            for name, value in zip(names, values, strict=True)
        } | {"support": int(support)}
    return found


def indicators(items: Sequence[LabelSet], labels: Sequence[str]) -> tuple[Any, Any]:
    """The actual and the predicted labels as matrices of 0s and 1s."""
    actual, predicted = (
        np.array([[label in one for label in labels] for one in side], int)
        for side in ([item.actual for item in items], [item.predicted for item in items])
    )
    return actual, predicted
