"""A confusion matrix as rows and columns, cut to its largest classes where it is wide."""

import re
from typing import NamedTuple

from processor.domain.results import ModelResult
from processor.publish.cardinality import OTHER, cap_result

_DIGITS = re.compile(r"(\d+)")


class Matrix(NamedTuple):
    """``counts[i][j]`` items of actual ``labels[i]`` predicted as ``labels[j]``; ``hidden`` classes
    are summed in the last row and column, "other"."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    hidden: int


def matrix(model: ModelResult, most: int) -> Matrix:
    """The matrix of the ``most`` classes with the most items."""
    shown = cap_result(model, most)
    hidden = len(model.classes) - len(shown.classes)
    counts = {(cell.actual, cell.predicted): cell.count for cell in shown.confusion}
    labels = sorted(shown.classes, key=natural) + ([OTHER] if hidden else [])
    rows = tuple(tuple(counts.get((row, column), 0) for column in labels) for row in labels)
    return Matrix(tuple(labels), rows, hidden)


def natural(label: str) -> list[tuple[int, int, str]]:
    """A sort key that puts the numbers in labels in their own order.

    >>> sorted(["10", "9", "t:10", "t:9"], key=natural)
    ['9', '10', 't:9', 't:10']
    """
    parts = _DIGITS.split(label)
    return [
        (0, int(part), part) if i % 2 and len(part) < 1000 else (1, 0, part)
        for i, part in enumerate(parts)
        if part
    ]
