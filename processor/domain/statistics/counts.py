"""The counts of one model in one span of time, from which all scores are computed."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from processor.domain.statistics.sums import Kinds, Sums, by_kind

T = TypeVar("T")

#: Rewards are kept as integers in millionths, so that sums don't depend on the order of addition.
MICRO = 1_000_000

#: The two time bases (counting rule 15), in the order of their codes on the log.
BASES = ("request", "feedback")


#: The fields of `Counts` without the cells and the sums, in the order of its constructor.
Totals = tuple[int, int, int, int, int, int, int]


class Cell(NamedTuple):
    """A cell of the confusion matrix: an actual and a predicted class label."""

    actual: str
    predicted: str


class Counts:
    """Integer sums over items and feedbacks, which can be added and subtracted in any order.

    ``predictions``, ``judged``, ``correct`` and ``unknown_actual`` count items; ``rewards`` and
    ``disagreements`` count feedbacks; ``reward_sum`` is in millionths. ``cells`` counts the judged
    items with a known actual label, ``sums`` are those of the other statistics; what is zero is removed
    from both.

    >>> a = Counts(judged=2, correct=1, cells={Cell("x", "x"): 1, Cell("x", "y"): 1})
    >>> a.add(a); a.cells[Cell("x", "y")]
    2
    >>> a.add(a, -1); a.is_empty()
    True
    """

    __slots__ = (
        "cells",
        "correct",
        "disagreements",
        "judged",
        "predictions",
        "reward_sum",
        "rewards",
        "sums",
        "unknown_actual",
    )

    def __init__(
        self,
        predictions: int = 0,
        judged: int = 0,
        correct: int = 0,
        unknown_actual: int = 0,
        rewards: int = 0,
        reward_sum: int = 0,
        disagreements: int = 0,
        cells: dict[Cell, int] | None = None,
        sums: Sums | None = None,
    ) -> None:
        self.predictions = predictions
        self.judged = judged
        self.correct = correct
        self.unknown_actual = unknown_actual
        self.rewards = rewards
        self.reward_sum = reward_sum
        self.disagreements = disagreements
        self.cells: dict[Cell, int] = {} if cells is None else cells
        self.sums: Sums = {} if sums is None else sums

    def add(self, other: "Counts", sign: int = 1, keep_zeros: bool = False) -> None:
        """Add ``other`` ``sign`` times. With ``keep_zeros`` cells and sums that become zero keep their
        place until `remove_zeros`."""
        self.add_labels(other, sign, keep_zeros)
        if sums := other.sums:
            _add(self.sums, sums, sign, keep_zeros)

    def add_labels(self, other: "Counts", sign: int = 1, keep_zeros: bool = False) -> None:
        """Add all of ``other`` but its sums, as `add` does."""
        self.predictions += sign * other.predictions
        self.judged += sign * other.judged
        self.correct += sign * other.correct
        self.unknown_actual += sign * other.unknown_actual
        self.rewards += sign * other.rewards
        self.reward_sum += sign * other.reward_sum
        self.disagreements += sign * other.disagreements
        _add(self.cells, other.cells, sign, keep_zeros)

    def add_sums(self, other: "Counts", sign: int = 1, keep_zeros: bool = False) -> None:
        """Add the sums of ``other`` alone, as `add` does."""
        _add(self.sums, other.sums, sign, keep_zeros)

    def remove_zeros(self) -> None:
        """Remove cells and sums of zero."""
        self.cells = {cell: n for cell, n in self.cells.items() if n}
        self.sums = {key: n for key, n in self.sums.items() if n}

    def totals(self) -> Totals:
        """All fields but the cells and the sums, in the order of the constructor."""
        return (
            self.predictions,
            self.judged,
            self.correct,
            self.unknown_actual,
            self.rewards,
            self.reward_sum,
            self.disagreements,
        )

    @property
    def has_sums(self) -> bool:
        """Whether there are sums."""
        return bool(self.sums)

    def sums_by_kind(self) -> Kinds:
        """The sums of every kind by label and bin."""
        return by_kind(self.sums)

    def is_empty(self) -> bool:
        """Whether all counts are zero."""
        return not self.cells and not self.sums and not any(self.totals())

    def copy(self) -> "Counts":
        """An independent copy."""
        return Counts(*self.totals(), dict(self.cells), dict(self.sums))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Counts):
            return NotImplemented
        return (
            self.totals() == other.totals()
            and self.cells == other.cells
            and self.sums == other.sums
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Counts{self.totals()}{self.cells}{self.sums}"

    def labels(self) -> Iterator[str]:
        """The labels that occur as actual or predicted, sorted, without duplicates."""
        return iter(sorted({label for cell in self.cells for label in cell}))


def _add(to: dict[T, int], other: dict[T, int], sign: int, keep_zeros: bool) -> None:
    get = to.get
    for key, n in tuple(other.items()) if to is other else other.items():
        total = get(key, 0) + sign * n
        if total or keep_zeros:
            to[key] = total
        else:
            to.pop(key, None)
