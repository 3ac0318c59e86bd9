"""CloudEvents as Kafka carries them: which event, of which request and model (counting rule 2)."""

import base64
import json
from collections.abc import Mapping, Sequence

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


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """An event's attributes that count. ``time`` is RFC 3339 text, None where the event has none."""

    kind: str
    key: ModelKey
    request_id: str
    time: bytes | None
    data: bytes


_REQUEST = Envelope(REQUEST, ModelKey("", "", "", ""), "", None, b"")


#: What makes the fast path: the headers of every event that Seldon's executor sends.
_USUAL = (
    "ce_type",
    "ce_namespace",
    "ce_inferenceservicename",
    "ce_endpoint",
    "ce_modelid",
    "ce_requestid",
    "ce_time",
)

Names = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


class EnvelopeReader:
    """Reads headers; remembers the models that it has seen, since their names come with each event
    and there are few, and where the headers were, since they are mostly there again."""

    def __init__(self) -> None:
        self._keys: dict[Names, ModelKey] = {}
        self._size = -1
        self._places = (0,) * len(_USUAL)

    def __call__(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None
    ) -> Envelope | DeadLetter:
        """The envelope of a Kafka record in binary or structured mode."""
        if len(headers) == self._size:
            places = self._places
            type_name, event_type = headers[places[0]]
            namespace_name, namespace = headers[places[1]]
            deployment_name, deployment = headers[places[2]]
            predictor_name, predictor = headers[places[3]]
            model_name, model = headers[places[4]]
            id_name, request_id = headers[places[5]]
            time_name, time = headers[places[6]]
            if (
                type_name == "ce_type"
                and namespace_name == "ce_namespace"
                and deployment_name == "ce_inferenceservicename"
                and predictor_name == "ce_endpoint"
                and model_name == "ce_modelid"
                and id_name == "ce_requestid"
                and time_name == "ce_time"
            ):
                kind = _KINDS_BY_HEADER.get(event_type)
                if kind is not None and request_id:
                    names = (namespace, deployment, predictor, model)
                    return self._envelope(kind, names, request_id, time, value)
        return self._read(headers, value)

    def _read(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None
    ) -> Envelope | DeadLetter:
        attributes = dict(headers)
        if "ce_type" not in attributes:
            attributes = {name.lower(): content for name, content in headers}
            content_type = attributes.get("content-type") or b""
            if content_type.lower().startswith(b"application/cloudevents+json"):
                return self._structured(value)
            if "ce_type" not in attributes:
                return DeadLetter("not_cloudevent", "no ce_type header, and not structured mode")
        elif all(map(attributes.__contains__, _USUAL)) and len(attributes) == len(headers):
            names = [name for name, _ in headers]
            self._size, self._places = len(names), tuple(map(names.index, _USUAL))
        return self._of(attributes, value)

    def _of(
        self, attributes: Mapping[str, bytes | None], value: bytes | None
    ) -> Envelope | DeadLetter:
        get = attributes.get
        event_type = get("ce_type")
        if not event_type:
            return DeadLetter("not_cloudevent", "an event without a type")
        kind = _KINDS_BY_HEADER.get(event_type)
        if kind is None:
            return DeadLetter("unknown_type", f"type {event_type[:120]!r}")
        names = (
            get("ce_namespace"),
            get("ce_inferenceservicename"),
            get("ce_endpoint"),
            get("ce_modelid"),
        )
        request_id = (
            get("ce_requestid") or get("requestid") or get("seldon-puid") or get("ce_id") or b""
        )
        return self._envelope(kind, names, request_id, get("ce_time"), value)

    def _envelope(
        self,
        kind: str,
        names: Names,
        request_id: bytes,
        time: bytes | None,
        value: bytes | None,
    ) -> Envelope | DeadLetter:
        if kind == REQUEST:
            # Counted as read and nothing else (rule 2), so nothing in it can be wrong.
            return _REQUEST
        key = self._keys.get(names)
        if key is None:
            made = _model_key(names)
            if isinstance(made, DeadLetter):
                return made
            if len(self._keys) > 10_000:
                self._keys.clear()
            key = self._keys[names] = made
        if not request_id:
            return DeadLetter("no_id", "none of ce_requestid, requestid, seldon-puid, ce_id")
        if len(request_id) > MAX_ID_BYTES:
            return DeadLetter("bad_header", f"request id of {len(request_id)} bytes")
        try:
            return Envelope(kind, key, request_id.decode(), time, value or b"")
        except UnicodeDecodeError:
            return DeadLetter("bad_header", "the request id is not UTF-8")

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
        except (ValueError, RecursionError) as error:
            return DeadLetter("bad_json", f"structured event: {error}")
        return self._of(attributes, data)

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
        return self._of(attributes, data)


def _attribute(raw: msgspec.Raw) -> bytes | None:
    value = msgspec.json.decode(raw)
    return None if value is None else str(value).encode("utf-8", "replace")


def _model_key(names: Names) -> ModelKey | DeadLetter:
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
