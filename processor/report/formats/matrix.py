"""A confusion matrix as rows and columns, limited to its largest classes."""

import re
from typing import NamedTuple

from processor.domain.results import ModelResult
from processor.publish.cardinality import OTHER, cap_result

_DIGITS = re.compile(r"(\d+)")


class Matrix(NamedTuple):
    """A confusion matrix: ``counts[i][j]`` items of the actual label ``labels[i]`` were predicted as
    ``labels[j]``. ``hidden`` classes are summed in the last row and column, "other"."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    hidden: int


def matrix(model: ModelResult, max_classes: int) -> Matrix:
    """The confusion matrix of a model's ``max_classes`` classes with the most items."""
    shown = cap_result(model, max_classes)
    hidden = len(model.classes) - len(shown.classes)
    counts = {(cell.actual, cell.predicted): cell.count for cell in shown.confusion}
    labels = sorted(shown.classes, key=natural) + ([OTHER] if hidden else [])
    rows = tuple(tuple(counts.get((row, column), 0) for column in labels) for row in labels)
    return Matrix(tuple(labels), rows, hidden)


def natural(label: str) -> list[tuple[int, int, str]]:
    """A sort key for labels that compares the numbers in them by value.

    >>> sorted(["10", "9", "t:10", "t:9"], key=natural)
    ['9', '10', 't:9', 't:10']
    """
    parts = _DIGITS.split(label)
    return [
        (0, int(part), part) if i % 2 and len(part) < 1000 else (1, 0, part)
        for i, part in enumerate(parts)
        if part
    ]
