"""At most so many labels per model and window: a thousand classes can have a million cells."""

from collections.abc import Iterable, Mapping

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import CellCount, ModelResult
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.labels import ClassScores
from processor.publish.interfaces import CountsSource

Windows = Mapping[tuple[str, str], Mapping[ModelKey, Counts]]

#: What the labels beyond the cap are summed as.
OTHER = "other"


class LimitedCounts:
    """At most ``limit`` models of a board: anybody who may send events can name a million of them.

    Those with the most items in any window are shown, ties by name; the counts of the others go on.
    """

    def __init__(self, board: CountsSource, limit: int) -> None:
        self.hidden = 0
        """Models that the last answer left out."""
        self._board = board
        self._limit = limit
        self._shown: frozenset[ModelKey] | None = None

    def windows(self, now: float) -> Windows:
        """See `CountsSource`."""
        board = self._board.windows(now)
        sizes: dict[ModelKey, int] = {}
        for models in board.values():
            for key, counts in models.items():
                sizes[key] = max(sizes.get(key, 0), counts.predictions + counts.judged)
        self.hidden = max(0, len(sizes) - self._limit)
        if not self.hidden:
            self._shown = None
            return board
        order = sorted(sizes, key=lambda key: (-sizes[key], key))
        shown = order[: self._limit]
        self._shown = frozenset(shown)
        return {
            name: {key: models[key] for key in shown if key in models}
            for name, models in board.items()
        }

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """See `CountsSource`; of the models of the last answer."""
        models, shown = self._board.buckets(tier, by), self._shown
        return models if shown is None else {key: models[key] for key in shown if key in models}


def shown_labels(sizes: Mapping[str, int], limit: int) -> frozenset[str]:
    """The ``limit`` labels of the largest size (actual + predicted items), ties by label.

    Where labels are left out, one that is itself called "other" is among them, so that "other"
    never means two things.

    >>> sorted(shown_labels({"a": 1, "b": 5, "c": 1}, 2))
    ['a', 'b']
    """
    if len(sizes) <= limit:
        return frozenset(sizes)
    labels = (label for label in sizes if label != OTHER)
    return frozenset(sorted(labels, key=lambda label: (-sizes[label], label))[:limit])


def class_sizes(classes: Mapping[str, ClassScores]) -> dict[str, int]:
    """Items of each class, actual + predicted."""
    return {label: 2 * score.tp + score.fp + score.fn for label, score in classes.items()}


def merge_cells(cells: Iterable[tuple[Cell, int]], shown: frozenset[str]) -> dict[Cell, int]:
    """The cells with every label outside ``shown`` as "other".

    >>> merge_cells([(Cell("a", "b"), 1), (Cell("a", "c"), 2)], frozenset("a"))
    {Cell(actual='a', predicted='other'): 3}
    """
    merged: dict[Cell, int] = {}
    for (actual, predicted), n in cells:
        cell = Cell(
            actual if actual in shown else OTHER, predicted if predicted in shown else OTHER
        )
        merged[cell] = merged.get(cell, 0) + n
    return merged


def cap_result(result: ModelResult, limit: int) -> ModelResult:
    """The result with ``limit`` labels at most; all scores stay those of all labels."""
    if len(result.classes) <= limit:
        return result
    sizes = dict.fromkeys(result.classes, 0)
    for cell in result.confusion:
        sizes[cell.actual] += cell.count
        sizes[cell.predicted] += cell.count
    shown = shown_labels(sizes, limit)
    cells = ((Cell(cell.actual, cell.predicted), cell.count) for cell in result.confusion)
    merged = merge_cells(cells, shown)
    return msgspec.structs.replace(
        result,
        confusion=tuple([CellCount(*cell, n) for cell, n in sorted(merged.items())]),
        classes={label: each for label, each in result.classes.items() if label in shown},
    )
