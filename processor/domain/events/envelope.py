"""CloudEvents as Kafka carries them: which event, of which request and model (counting rule 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import (
    WRAPPED,
    Attributes,
    BodyFormat,
    component,
    resolve_format,
    unwrapped,
)
from processor.domain.events.compression import decompress
from processor.domain.events.dead_letters import printable
from processor.domain.events.raw_event import DeadLetter
from processor.domain.events.structured import (
    BATCH,
    PREFIX,
    STRUCTURED,
    read_structured,
    split_batch,
)
from processor.domain.model_key import ModelKey

RESPONSE, REQUEST, FEEDBACK = "response", "request", "feedback"

KINDS = {
    f"{vendor}.serving.{name}": kind
    for vendor in ("io.seldon", "org.kubeflow")
    for name, kind in (
        ("inference.response", RESPONSE),
        ("inference.request", REQUEST),
        ("feedback", FEEDBACK),
    )
}
_KINDS_BY_HEADER = {name.encode(): kind for name, kind in KINDS.items()}

#: Longer identifiers would not be one; they also become labels and keys.
MAX_ID_BYTES = 512


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """An event's attributes that count. ``time`` is RFC 3339 text, None where the event has none;
    ``body_format`` is None where the body is taken for plain JSON without a closer look."""

    kind: str
    key: ModelKey
    request_id: str
    time: bytes | None
    data: bytes
    body_format: BodyFormat | None = None


_REQUEST = Envelope(REQUEST, ModelKey("", "", "", ""), "", None, b"")


#: What makes the fast path: the headers of every event that Seldon's executor sends.
_COMMON = (
    "ce_type",
    "ce_namespace",
    "ce_inferenceservicename",
    "ce_endpoint",
    "ce_modelid",
    "ce_requestid",
    "ce_time",
    "content-type",
)

_JSON = b"application/json"

Names = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


class _Layout(NamedTuple):
    """Where the headers of `_COMMON` are, and where which others."""

    common: tuple[int, ...]
    others: list[tuple[int, str]]


class EnvelopeReader:
    """Reads headers; remembers the models that it has seen, since their names come with each event
    and there are few, and where the headers were, since they are mostly there again."""

    def __init__(self) -> None:
        self._keys: dict[Names, ModelKey] = {}
        self._layouts: dict[int, _Layout] = {}

    def __call__(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None
    ) -> Envelope | DeadLetter | list[bytes]:
        """The envelope of a Kafka record after a quick look; what that can't do, `read` does."""
        layout = self._layouts.get(len(headers))
        if layout is not None:
            places = layout.common
            type_name, event_type = headers[places[0]]
            namespace_name, namespace = headers[places[1]]
            deployment_name, deployment = headers[places[2]]
            predictor_name, predictor = headers[places[3]]
            model_name, model = headers[places[4]]
            id_name, request_id = headers[places[5]]
            time_name, time = headers[places[6]]
            content_type_name, content_type = headers[places[7]]
            if (
                type_name == "ce_type"
                and namespace_name == "ce_namespace"
                and deployment_name == "ce_inferenceservicename"
                and predictor_name == "ce_endpoint"
                and model_name == "ce_modelid"
                and id_name == "ce_requestid"
                and time_name == "ce_time"
                and content_type_name == "content-type"
                and content_type == _JSON
            ):
                for place, name in layout.others:
                    if headers[place][0] != name:
                        break  # it may say one of these once more
                else:
                    kind = _KINDS_BY_HEADER.get(event_type)
                    if kind is not None and request_id and model:
                        names = (namespace, deployment, predictor, model)
                        return self._envelope(kind, names, request_id, time, value)
        return self.read(headers, value)

    def read(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, whole: bool = False
    ) -> Envelope | DeadLetter | list[bytes]:
        """The envelope of a Kafka record in any mode; the structured events of one in batched
        mode. ``whole``: with its form, whatever its content type says."""
        attributes = dict(headers)
        as_sent = "content-type" in attributes and ("ce_type" in attributes or "type" in attributes)
        if not as_sent:
            attributes = {name.lower(): content for name, content in headers} | attributes
        content_type = attributes.get("content-type")
        if content_type and content_type[: len(PREFIX)].lower() == PREFIX:
            return self._enclosed(content_type.partition(b";")[0].strip().lower(), value, whole)
        if "ce_type" in attributes:
            if (
                as_sent
                and len(attributes) == len(headers)
                and all(map(attributes.__contains__, _COMMON))
            ):
                names = [name for name, _ in headers]
                others = [each for each in enumerate(names) if each[1] not in _COMMON]
                self._layouts[len(names)] = _Layout(tuple(map(names.index, _COMMON)), others)
            return self._of(attributes, value, whole)
        if attributes.get("type") in _KINDS_BY_HEADER:
            return self._plain(attributes, value, whole)
        return DeadLetter(
            "not_cloudevent",
            "it has no header ce_type, is not a structured CloudEvent, and not a record of the "
            "executor's own log",
        )

    def _enclosed(
        self, media_type: bytes, value: bytes | None, whole: bool
    ) -> Envelope | DeadLetter | list[bytes]:
        if media_type not in (STRUCTURED, BATCH):
            kind = media_type[:80].decode("utf-8", "replace")
            return DeadLetter("not_cloudevent", f"{kind} is no JSON format of CloudEvents")
        data = decompress(value)
        if isinstance(data, DeadLetter):
            return data
        if media_type == BATCH:
            return split_batch(data)
        event = read_structured(data)
        return event if isinstance(event, DeadLetter) else self._of(*event, whole)

    def _of(
        self, attributes: Attributes, value: bytes | None, whole: bool
    ) -> Envelope | DeadLetter:
        """Of a CloudEvent in binary mode."""
        get = attributes.get
        event_type = get("ce_type")
        if not event_type:
            return DeadLetter("not_cloudevent", "an event without a type")
        kind = _KINDS_BY_HEADER.get(event_type)
        if kind is None:
            if event_type == WRAPPED:
                wrapped = unwrapped(attributes)
                if wrapped.get("type") in _KINDS_BY_HEADER:
                    return self._plain(wrapped, value, whole)
            return DeadLetter("unknown_type", f"type '{printable(event_type, 120)}'")
        names = (
            get("ce_namespace"),
            get("ce_inferenceservicename"),
            get("ce_endpoint"),
            get("ce_modelid") or component(get("ce_component")),
        )
        request_id = (
            get("ce_requestid") or get("requestid") or get("seldon-puid") or get("ce_id") or b""
        )
        shape = (
            resolve_format(attributes, event_type) if whole or not _is_plain(attributes) else None
        )
        return self._envelope(kind, names, request_id, get("ce_time"), value, shape)

    def _plain(
        self, attributes: Attributes, value: bytes | None, whole: bool
    ) -> Envelope | DeadLetter:
        """Of a record that the executor logged by itself: it is no CloudEvent, so it has no id."""
        get = attributes.get
        event_type = get("type") or b""
        names = (
            get("namespace"),
            get("inferenceservicename"),
            get("endpoint"),
            get("modelid"),
        )
        request_id = get("requestid") or get("seldon-puid") or b""
        shape = (
            resolve_format(attributes, event_type) if whole or not _is_plain(attributes) else None
        )
        return self._envelope(
            _KINDS_BY_HEADER[event_type], names, request_id, get("ce_time"), value, shape
        )

    def _envelope(
        self,
        kind: str,
        names: Names,
        request_id: bytes,
        time: bytes | None,
        value: bytes | None,
        body_format: BodyFormat | None = None,
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
        if body_format is not None:
            data = decompress(value)
            if isinstance(data, DeadLetter):
                return data
            value = data
        try:
            return Envelope(kind, key, request_id.decode(), time, value or b"", body_format)
        except UnicodeDecodeError:
            return DeadLetter("bad_header", "the request id is not UTF-8")


def _is_plain(attributes: Attributes) -> bool:
    """Whether the body is JSON for all that the headers say, as nearly all are."""
    return attributes.get("content-type") == _JSON and "content-encoding" not in attributes


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
