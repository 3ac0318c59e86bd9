"""The rows of a message of any format, one per item (counting rule 3)."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from processor.domain.events.raw_event import DeadLetter

#: The most rows of one message: more would not fit in a record of the log.
MAX_ROWS = 20_000
MAX_NAMES = 1 << 20
#: The most dimensions, as in numpy; the product of many more would take long.
_MAX_DIMENSIONS = 64


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
        return DeadLetter("bad_shape", "names is not a list of strings")
    if len(names) > MAX_ROWS or sum(map(len, names)) > MAX_NAMES:
        return DeadLetter("too_large", f"names of more than {MAX_NAMES} characters")
    return PayloadRows(rows, tuple(names))


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
    if not (
        isinstance(shape, Sequence)
        and 0 < len(shape) <= _MAX_DIMENSIONS
        and all(type(size) is int and size >= 0 for size in shape)
    ):
        return None
    return math.prod(shape)


def reshape(values: list[Any], sizes: Sequence[int]) -> list[Any]:
    """Nest a flat list; ``sizes`` are the sizes of the dimensions after the first.

    >>> reshape([1, 2, 3, 4], [1, 2])
    [[[1, 2]], [[3, 4]]]
    """
    for size in reversed(sizes):
        values = [values[i : i + size] for i in range(0, len(values), size)] if size else []
    return values
