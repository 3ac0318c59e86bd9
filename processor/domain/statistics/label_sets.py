"""Scores of label sets (counting rule 29): items that have any number of labels."""

from typing import NamedTuple

from processor.domain.statistics.labels import ClassScores, one_vs_rest
from processor.domain.statistics.sums import Key, Sum, Sums, add, of_kind

_MILLION = 1_000_000


def contribute(predicted: tuple[str, ...], actual: tuple[str, ...], sums: Sums) -> None:
    """Add what an item contributes; neither of the sets has a label twice."""
    found, wanted = set(predicted), set(actual)
    for kind, labels in (
        (Sum.SET_TRUE_POSITIVES, found & wanted),
        (Sum.SET_FALSE_POSITIVES, found - wanted),
        (Sum.SET_FALSE_NEGATIVES, wanted - found),
    ):
        for label in labels:
            add(sums, kind, 1, label)
    add(sums, Sum.SET_ITEMS, 1)
    add(sums, Sum.EXACT, int(found == wanted))
    add(sums, Sum.JACCARD, jaccard(len(found & wanted), len(found | wanted)))


def exact(sums: Sums) -> int:
    """Return how many items had exactly the actual labels."""
    return sums.get(Key(Sum.EXACT), 0)


def jaccard(common: int, all_labels: int) -> int:
    """Return the Jaccard index of two sets in millionths, rounded half to even; 1 if both are empty.

    >>> jaccard(1, 3), jaccard(0, 0)
    (333333, 1000000)
    """
    if not all_labels:
        return _MILLION
    quotient, rest = divmod(common * _MILLION, all_labels)
    return quotient + (2 * rest > all_labels or (2 * rest == all_labels and quotient & 1))


class SetScores(NamedTuple):
    """All scores of a model's label sets; ``classes`` is by label, sorted."""

    items: int
    hamming_loss: float | None
    jaccard: float | None
    classes: dict[str, ClassScores]


NONE = SetScores(0, None, None, {})


def scores(sums: Sums) -> SetScores:
    """Return all scores of label sets; a score that is not defined is None.

    - Hamming loss = (FP + FN over all labels) / (items * labels seen)
    - Jaccard index = mean over items of |predicted and actual| / |predicted or actual|
    - the scores of each label against its absence, as for the classes of labels

    Source: scikit-learn, `hamming_loss`, `jaccard_score` with average="samples" and zero_division=1,
    `multilabel_confusion_matrix`.

    >>> sums = {}
    >>> contribute(("a", "b"), ("a",), sums); contribute((), ("a",), sums)
    >>> found = scores(sums)
    >>> found.hamming_loss, found.jaccard, found.classes["a"].ratios.recall
    (0.5, 0.25, 0.5)
    """
    items = sums.get(Key(Sum.SET_ITEMS), 0)
    if not items:
        return NONE
    tps, fps, fns = (
        {label: n for (label, _), n in of_kind(sums, kind).items()}
        for kind in (Sum.SET_TRUE_POSITIVES, Sum.SET_FALSE_POSITIVES, Sum.SET_FALSE_NEGATIVES)
    )
    classes = {}
    for label in sorted({*tps, *fps, *fns}):
        tp, fp, fn = tps.get(label, 0), fps.get(label, 0), fns.get(label, 0)
        tn = items - tp - fp - fn
        classes[label] = ClassScores(tp, fp, fn, tn, one_vs_rest(tp, fp, fn, tn))
    wrong = sum(fps.values()) + sum(fns.values())
    return SetScores(
        items,
        wrong / (items * len(classes)) if classes else None,
        sums.get(Key(Sum.JACCARD), 0) / (_MILLION * items),
        classes,
    )
