"""The delays of predictions that are old enough, as shares of labels that are in at an age (counting
rule 30)."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import log
from operator import add

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import BUCKETS, ENDS, Cohort
from processor.domain.statistics.error_delays import digits_of

_LOGS = tuple(map(log, ENDS))
#: Classes of errors with fewer mature items take the delays of larger and smaller errors in.
_MIN_CLASS_ITEMS = 30


class Delays:
    """The delays of mature predictions: shares of labels that are in at an age, by cell. ``numbers``
    tells whether cells are classes of errors, whose neighbours are alike."""

    def __init__(self, mature: Cohort, numbers: bool = False) -> None:
        self._by_cell: dict[Cell, Distribution] = {}
        #: The delays of classes of errors by cell, with those of their neighbours.
        self._pooled: dict[Cell, Distribution] | None = {} if numbers else None
        by_label: dict[str, list[int]] = {}
        everything = [0] * BUCKETS
        for cell, delays in mature.judged.items():
            if any(delays):
                self._by_cell[cell] = Distribution(delays)
                _add(by_label.setdefault(cell.predicted, [0] * BUCKETS), delays)
                _add(everything, delays)
        self._by_label = {label: Distribution(delays) for label, delays in by_label.items()}
        self._all = Distribution(everything) if any(everything) else None
        self._predicted = mature.predicted
        self._rate = _rate(sum(everything), sum(mature.predicted.values()))

    @property
    def of_numbers(self) -> bool:
        """Whether cells are classes of errors."""
        return self._pooled is not None

    def outcomes(self, label: str) -> dict[Cell, int]:
        """Return the mature judged items of a predicted label by cell."""
        return {cell: each.items for cell, each in self._by_cell.items() if cell.predicted == label}

    @property
    def are_known(self) -> bool:
        """Whether any mature prediction was judged."""
        return self._all is not None

    def of_cell(self, cell: Cell) -> "Distribution":
        """Return the delays of an outcome; of one that no mature prediction had, those of all outcomes
        of its predicted label, or else of all. Those of a class of errors with few items are taken
        together with those of the next larger and smaller ones."""
        if self._pooled is None:
            return self._by_cell.get(cell) or self.of_label(cell.predicted)
        found = self._pooled.get(cell)
        if found is None:
            found = self._pooled[cell] = self._with_neighbours(cell)
        return found

    def _with_neighbours(self, cell: Cell) -> "Distribution":
        found, reached = self._by_cell.get(cell), -1
        digits = digits_of(int(cell.actual))
        near = sorted(
            (abs(digits_of(int(other.actual)) - digits), other)
            for other in self._by_cell
            if other.predicted == cell.predicted and other != cell
        )
        for distance, other in near:
            if found is not None and found.items >= _MIN_CLASS_ITEMS and distance > reached:
                break
            found, reached = self._by_cell[other].plus(found), distance
        return found or self.of_label(cell.predicted)

    def of_label(self, label: str) -> "Distribution":
        """Return the delays of a predicted label, or else of all."""
        found = self._by_label.get(label) or self._all
        assert found is not None
        return found

    def rate(self, label: str) -> float:
        """Return the share of mature predictions of a label that were judged; of a label without any,
        that of all labels."""
        found = self._by_label.get(label)
        judged = found.items if found else 0
        return _rate(judged, self._predicted.get(label, 0)) or self._rate or 0.0

    def items(self) -> dict[Cell, int]:
        """Return the mature judged items by cell."""
        return {cell: found.items for cell, found in self._by_cell.items()}

    def predicted(self, label: str) -> int:
        """Return the mature predictions of a label."""
        return self._predicted.get(label, 0)


class Distribution:
    """The delays of ``items`` judged items. Between the ends of buckets their share is a monotone cubic
    in the logarithm of the age: most labels of a bucket come at its end while few are in, and at its
    beginning later, so that a straight line would be too high and then too low.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants",
    SIAM Journal on Scientific and Statistical Computing 5 (1984); SciPy, `PchipInterpolator`.
    """

    __slots__ = ("_by_age", "_slopes", "_sums", "items")

    def __init__(self, delays: Sequence[int]) -> None:
        self._sums = [0, *accumulate(delays)]
        self._slopes: list[float] = []
        #: The shares that were asked for: the windows of a model have the same hours.
        self._by_age: dict[float, float] = {}
        self.items = self._sums[-1]

    def plus(self, other: "Distribution | None") -> "Distribution":
        """Return the delays of the items of both."""
        found = Distribution(())
        sums = self._sums if other is None else map(add, self._sums, other._sums)
        found._sums = list(sums)
        found.items = found._sums[-1]
        return found

    def share(self, age: float) -> float:
        """Return the share of the items with a delay of at most ``age`` seconds."""
        found = self._by_age.get(age)
        if found is None:
            found = self._by_age[age] = self._share(age)
        return found

    def _share(self, age: float) -> float:
        bucket = bisect_left(ENDS, age)
        if bucket == len(ENDS):
            return 1.0
        before, after = self._sums[bucket], self._sums[bucket + 1]
        if before == after:
            return before / self.items
        if not bucket:
            return max(0.0, age) / ENDS[0] * after / self.items
        if not self._slopes:
            self._slopes = self._make_slopes()
        width = _LOGS[bucket] - _LOGS[bucket - 1]
        part = (log(age) - _LOGS[bucket - 1]) / width
        rest = 1 - part
        found = before * rest * rest * (1 + 2 * part) + after * part * part * (1 + 2 * rest)
        first, last = self._slopes[bucket - 1], self._slopes[bucket]
        return (found + width * part * rest * (rest * first - part * last)) / self.items

    def _make_slopes(self) -> list[float]:
        """Return the slopes at the ends of the buckets: the weighted harmonic mean of those of both
        sides, and 0 at the outer ends."""
        slopes = [0.0]
        for i in range(1, len(ENDS) - 1):
            left, right = _LOGS[i] - _LOGS[i - 1], _LOGS[i + 1] - _LOGS[i]
            rises = (
                (self._sums[i + 1] - self._sums[i]) / left,
                (self._sums[i + 2] - self._sums[i + 1]) / right,
            )
            slope = 0.0
            if min(rises) > 0:
                weights = 2 * right + left, right + 2 * left
                slope = sum(weights) / (weights[0] / rises[0] + weights[1] / rises[1])
            slopes.append(slope)
        return [*slopes, 0.0]


def _add(to: list[int], other: Sequence[int]) -> None:
    for position, items in enumerate(other):
        to[position] += items


def _rate(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole > 0 else None
