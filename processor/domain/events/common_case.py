"""The common case of a message: one row of data, and only members that Seldon's executor sends.

Two such messages with equal names and an equal `row_key` of their row mean the same. Any other message
does not parse as one of these types and goes to the general readers.
"""

from typing import Any

import msgspec

from processor.domain.row_reader import read_row
from processor.domain.values import UNSCORABLE

#: A request id of fewer characters is within the bound in bytes, whatever the characters.
SHORT_ID = 128
#: The latest time, in ns.
MAX_TIME_NS = (1 << 63) - 1
#: The errors of the parser for a message that is not the common case.
FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Data(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The member ``data`` of a message."""

    ndarray: list[Any]
    names: tuple[str, ...] | None = None


class Truth(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The member ``truth`` of a feedback."""

    data: Data | None = None
    meta: msgspec.Raw = msgspec.Raw(b"")


def row_key(row: object) -> object:
    """Return a key that is equal only for rows of equal meaning: the reading of a row, or the
    row itself where that says nothing, as of an object.

    >>> row_key([0.25, 0.75])[:3], row_key({"label": "cat"}), row_key([1, 1, 0])
    ((0, 1, 2), b'{"label":"cat"}', b'[1,1,0]')
    """
    reading = read_row(row)
    return msgspec.json.encode(row) if reading.kind == UNSCORABLE else reading
