"""The delays of predictions that are old enough, as shares of labels that are in at an age (counting
rule 30)."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import log
from operator import add

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import BUCKETS, ENDS, Cohort, total
from processor.domain.statistics.error_delays import digits_of

_LOGS = tuple(map(log, ENDS))
#: Classes of errors with fewer mature items take the delays of larger and smaller errors in.
_MIN_CLASS_ITEMS = 30
#: Fewer items of older predictions say too little of how many labels are still to come.
_MIN_GROWING = 30


def reached(age: float) -> int:
    """Return the number of buckets of delays whose end a prediction of an age (s) has reached.

    >>> reached(59), reached(60), reached(8 * 86_400)
    (0, 1, 20)
    """
    return bisect_right(ENDS, age)


def completed(parts: Mapping[int, Cohort]) -> dict[Cell, list[float]]:
    """Return the judged items of mature predictions, by cell and bucket of the delay, once all labels
    are in. ``parts`` are the predictions by the number of buckets that the youngest of a part has
    `reached`.

    Predictions that are 8 days old have no label yet that takes 20 days. They get them in the proportion
    in which older ones got them, where there are any: the chain ladder.
    """
    cells = sorted({cell for part in parts.values() for cell in part.judged})
    return {
        cell: _completed({n: part.judged[cell] for n, part in parts.items() if cell in part.judged})
        for cell in cells
    }


def _completed(parts: Mapping[int, Sequence[int]]) -> list[float]:
    found: list[float] = list(map(sum, zip(*parts.values(), strict=True)))
    first = min(parts)
    if len(parts) == 1 or not any(found[first:]):
        return found
    young = 0.0
    for bucket in range(first, BUCKETS):
        young += sum(sum(delays[:bucket]) for n, delays in parts.items() if n == bucket)
        old = [delays for n, delays in parts.items() if n > bucket]
        base, came = sum(sum(each[:bucket]) for each in old), sum(each[bucket] for each in old)
        more: float = sum(delays[bucket] for n, delays in parts.items() if n <= bucket)
        if base >= _MIN_GROWING:
            more = young * came / base
        found[bucket] = came + more
        young += more
    return found


class Delays:
    """The delays of mature predictions: shares of labels that are in at an age, by cell. ``parts`` are
    these predictions, by the number of buckets of delays that the youngest of a part has `reached`.
    ``numbers`` tells whether cells are classes of errors, whose neighbours are alike."""

    def __init__(self, parts: Mapping[int, Cohort], numbers: bool = False) -> None:
        self._by_cell: dict[Cell, Distribution] = {}
        #: The delays of classes of errors by cell, with those of their neighbours.
        self._pooled: dict[Cell, Distribution] | None = {} if numbers else None
        by_label: dict[str, Distribution] = {}
        self._all: Distribution | None = None
        mature = total(parts.values())
        for cell, delays in completed(parts).items():
            if items := sum(mature.judged[cell]):
                own = self._by_cell[cell] = Distribution(delays, items)
                by_label[cell.predicted] = own.plus(by_label.get(cell.predicted))
                self._all = own.plus(self._all)
        self._by_label = by_label
        self._predicted = mature.predicted
        self._rate = _rate(self._all, sum(mature.predicted.values()))

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
        return _rate(found, self._predicted.get(label, 0)) or self._rate or 0.0

    def items(self) -> dict[Cell, int]:
        """Return the mature judged items by cell."""
        return {cell: found.items for cell, found in self._by_cell.items()}

    def predicted(self, label: str) -> int:
        """Return the mature predictions of a label."""
        return self._predicted.get(label, 0)


class Distribution:
    """The delays of ``items`` judged items, and of those that are still to come. Between the ends of
    buckets their share is a monotone cubic in the logarithm of the age: most labels of a bucket come at
    its end while few are in, and at its beginning later, so that a straight line would be too high and
    then too low.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants",
    SIAM Journal on Scientific and Statistical Computing 5 (1984); SciPy, `PchipInterpolator`.
    """

    __slots__ = ("_by_age", "_slopes", "_sums", "items")

    def __init__(self, delays: Sequence[float], items: int) -> None:
        self._sums = [0.0, *accumulate(delays)]
        self._slopes: list[float] = []
        #: The shares that were asked for: the windows of a model have the same hours.
        self._by_age: dict[float, float] = {}
        self.items = items

    @property
    def final(self) -> float:
        """The items once all labels are in."""
        return self._sums[-1]

    def plus(self, other: "Distribution | None") -> "Distribution":
        """Return the delays of the items of both."""
        found = Distribution((), self.items)
        found._sums = self._sums
        if other is not None:
            found._sums = list(map(add, self._sums, other._sums))
            found.items += other.items
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
            return before / self.final
        if not bucket:
            return max(0.0, age) / ENDS[0] * after / self.final
        if not self._slopes:
            self._slopes = self._make_slopes()
        width = _LOGS[bucket] - _LOGS[bucket - 1]
        part = (log(age) - _LOGS[bucket - 1]) / width
        rest = 1 - part
        found = before * rest * rest * (1 + 2 * part) + after * part * part * (1 + 2 * rest)
        first, last = self._slopes[bucket - 1], self._slopes[bucket]
        return (found + width * part * rest * (rest * first - part * last)) / self.final

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


def _rate(judged: Distribution | None, predicted: int) -> float | None:
    return min(1.0, judged.final / predicted) if judged is not None and predicted > 0 else None
