"""Limits on published models and labels: a thousand classes can have a million cells."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import CellCount, ClassResult, ModelResult
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.labels import ClassScores
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.recent import RecentCounts
from processor.publish.interfaces import CountsByWindow, CountsSource

T = TypeVar("T")

#: The label under which the labels beyond the limit are summed.
OTHER = "other"


class LimitedCounts:
    """A `CountsSource` of at most ``limit`` models of another one.

    Anybody who may send events can name a million models. The models with the most items in any
    window are shown, ties by name; the other models are counted and hidden.
    """

    def __init__(self, counts_source: CountsSource, limit: int) -> None:
        self.hidden = 0
        """Models that the last call of `windows` left out."""
        self._counts_source = counts_source
        self._limit = limit
        self._shown: frozenset[ModelKey] | None = None

    def advance(self, now: float) -> Iterator[None]:
        """See `CountsSource`."""
        return self._counts_source.advance(now)

    def windows(self, now: float) -> CountsByWindow:
        """See `CountsSource`."""
        counts_by_window = self._counts_source.windows(now)
        sizes: dict[ModelKey, int] = {}
        for models in counts_by_window.values():
            for key, counts in models.items():
                sizes[key] = max(sizes.get(key, 0), counts.predictions + counts.judged)
        self.hidden = max(0, len(sizes) - self._limit)
        if not self.hidden:
            self._shown = None
            return counts_by_window
        order = sorted(sizes, key=lambda key: (-sizes[key], key))
        shown = order[: self._limit]
        self._shown = frozenset(shown)
        return {
            view: {key: models[key] for key in shown if key in models}
            for view, models in counts_by_window.items()
        }

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """See `CountsSource`; the models are the ones that the last call of `windows` showed."""
        found = self._counts_source.recent(now)
        return (each for each in found if self._shown is None or each[0] in self._shown)

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """See `CountsSource`; the models are the ones that the last call of `windows` showed."""
        return self._restrict(self._counts_source.buckets(tier, by))

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        """See `CountsSource`; the models are the ones that the last call of `windows` showed."""
        return self._restrict(self._counts_source.cohorts())

    def _restrict(self, models: Mapping[ModelKey, T]) -> Mapping[ModelKey, T]:
        shown = self._shown
        return models if shown is None else {key: models[key] for key in shown if key in models}


def shown_labels(sizes: Mapping[str, float], limit: int) -> frozenset[str]:
    """The ``limit`` labels of the largest size (actual + predicted items), ties by label.

    If labels are left out, a label that is itself called "other" is left out too, so that "other"
    never means two things.

    >>> sorted(shown_labels({"a": 1, "b": 5, "c": 1}, 2))
    ['a', 'b']
    """
    if len(sizes) <= limit:
        return frozenset(sizes)
    labels = (label for label in sizes if label != OTHER)
    return frozenset(sorted(labels, key=lambda label: (-sizes[label], label))[:limit])


def class_sizes(classes: Mapping[str, ClassScores]) -> dict[str, int]:
    """The size of each class by label: its actual items plus its predicted items."""
    return {label: 2 * score.tp + score.fp + score.fn for label, score in classes.items()}


def merge_cells(cells: Iterable[tuple[Cell, int]], shown: frozenset[str]) -> dict[Cell, int]:
    """Sum the cells with every label outside ``shown`` replaced by "other".

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
    """The result with at most ``limit`` labels; its averages and totals still include all labels."""
    nowcast = result.nowcast
    if nowcast is not None and len(nowcast.classes) > limit:
        sizes = {label: one.support for label, one in nowcast.classes.items()}
        labels = shown_labels(sizes, limit)
        few = {label: one for label, one in nowcast.classes.items() if label in labels}
        nowcast = msgspec.structs.replace(nowcast, classes=few)
        result = msgspec.structs.replace(result, nowcast=nowcast)
    if len(result.classes) <= limit:
        return result
    shown = shown_labels(_result_sizes(result), limit)
    cells = ((Cell(cell.actual, cell.predicted), cell.count) for cell in result.confusion)
    merged = merge_cells(cells, shown)
    return msgspec.structs.replace(
        result,
        confusion=tuple([CellCount(*cell, n) for cell, n in sorted(merged.items())]),
        classes={label: each for label, each in result.classes.items() if label in shown},
    )


def _result_sizes(result: ModelResult) -> dict[str, int]:
    if not result.confusion:
        # Label sets have no cells.
        items = result.judged - result.measured
        return {label: _set_size(one, items) for label, one in result.classes.items()}
    sizes = dict.fromkeys(result.classes, 0)
    for cell in result.confusion:
        sizes[cell.actual] += cell.count
        sizes[cell.predicted] += cell.count
    return sizes


def _set_size(one: ClassResult, items: int) -> int:
    """The actual and predicted items of a label of label sets: TP + FN, and TP + FP."""
    true_positives = round((one.recall or 0) * one.support)
    false = 0.0 if one.specificity is None else 1 - one.specificity
    return one.support + true_positives + round(false * (items - one.support))
