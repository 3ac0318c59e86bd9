"""Structured events and batches of them: a whole event in the value of a record."""

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from processor.domain.events import raw_json
from processor.domain.events.attributes import Attributes
from processor.domain.events.raw_event import DeadLetter

#: What the media types of both modes begin with; only their JSON formats are read.
PREFIX = b"application/cloudevents"
STRUCTURED, BATCH = PREFIX + b"+json", PREFIX + b"-batch+json"

#: More events than this in one record are refused whole.
MAX_BATCH = 10_000

_decode_event = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_structured(value: bytes) -> tuple[Attributes, bytes] | DeadLetter:
    """The attributes of an event as binary mode has them, and its data."""
    try:
        event: dict[str, msgspec.Raw] | dict[str, bytes] = _decode_event(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # NaN in the data is no JSON, but the event round it can be read.
        try:
            _, rest = raw_json.first(value)
            if not value.lstrip().startswith(b"{") and not rest.strip():
                return DeadLetter("not_cloudevent", "a structured event is a JSON object")
            event = raw_json.members(value)
        except ValueError as error:
            return DeadLetter("bad_json", f"structured event: {str(error)[:200]}")
    try:
        attributes = {
            f"ce_{name}": _attribute(bytes(raw))
            for name, raw in event.items()
            if name not in ("data", "data_base64")
        }
        return attributes, _data(event, attributes)
    except (msgspec.DecodeError, ValueError) as error:
        return DeadLetter("bad_json", f"structured event: {str(error)[:200]}")


def split_batch(value: bytes) -> list[bytes] | DeadLetter:
    """The events of a batch, each a structured one; none of them is looked into."""
    try:
        events = raw_json.elements(value)
    except ValueError as error:
        return DeadLetter("bad_json", f"batch of events: {str(error)[:200]}")
    if len(events) > MAX_BATCH:
        return DeadLetter("too_large", f"batch of {len(events)} events, {MAX_BATCH} are the most")
    return events


def _data(event: Mapping[str, Any], attributes: Attributes) -> bytes:
    encoded = event.get("data_base64")
    if encoded is not None and encoded != b"null":
        return base64.b64decode(_decode_text(encoded), validate=True)
    data = bytes(event.get("data") or b"")
    if data[:1] != b'"':
        return data
    text = _decode_text(data)
    if attributes.get("ce_datacontentencoding") == b"base64":  # CloudEvents 0.3
        return base64.b64decode(text, validate=True)
    # Some senders put the text of a JSON object as a string; a message never is a string itself.
    return text.encode() if text.lstrip()[:1] == "{" else data


def _attribute(raw: bytes) -> bytes | None:
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return _decode_text(raw).encode("utf-8", "replace")
    return raw
