"""Python objects as lines of JSON: events as in an events file, or rows."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from processor.errors import ProcessorError
from processor.replay.files import Block
from processor.replay.tables.cells import plain

_encode = msgspec.json.Encoder(enc_hook=plain).encode
#: Objects in a block.
_BLOCK = 1000


class ObjectLines:
    """An iterable of dicts, which is read like a file with one of them a line. It is read once."""

    name = "the events"

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._objects = iter(objects)

    def blocks(self) -> Iterator[Block]:
        """The lines. `ProcessorError` for what is no dict, or can't be written as JSON."""
        first = 1
        while some := [*islice(self._objects, _BLOCK)]:
            lines = [self._line(each, number) for number, each in enumerate(some, first)]
            yield Block(b"\n".join(lines) + b"\n", first, 0)
            first += len(some)

    def _line(self, event: object, number: int) -> bytes:
        if not isinstance(event, Mapping):
            raise ProcessorError(
                f"item {number} is {type(event).__name__}, not a dict: an event is a dict with "
                "headers and data, as in an events file"
            )
        if isinstance(event.get("data"), bytes):
            # In JSON a body of bytes has a key of its own.
            encoded = base64.b64encode(event["data"]).decode()
            event = {key: event[key] for key in event if key != "data"} | {"data_base64": encoded}
        try:
            return _encode(event)
        except (TypeError, ValueError, RecursionError) as error:
            raise ProcessorError(f"item {number} can't be written as JSON: {error}") from None
