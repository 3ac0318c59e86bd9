"""The keys of the sums that statistics are computed from.

A family of statistics is a file with two pure functions: one adds what a judged item contributes, as
integers by key; the other computes scores from their sums. Since only integers are added and taken back,
the scores depend neither on the order nor on the repetition of events.
"""

from enum import IntEnum
from typing import NamedTuple


class Sum(IntEnum):
    """The kinds of sums. The values are on the log: never renumber."""

    # Probabilities (counting rule 25), by class where a label stands below, and by bin.
    PROBABILITY_ITEMS = 0
    CLASS_ITEMS = 1
    CLASS_Q = 2
    CLASS_Q_SQUARES = 3
    OWN_ITEMS = 4
    OWN_Q = 5
    POSITIVES = 6
    NEGATIVES = 7
    TOP_ITEMS = 8
    TOP_RIGHT = 9
    TOP_Q = 10
    LOG_LOSS = 11
    RANK = 12
    OUTSIDE = 13
    # In bin 1 where a threshold decided.
    SECOND = 14
    # Numbers (counting rule 27), by unit.
    NUMBER_ITEMS = 20
    ERROR = 21
    ABSOLUTE_ERROR = 22
    SQUARED_ERROR = 23
    ACTUAL = 24
    SQUARED_ACTUAL = 25
    PREDICTED = 26
    SQUARED_PREDICTED = 27
    PRODUCT = 28
    ABSOLUTE_ACTUAL = 29
    PERCENTAGE = 30
    PERCENTAGE_ITEMS = 31
    ERROR_BUCKET = 32
    TOLERANCE_ITEMS = 33
    WITHIN = 34
    # Label sets (counting rule 29), by label.
    SET_ITEMS = 40
    SET_TRUE_POSITIVES = 41
    SET_FALSE_POSITIVES = 42
    SET_FALSE_NEGATIVES = 43
    JACCARD = 44
    EXACT = 45
    # Delays of feedback (counting rule 30): predicted items by label, and judged items by cell (see
    # `pack_cell`) and bucket of the delay.
    PREDICTED_LABEL = 50
    DELAY = 51
    # The same of numbers, by unit (see `error_delays`): predicted items, judged items by class of the
    # error and bucket of the delay, and the sum of absolute errors by class.
    PREDICTED_NUMBER = 52
    NUMBER_DELAY = 53
    NUMBER_SIZE = 54
    # Items that are not right, or not wrong, any more, by verdict. These sums only grow.
    RETRACTED = 55
    # Custom statistics: by name and key, and items and failed items by name.
    CUSTOM = 90
    CUSTOM_ITEMS = 91
    CUSTOM_FAILED = 92


class Key(NamedTuple):
    """A kind of sum, its label (or unit) and its bin; empty and 0 where there is none."""

    sum: int
    label: str = ""
    bin: int = 0


#: The kinds of the sums of delays. They are kept by hour and for all time, and no window sums them up.
DELAYS = range(50, 60)


#: Sums by the parts of a `Key`, as plain tuples, which are faster to make and equal to it.
Sums = dict[tuple[int, str, int], int]


def add(sums: Sums, kind: int, amount: int, label: str = "", bin: int = 0) -> None:
    """Add an amount to the sum of a key; a sum of 0 is not kept."""
    key = (int(kind), label, bin)
    total = sums.get(key, 0) + amount
    if total:
        sums[key] = total
    else:
        sums.pop(key, None)


def of_kind(sums: Sums, kind: Sum) -> dict[tuple[str, int], int]:
    """Return the sums of one kind by label and bin."""
    return {(label, number): n for (each, label, number), n in sums.items() if each == kind}


#: Sums of each kind by label and bin.
Kinds = dict[int, dict[tuple[str, int], int]]


def by_kind(sums: Sums) -> Kinds:
    """Return the sums of every kind by label and bin, in one pass: a scrape asks for all of them."""
    kinds: Kinds = {}
    for (kind, label, index), n in sums.items():
        group = kinds.get(kind)
        if group is None:
            group = kinds[kind] = {}
        group[label, index] = n
    return kinds
