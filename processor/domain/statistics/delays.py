"""How long feedback takes, by outcome (counting rule 30): the counts behind the nowcast.

Each prediction adds to the predicted items of its hour, by predicted label. Each judged item adds to the
judged items of the hour of its prediction, by actual and predicted label and by the bucket of its delay.
"""

import operator
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.sums import Sum, Sums, add
from processor.domain.timestamps import SECOND

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

#: The ends of the buckets of delays, in seconds; one more bucket is beyond the last of them.
ENDS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 9, 12, 18)),
    *(_DAY * n // 2 for n in (2, 3, 4, 6, 8, 10, 14, 20, 28, 42, 60, 120, 180)),
)
#: The number of buckets.
BUCKETS = len(ENDS) + 1

_ENDS_NS = tuple(end * SECOND for end in ENDS)

#: The actual label of an item that is known to be wrong and nothing more (counting rule 8): no label is
#: the empty text.
UNKNOWN = ""


_NOTHING = [0] * BUCKETS
#: The cells that are kept unpacked: each hour has the same ones.
_CELLS = 4096
#: Plain integers, which are faster to compare.
_PREDICTED_LABEL, _DELAY = int(Sum.PREDICTED_LABEL), int(Sum.DELAY)


def bucket_of(delay: int) -> int:
    """Return the bucket of a delay in nanoseconds; a delay below 0 counts as 0.

    >>> bucket_of(-1), bucket_of(60 * SECOND), bucket_of(61 * SECOND), bucket_of(91 * 86400 * SECOND)
    (0, 0, 1, 26)
    """
    return bisect_left(_ENDS_NS, delay)


class Cohort:
    """The predictions of some hours, and how they were judged: ``predicted`` items by predicted label,
    and ``judged`` items by cell and, as a list, by bucket of the delay. The actual label of a cell is
    `UNKNOWN` where it is. Of numbers the cells are those of `error_delays`, and ``sizes`` are the sums
    of their absolute errors."""

    __slots__ = ("judged", "predicted", "sizes")

    def __init__(self) -> None:
        self.predicted: dict[str, int] = {}
        self.judged: dict[Cell, list[int]] = {}
        self.sizes: dict[Cell, int] = {}

    def add_predicted(self, label: str, items: int) -> None:
        """Count predicted items."""
        self.predicted[label] = self.predicted.get(label, 0) + items

    def add_judged(self, cell: Cell, bucket: int, items: int) -> None:
        """Count judged items."""
        delays = self.judged.get(cell)
        if delays is None:
            delays = self.judged[cell] = [0] * BUCKETS
        delays[bucket] += items

    def add_size(self, cell: Cell, size: int) -> None:
        """Add absolute errors to their sum."""
        self.sizes[cell] = self.sizes.get(cell, 0) + size

    def add(self, other: "Cohort", sign: int = 1) -> None:
        """Add another cohort, or subtract it with ``sign`` -1."""
        for label, items in other.predicted.items():
            self.add_predicted(label, sign * items)
        combine = operator.add if sign > 0 else operator.sub
        for cell, delays in other.judged.items():
            own = self.judged.get(cell) or _NOTHING
            self.judged[cell] = list(map(combine, own, delays))
        for cell, size in other.sizes.items():
            self.add_size(cell, sign * size)

    def is_empty(self) -> bool:
        """Whether all counts are zero."""
        return not any(self.predicted.values()) and not any(map(any, self.judged.values()))

    def until(self, bucket: int) -> "Cohort":
        """Return the cohort as it was when only delays of the buckets up to ``bucket`` had passed."""
        cohort = Cohort()
        cohort.predicted = dict(self.predicted)
        for cell, delays in self.judged.items():
            kept = delays[: bucket + 1]
            if any(kept):
                cohort.judged[cell] = kept + [0] * (BUCKETS - len(kept))
                if cell in self.sizes:
                    # The errors of a class are about equal, whatever their delay.
                    cohort.sizes[cell] = self.sizes[cell] * sum(kept) // sum(delays)
        return cohort


def total(cohorts: Iterable[Cohort]) -> Cohort:
    """Return the sum of cohorts."""
    whole = Cohort()
    for cohort in cohorts:
        whole.add(cohort)
    return whole


def predicted_in(cohorts: Iterable[Cohort]) -> dict[str, int]:
    """Return the predicted items of cohorts by label."""
    items: dict[str, int] = {}
    for cohort in cohorts:
        for label, n in cohort.predicted.items():
            items[label] = items.get(label, 0) + n
    return items


def contribute_prediction(label: str, sums: Sums, items: int = 1) -> None:
    """Add what predictions of a label contribute to the sums of their hour."""
    add(sums, Sum.PREDICTED_LABEL, items, label)


def contribute(cell: Cell, bucket: int, sums: Sums, items: int = 1) -> None:
    """Add what judged items contribute to the sums of the hour of their prediction."""
    add(sums, Sum.DELAY, items, pack_cell(cell), bucket)


def pack_cell(cell: Cell) -> str:
    """Return the labels of a cell as one text.

    >>> unpack_cell(pack_cell(Cell("a:1", "2:b")))
    Cell(actual='a:1', predicted='2:b')
    """
    return f"{len(cell.predicted)}:{cell.predicted}{cell.actual}"


@lru_cache(_CELLS)
def unpack_cell(text: str) -> Cell:
    """Return the cell of a text by `pack_cell`."""
    length, _, labels = text.partition(":")
    end = int(length)
    return Cell(labels[end:], labels[:end])


def cohort_of(sums: Sums) -> Cohort:
    """Return the cohort whose predictions and judged items contributed to some sums."""
    cohort = Cohort()
    judged: dict[str, list[int]] = {}
    for (kind, label, bucket), items in sums.items():
        if kind == _DELAY:
            delays = judged.get(label)
            if delays is None:
                delays = judged[label] = [0] * BUCKETS
            delays[bucket] = items
        elif kind == _PREDICTED_LABEL:
            cohort.predicted[label] = items
    cohort.judged = {unpack_cell(label): delays for label, delays in judged.items()}
    return cohort
