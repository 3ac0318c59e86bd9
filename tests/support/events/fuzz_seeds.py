"""Inputs from which the fuzz targets of the native extension start, one a file.

``python -m tests.support.events.fuzz_seeds FOLDER`` writes them to ``FOLDER/seeds/TARGET``: the recorded
messages of ``tests/data`` in every envelope, and as lines, documents, gzip bodies and record batches.
"""

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from aiokafka.structs import ConsumerRecord

from bench.support.stage_costs import whole
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError
from tests.support.domain.payload_kinds import DATA, JSON, PAYLOADS
from tests.support.events import recorded
from tests.support.faults.documents import document

_END = 1_790_000_000


def _document(number: int) -> bytes:
    return json.dumps(document(number, _END) | {"RequestId": "r1"}).encode()


def _envelope(event: RawEvent) -> bytes:
    """An event as `Checks::envelope` of the extension takes it."""
    lines = [
        name.encode() if value is None else b"%s: %s" % (name.encode(), value)
        for name, value in event.headers
    ]
    return b"\n".join([*lines, b"", event.value or b""])


def _record_batch(event: RawEvent) -> bytes:
    record = ConsumerRecord(
        "source", 0, 0, 7, 0, b"key", event.value, None, 0, 0, tuple(event.headers)
    )
    return bytes(whole([record]).content)


def seeds() -> Iterator[tuple[str, bytes]]:
    """The name of a target, and an input of it."""
    for payload in PAYLOADS.values():
        yield "json" if payload.content_type == JSON else "protobuf", payload.body
        yield "gzip", gzip.compress(payload.body, mtime=0)
    for path in DATA.glob("*.pb"):
        yield "protobuf", path.read_bytes()
    yield from (("json", _document(number)) for number in range(30))
    for event in recorded.seeds() + recorded.answer_forms():
        yield "envelope", _envelope(event)
        yield "record_batch", _record_batch(event)
        with suppress(EventsFileError):
            yield "json", format_line(event)
        if (event.value or b"")[:1] == b"{":
            yield "json", event.value or b""


def main(folder: Path) -> None:
    """Write the inputs; equal ones once."""
    for target, text in seeds():
        path = folder / "seeds" / target / hashlib.sha256(text).hexdigest()[:16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
