"""The rows of a message of any format, one per item (counting rule 3)."""

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from processor.domain.events.raw_event import DeadLetter
from processor.domain.row_reader import EMPTY

#: The most rows of one message: more would not fit in a record of the log.
MAX_ROWS = 20_000
MAX_NAMES = 1 << 20
#: The most dimensions, as in numpy; the product of many more would take long.
_MAX_DIMENSIONS = 64
#: A row that says nothing that can be read. It is not null: a null truth takes a label back.
UNREADABLE: tuple[()] = ()
_PLAIN = frozenset((int, float, bool))
_FIRST = itemgetter(0)


class PayloadRows(msgspec.Struct, frozen=True):
    """The rows of a message, one per item, and the names of its columns, None if it has none."""

    rows: list[Any]
    names: tuple[str, ...] | None


def checked(rows: list[Any], names: object = None) -> PayloadRows | DeadLetter:
    """Return the rows unchanged with their column names; a dead letter for none or too many."""
    if not rows:
        return DeadLetter("bad_shape", "no rows")
    if len(rows) > MAX_ROWS:
        return DeadLetter("too_large", f"{len(rows)} rows, {MAX_ROWS} are the most")
    if not names:
        return PayloadRows(rows, None)
    if type(names) is not list:
        return DeadLetter("bad_shape", "names is not a list")
    try:
        size = len("".join(names))
    except TypeError:
        texts = [text for name in names if (text := label_text(name)) is not None]
        if len(texts) != len(names):
            return PayloadRows(rows, None)
        names, size = texts, sum(map(len, texts))
    if len(names) > MAX_ROWS or size > MAX_NAMES:
        return DeadLetter("too_large", f"names of more than {MAX_NAMES} characters")
    if "" in names:
        names = [name or EMPTY for name in names]
    return PayloadRows(rows, tuple(names))


def label_text(label: object) -> str | None:
    """Return the text of a label that is a text, a number or a boolean; None for any other.

    >>> label_text(1.0), label_text(True), label_text(""), label_text(0.5), label_text(None)
    ('1', '1', '(empty)', '0.5', None)
    """
    if isinstance(label, str):
        return label or EMPTY
    if isinstance(label, int):
        return str(int(label))
    if isinstance(label, float) and math.isfinite(label):
        return str(int(label)) if label.is_integer() else repr(label)
    return None


def is_plain(rows: list[Any]) -> bool:
    """Return whether rows, one at least, are numbers, lists that begin with a number, or texts without
    a colon: no other row can carry a value inside. This is asked of every message, so it is fast.

    >>> is_plain([[0.5, 0.5]]), is_plain(["cat"]), is_plain(["0.5:1"]), is_plain([1, {"label": 1}])
    (True, True, False, False)
    """
    first = rows[0]
    kind = type(first)
    if len(rows) == 1:
        if kind is list and first:
            kind = type(first[0])
        return kind in _PLAIN or (kind is str and kind is type(first) and ":" not in first)
    # Numbers can be added; these are the fastest ways to ask it of all rows.
    try:
        if kind is list:
            return sum(map(_FIRST, rows)) is not None
        if kind is str:
            return ":" not in "".join(rows)
        return sum(rows) is not None
    except (TypeError, IndexError, KeyError, OverflowError):
        return False


def shaped(
    shape: Sequence[int], values: list[Any], names: object = None
) -> PayloadRows | DeadLetter:
    """Return the rows of a flat, row-major tensor, whose first dimension counts the rows.

    >>> shaped([2, 2], [0.1, 0.9, 0.8, 0.2]).rows
    [[0.1, 0.9], [0.8, 0.2]]
    """
    size = size_of(shape)
    if size is None:
        return DeadLetter("bad_shape", "a tensor's shape is a list of sizes, one at least")
    if size != len(values):
        return DeadLetter("bad_shape", f"tensor of shape {list(shape)} has {len(values)} values")
    return checked(reshape(values, shape[1:]), names)


def size_of(shape: object) -> int | None:
    """Return the number of values in a tensor of this shape, None if it is not a shape."""
    if type(shape) is not list or not 0 < len(shape) <= _MAX_DIMENSIONS:
        return None
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            return None
        count *= size
    return count


def reshape(values: list[Any], sizes: Sequence[int]) -> list[Any]:
    """Nest a flat list; ``sizes`` are the sizes of the dimensions after the first.

    >>> reshape([1, 2, 3, 4], [1, 2])
    [[[1, 2]], [[3, 4]]]
    """
    for size in reversed(sizes):
        values = [values[i : i + size] for i in range(0, len(values), size)] if size else []
    return values
