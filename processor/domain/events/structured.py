"""Structured events and batches of them: records whose value is a whole event as JSON."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from processor.domain.events import raw_json
from processor.domain.events.attributes import Attributes
from processor.domain.events.raw_event import DeadLetter

#: The start of the media types of both modes; only their JSON formats are read.
PREFIX = b"application/cloudevents"
STRUCTURED, BATCH = PREFIX + b"+json", PREFIX + b"-batch+json"
#: The headers of a record that holds one structured event.
STRUCTURED_HEADERS = (("content-type", STRUCTURED),)

#: A record that holds more events is refused as a whole.
MAX_BATCH = 10_000

_DATA = ("data", "data_base64")
_FAULTS = (msgspec.DecodeError, ValueError)
_decode_event = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_structured(value: bytes) -> tuple[dict[str, bytes | None], bytes] | DeadLetter:
    """Return the attributes of a structured event, named as in binary mode, and its data."""
    try:
        event: dict[str, msgspec.Raw] | dict[str, bytes] = _decode_event(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # NaN in the data is not JSON, but the event around it can be read.
        try:
            _, rest = raw_json.first(value)
            if not value.lstrip().startswith(b"{") and not rest.strip():
                return DeadLetter("not_cloudevent", "a structured event is a JSON object")
            event = raw_json.members(value)
        except ValueError as error:
            return DeadLetter("bad_json", f"structured event: {str(error)[:200]}")
    try:
        attributes = _attributes(event)
        return attributes, _data(event, attributes)
    except _FAULTS as error:
        return DeadLetter("bad_json", f"structured event: {str(error)[:200]}")


def read_attributes(value: bytes) -> dict[str, bytes | None]:
    """Return the attributes of a structured event whose data may be unreadable; none if the value is
    not a JSON object."""
    try:
        return _attributes(raw_json.members(value))
    except _FAULTS:
        return {}


def split_batch(value: bytes) -> list[bytes] | DeadLetter:
    """Return the events of a batch, each as the text of a structured event that is not parsed yet."""
    try:
        events = raw_json.elements(value)
    except ValueError as error:
        return DeadLetter("bad_json", f"batch of events: {str(error)[:200]}")
    if len(events) > MAX_BATCH:
        return DeadLetter("too_large", f"batch of {len(events)} events, {MAX_BATCH} are the most")
    return events


def _attributes(event: Mapping[str, Any]) -> dict[str, bytes | None]:
    return {
        f"ce_{name}": _attribute(bytes(raw)) for name, raw in event.items() if name not in _DATA
    }


def _attribute(raw: bytes) -> bytes | None:
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return _decode_text(raw).encode("utf-8", "replace")
    return raw


def _data(event: Mapping[str, Any], attributes: Attributes) -> bytes:
    encoded = bytes(event.get("data_base64") or b"null")
    if encoded != b"null":
        return base64.b64decode(_decode_text(encoded), validate=True)
    data = bytes(event.get("data") or b"")
    if data[:1] != b'"':
        return data
    text = _decode_text(data)
    if attributes.get("ce_datacontentencoding") == b"base64":  # CloudEvents 0.3
        return base64.b64decode(text, validate=True)
    # Some senders put a JSON object as a string into the data; a message itself is never a string.
    return text.encode() if text.lstrip()[:1] == "{" else data
