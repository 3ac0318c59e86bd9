"""The common case of a message: one row of data, and only members that Seldon's executor sends.

Two such messages with equal names and an equal `read_row` of their row mean the same. Any other message
does not parse as one of these types and goes to the general readers.
"""

from typing import Any

import msgspec

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
