"""The events file: a line to a raw event and back (docs: "Events file")."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from processor.domain.events import raw_json
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.type_errors import type_error
from processor.errors import EventsFileError

#: The header names that HTTP allows, so that every line can be sent to an ingress.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CLOUD_EVENT = "ce-"
_KAFKA_CLOUD_EVENT = "ce_"


class LineError(EventsFileError):
    """A line is not an event; ``reason`` is the reason of the dead letter that it becomes if reading
    goes on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class BadLine(NamedTuple):
    """A line that is not an event: its ``number`` in the file, and the reason."""

    number: int
    letter: DeadLetter


_parse_headers = msgspec.json.Decoder(dict[str, str]).decode
_parse_text = msgspec.json.Decoder(str).decode
_to_json = msgspec.json.Encoder().encode


def parse_line(line: bytes, number: int, timestamp: int) -> RawEvent:
    """Parse line ``number`` of a file; ``timestamp`` (ns) stands in for a missing time.

    `LineError` if the line is not an event.

    ``data`` that is JSON is kept byte for byte; a string is the body's text, for bodies that are not
    JSON; ``data_base64`` holds bytes; null, or neither member, is an event without a body.

    >>> parse_line(b'{"headers": {"ce-id": "1"}, "data": {"x": 1.50}}', 1, 0)
    RawEvent(headers=(('ce_id', b'1'),), value=b'{"x": 1.50}', timestamp=0)
    """
    try:
        if not line.isascii():
            line.decode()  # the parser does not check the data
        parts = raw_json.members(line)
        if "headers" not in parts:
            raise LineError("not_cloudevent", 'there is no "headers"')
        headers = _read_headers(parts["headers"])
        return RawEvent(headers, _read_data(parts), timestamp)
    except LineError as error:
        raise LineError(error.reason, f"line {number} is no event: {error}") from None
    except UnicodeDecodeError as error:
        raise LineError("bad_json", f"line {number} is not UTF-8: {error.reason}") from None
    except ValueError as error:
        raise LineError("bad_json", f"line {number} is no event: {error}") from None


def parse_lines(block: bytes, first: int, timestamp: int) -> Iterator[RawEvent | BadLine]:
    """Yield each event of some whole lines, the first of which has the number ``first``.

    Empty lines are skipped.
    """
    for number, line in enumerate(block.removesuffix(b"\n").split(b"\n"), first):
        if line and not line.isspace():
            try:
                yield parse_line(line, number, timestamp)
            except LineError as error:
                yield BadLine(number, DeadLetter(error.reason, str(error)))


def format_line(event: RawEvent) -> bytes:
    """Return the line for an event, without the newline; `parse_line` returns the event again.

    `EventsFileError` if a header is not UTF-8. JSON of several lines is put on one.
    """
    try:
        headers = {
            _CLOUD_EVENT + name[3:] if name.startswith(_KAFKA_CLOUD_EVENT) else name: value.decode()
            for name, value in event.headers
        }
    except UnicodeDecodeError as error:
        raise EventsFileError(f"a header of the event is not UTF-8: {error}") from None
    line = b'{"headers":' + _to_json(headers)
    if event.value is not None:
        line += b"," + _format_data(event.value, headers.get("content-type", ""))
    return line + b"}"


def _read_headers(text: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        headers = _parse_headers(text)
    except msgspec.ValidationError as error:
        raise LineError(
            "bad_header", f'"headers" must be an object of strings: {type_error(error)}'
        ) from None
    named: dict[str, bytes] = {}
    for written, value in headers.items():
        name = written.lower()
        if not _NAME.fullmatch(name):
            raise LineError("bad_header", f"{name!r} is no header name")
        kafka_name = _KAFKA_CLOUD_EVENT + name[3:] if name.startswith(_CLOUD_EVENT) else name
        # If two names are one in Kafka, the one written as the format says counts.
        if kafka_name not in named or (written == name and name != kafka_name):
            named[kafka_name] = value.encode()
    return tuple(named.items())


def _read_data(parts: dict[str, bytes]) -> bytes | None:
    if "data_base64" in parts:
        if "data" in parts:
            raise LineError("bad_shape", 'there are both "data" and "data_base64": keep one')
        try:
            return base64.b64decode(_parse_text(parts["data_base64"]), validate=True)
        except (msgspec.DecodeError, binascii.Error) as error:
            raise LineError("bad_shape", f'"data_base64" is not base64: {error}') from None
    data = parts.get("data")
    if data is None or data == b"null":
        return None
    if not data.startswith(b'"'):
        return data
    try:
        return _parse_text(data).encode()
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise LineError("bad_shape", f'"data" is no text: {error}') from None


def _format_data(value: bytes, content_type: str) -> bytes:
    try:
        text = value.decode()
        if raw_json.is_json_type(content_type):
            data = _one_json(value)
            # A string would be the body's text, and null an event without a body.
            if data is not None and not data.startswith((b'"', b"null")):
                # In valid JSON, a line break is space between tokens, never part of a string.
                return b'"data":' + data.replace(b"\r", b" ").replace(b"\n", b" ")
        return b'"data":' + _to_json(text)
    except UnicodeDecodeError:
        pass
    return b'"data_base64":' + _to_json(base64.b64encode(value).decode())


def _one_json(value: bytes) -> bytes | None:
    try:
        (data,) = raw_json.elements(b"[" + value + b"]")
    except ValueError:
        return None
    return data
