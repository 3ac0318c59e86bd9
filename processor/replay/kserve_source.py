"""Read the files that KServe's logger has written to a bucket, from a copy in a folder.

The logger names a file ``<prefix>/<namespace>/<service>/<component>/<id>-{request,response}.json``
after its first record. The file holds one record or, if the logger writes batches, an array of records
with any ids and of both kinds; so every ``*.json`` file is read, and its name is ignored. The files
contain no feedback.
"""

import base64
import binascii
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import EventsFileError


class _Record(msgspec.Struct, gc=False):
    """The fields of a logged request or response that are read. Go writes the zero value of a field that
    is not set."""

    bytes: str | None = None
    contentType: str = ""
    reqType: str = ""
    id: str = ""
    inferenceService: str = ""
    namespace: str = ""
    component: str = ""
    endpoint: str = ""
    occurrenceTime: str = ""


_decode = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw]).decode
_decode_field = msgspec.json.decode
_FIELDS = frozenset(field.name for field in msgspec.structs.fields(_Record))
#: The beginning of Go's zero time, which a record without a time has.
_NO_TIME = "0001-01-01"


def read_folder(folder: Path) -> Iterator[list[RawEvent] | DeadLetter | None]:
    """The events of each file, in no particular order; a dead letter for a file that can't be decoded,
    None for a file that is not ``*.json``. `EventsFileError` if the folder or a file can't be read."""
    if not folder.is_dir():
        raise EventsFileError(
            f"there is no folder {folder}: copy the bucket of KServe's logger to one"
        )
    yield from _walk(os.fspath(folder))


def _walk(folder: str) -> Iterator[list[RawEvent] | DeadLetter | None]:
    # Entries are not collected in a list: such a folder can hold millions of them.
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from _walk(entry.path)
                elif not entry.name.endswith(".json"):
                    yield None
                else:
                    yield _read(entry)
    except OSError as error:
        raise EventsFileError(f"{folder} can't be read: {error.strerror or error}") from None


def _read(entry: "os.DirEntry[str]") -> list[RawEvent] | DeadLetter:
    # The time of a record without a time is that of its file.
    written = entry.stat().st_mtime_ns
    with open(entry.path, "rb") as file:
        content = file.read()
    try:
        return read_records(content, written)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "bad_shape" if isinstance(error, msgspec.ValidationError) else "bad_json"
        return DeadLetter(reason, f"{entry.path} is not a file of KServe's logger: {error}")


def read_records(content: bytes, written: int) -> list[RawEvent]:
    """The events of a file's content; ``written`` (ns) is the time of records without one.
    `msgspec.MsgspecError` if the content is not a record or an array of records."""
    found = _decode(content)
    return [
        _event(_record(record), written)
        for record in (found if isinstance(found, list) else [found])
    ]


def _record(fields: dict[str, msgspec.Raw]) -> _Record:
    # Older releases of KServe write the names of the Go struct: Bytes, ReqType, InferenceService.
    known = {
        name: _decode_field(value)
        for key, value in fields.items()
        if (name := key[:1].lower() + key[1:]) in _FIELDS
    }
    return msgspec.convert(known, _Record)


def _event(record: _Record, written: int) -> RawEvent:
    """The CloudEvent that the logger would have sent for a record."""
    headers = [
        ("ce_id", record.id),
        ("ce_type", record.reqType),
        ("ce_inferenceservicename", record.inferenceService),
        ("ce_namespace", record.namespace),
        ("ce_component", record.component),
        ("ce_endpoint", record.endpoint),
        ("content-type", record.contentType),
    ]
    if not record.occurrenceTime.startswith(_NO_TIME):
        headers.append(("ce_time", record.occurrenceTime))
    body = None
    if record.bytes is not None:
        try:
            body = base64.b64decode(record.bytes, validate=True)
        except (ValueError, binascii.Error) as error:
            raise msgspec.ValidationError(f"its bytes are not base64: {error}") from None
    return RawEvent(
        tuple((name, value.encode()) for name, value in headers if value), body, written
    )
