"""CloudEvents as Kafka carries them: which event, of which request and model (counting rule 2)."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.counts import ModelKey
from processor.domain.events import DeadLetter

RESPONSE, REQUEST, FEEDBACK = "response", "request", "feedback"

_KINDS = {
    f"{vendor}.serving.{name}": kind
    for vendor in ("io.seldon", "org.kubeflow")
    for name, kind in (
        ("inference.response", RESPONSE),
        ("inference.request", REQUEST),
        ("feedback", FEEDBACK),
    )
}
_KINDS_BY_HEADER = {name.encode(): kind for name, kind in _KINDS.items()}

#: Longer identifiers would not be one; they also become labels and keys.
MAX_ID_BYTES = 512


class Envelope(NamedTuple):
    """An event's attributes that count. ``time`` is RFC 3339 text, None where the event has none."""

    kind: str
    key: ModelKey
    request_id: str
    time: str | None
    data: bytes


_REQUEST = Envelope(REQUEST, ModelKey("", "", "", ""), "", None, b"")


class EnvelopeReader:
    """Reads headers; remembers the models that it has seen, since their names come with each event
    and there are few."""

    def __init__(self) -> None:
        self._keys: dict[tuple[bytes | None, ...], ModelKey] = {}

    def __call__(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None
    ) -> Envelope | DeadLetter:
        """The envelope of a Kafka record in binary or structured mode."""
        attributes = dict(headers)
        event_type = attributes.get("ce_type")
        if event_type is None:
            attributes = {name.lower(): content for name, content in headers}
            content_type = attributes.get("content-type") or b""
            if content_type.lower().startswith(b"application/cloudevents+json"):
                return self._structured(value)
            event_type = attributes.get("ce_type")
            if event_type is None:
                return DeadLetter("not_cloudevent", "no ce_type header, and not structured mode")
        kind = _KINDS_BY_HEADER.get(event_type)
        if kind is None:
            return DeadLetter("unknown_type", f"ce_type {event_type[:120]!r}")
        return self._envelope(kind, attributes, value)

    def _envelope(
        self, kind: str, attributes: Mapping[str, bytes | None], value: bytes | None
    ) -> Envelope | DeadLetter:
        if kind == REQUEST:
            # Counted as read and nothing else (rule 2), so nothing in it can be wrong.
            return _REQUEST
        get = attributes.get
        names = (
            get("ce_namespace"),
            get("ce_inferenceservicename"),
            get("ce_endpoint"),
            get("ce_modelid"),
        )
        key = self._keys.get(names)
        if key is None:
            made = _model_key(names)
            if isinstance(made, DeadLetter):
                return made
            if len(self._keys) > 10_000:
                self._keys.clear()
            key = self._keys[names] = made
        request_id = (
            get("ce_requestid") or get("requestid") or get("seldon-puid") or get("ce_id") or b""
        )
        if not request_id:
            return DeadLetter("no_id", "none of ce_requestid, requestid, seldon-puid, ce_id")
        if len(request_id) > MAX_ID_BYTES:
            return DeadLetter("bad_header", f"request id of {len(request_id)} bytes")
        time = get("ce_time")
        try:
            return Envelope(
                kind,
                key,
                request_id.decode(),
                time.decode() if time is not None else None,
                value or b"",
            )
        except UnicodeDecodeError:
            return DeadLetter("bad_header", "request id or ce_time is not UTF-8")

    def _structured(self, value: bytes | None) -> Envelope | DeadLetter:
        try:
            event = msgspec.json.decode(value or b"", type=dict[str, msgspec.Raw])
            attributes = {
                f"ce_{name}": _attribute(raw)
                for name, raw in event.items()
                if name not in ("data", "data_base64")
            }
            data = bytes(event.get("data") or b"")
            encoded = event.get("data_base64")
            if encoded is not None:
                data = base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
        except msgspec.DecodeError:
            return self._lenient(value or b"")
        except (binascii.Error, UnicodeDecodeError, RecursionError) as error:
            return DeadLetter("bad_json", f"structured event: {error}")
        return self._of_structured(attributes, data)

    def _lenient(self, value: bytes) -> Envelope | DeadLetter:
        """NaN in the data is no JSON, but the event round it can be read."""
        try:
            event = json.loads(value)
        except (ValueError, RecursionError) as error:
            return DeadLetter("bad_json", f"structured event: {str(error)[:200]}")
        if not isinstance(event, dict):
            return DeadLetter("not_cloudevent", "a structured event is a JSON object")
        attributes = {
            f"ce_{name}": str(content).encode("utf-8", "replace")
            for name, content in event.items()
            if name not in ("data", "data_base64") and content is not None
        }
        data = json.dumps(event["data"]).encode() if "data" in event else b""
        return self._of_structured(attributes, data)

    def _of_structured(
        self, attributes: Mapping[str, bytes | None], data: bytes
    ) -> Envelope | DeadLetter:
        event_type = attributes.get("ce_type")
        if not event_type:
            return DeadLetter("not_cloudevent", "a structured event without a type")
        kind = _KINDS_BY_HEADER.get(event_type)
        if kind is None:
            return DeadLetter("unknown_type", f"type {event_type[:120]!r}")
        return self._envelope(kind, attributes, data)


def _attribute(raw: msgspec.Raw) -> bytes | None:
    value = msgspec.json.decode(raw)
    return None if value is None else str(value).encode("utf-8", "replace")


def _model_key(names: tuple[bytes | None, ...]) -> ModelKey | DeadLetter:
    if not names[1]:
        return DeadLetter("bad_header", "no ce_inferenceservicename: which deployment is it?")
    try:
        texts = [(name or b"").decode() for name in names]
    except UnicodeDecodeError:
        return DeadLetter("bad_header", "a name of the model is not UTF-8")
    for text in texts:
        if len(text) > 253 or not text.isprintable():
            return DeadLetter("bad_header", f"{text[:60]!r} is no name of a model")
    return ModelKey(*texts)
