"""CloudEvents as Kafka carries them: the kind, model and request of an event (counting rule 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import (
    EXPLANATION,
    FAILED,
    KINDS,
    OTHER,
    REQUEST,
    RESPONSE,
    Attributes,
    BodyFormat,
    is_quoted,
    model_name,
    normalize,
    read_headers,
    request_id,
    resolve_format,
)
from processor.domain.events.compression import decompress
from processor.domain.events.dead_letters import printable
from processor.domain.events.payloads.bodies import read_identity
from processor.domain.events.payloads.places import CORE_2_ID, Places, plain_id
from processor.domain.events.raw_event import DeadLetter, Uncounted
from processor.domain.events.structured import (
    BATCH,
    PREFIX,
    STRUCTURED,
    read_structured,
    split_batch,
)
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules

#: Request ids of more bytes are refused; they also become keys.
MAX_ID_BYTES = 512
_MAX_NAME_CHARACTERS = 253
#: Model keys that a reader remembers.
_MAX_KEYS = 10_000


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """The attributes of an event that decide how it counts, and its body.

    ``time`` is RFC 3339 text, None if the event has none; ``body_format`` is None if the body is
    assumed to be plain JSON. ``by_rule`` says that the models file names where the request id or the
    predictor stands, so that another event with equal attributes can be of another request or model.
    """

    kind: str
    key: ModelKey
    request_id: str
    time: bytes | None
    data: bytes
    body_format: BodyFormat | None = None
    by_rule: bool = False


_REQUEST = Envelope(REQUEST, ModelKey("", "", "", ""), "", None, b"")


#: The headers of every event that Seldon's executor sends; the fast path needs all of them.
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
#: Attributes of a response that make it more than its type says: events with these are never read by
#: the positions of their headers.
_DECIDING = frozenset({"ce_statuscode", "ce_component"})

_QUOTE = ord('"')
#: The first HTTP status of an error.
_FIRST_ERROR = 400

Names = tuple[bytes | None, bytes | None, bytes | None, bytes | None]


class _Layout(NamedTuple):
    """The positions of the `_COMMON` headers, and the positions and names of all others."""

    common: tuple[int, ...]
    others: list[tuple[int, str]]


def read_event(
    headers: Sequence[tuple[str, bytes]], value: bytes | None
) -> tuple[Attributes, bytes | None] | list[bytes] | DeadLetter:
    """Read a record in any content mode.

    Returns the attributes of its event, named as in binary mode, and its data; for the batched
    mode, the structured events of the batch.
    """
    return _open(read_headers(headers), value)


def _open(
    attributes: dict[str, bytes | None], value: bytes | None
) -> tuple[Attributes, bytes | None] | list[bytes] | DeadLetter:
    content_type = attributes.get("content-type")
    if not content_type or content_type[: len(PREFIX)].lower() != PREFIX:
        attributes = normalize(attributes)
        if "ce_type" not in attributes:
            return DeadLetter(
                "not_cloudevent",
                "it has no header ce_type, is not a structured CloudEvent, and not a record of the "
                "executor's own log",
            )
        return attributes, value
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type not in (STRUCTURED, BATCH):
        name = media_type[:80].decode("utf-8", "replace")
        return DeadLetter("not_cloudevent", f"{name} is no JSON format of CloudEvents")
    data = decompress(value)
    if isinstance(data, DeadLetter):
        return data
    if media_type == BATCH:
        return split_batch(data)
    event = read_structured(data)
    return event if isinstance(event, DeadLetter) else (normalize(event[0]), event[1])


class EnvelopeReader:
    """Reads the envelopes of records.

    It remembers the keys of the models that it has seen, since their few names come with each
    event, and the positions of the headers, since most events of a source share them.
    """

    def __init__(self, rules: ModelRules) -> None:
        self._rules = rules
        self._keys: dict[Names, tuple[ModelKey, bool]] = {}
        self._layouts: dict[int, _Layout] = {}

    def invalidate(self) -> None:
        """Forget the models, since the rules have changed."""
        self._keys.clear()

    def __call__(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None
    ) -> Envelope | DeadLetter | Uncounted | list[bytes]:
        """Read the envelope of a record: by the positions of its headers if they are known, else
        with `read`."""
        layout = self._layouts.get(len(headers))
        if layout is not None:
            positions = layout.common
            type_header, event_type = headers[positions[0]]
            namespace_header, namespace = headers[positions[1]]
            deployment_header, deployment = headers[positions[2]]
            predictor_header, predictor = headers[positions[3]]
            model_header, model = headers[positions[4]]
            id_header, name = headers[positions[5]]
            time_header, time = headers[positions[6]]
            content_type_header, content_type = headers[positions[7]]
            if (
                type_header == "ce_type"
                and namespace_header == "ce_namespace"
                and deployment_header == "ce_inferenceservicename"
                and predictor_header == "ce_endpoint"
                and model_header == "ce_modelid"
                and id_header == "ce_requestid"
                and time_header == "ce_time"
                and content_type_header == "content-type"
                and content_type == _JSON
            ):
                for position, other in layout.others:
                    header, content = headers[position]
                    if header != other or (content and content[0] == _QUOTE):
                        break  # it may repeat one of the common headers
                else:
                    kind = KINDS.get(event_type)
                    known = self._keys.get((namespace, deployment, predictor, model))
                    if kind is not None and known is not None and name and not known[1]:
                        return _envelope(kind, known[0], name, time, value)
        return self.read(headers, value)

    def read(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, resolve: bool = False
    ) -> Envelope | DeadLetter | Uncounted | list[bytes]:
        """Read the envelope of a record in any content mode; for the batched mode, return its
        structured events. With ``resolve``, the body's format is always resolved, whatever the
        content type says."""
        attributes = read_headers(headers)
        event = _open(attributes, value)
        if isinstance(event, (DeadLetter, list)):
            return event
        self._add_layout(headers, attributes)
        return self._read(*event, resolve)

    def _add_layout(self, headers: Sequence[tuple[str, bytes]], attributes: Attributes) -> None:
        """Remember the positions of the headers of an event that has each common one once."""
        if (
            len(attributes) == len(headers)
            and all(map(attributes.__contains__, _COMMON))
            and _DECIDING.isdisjoint(attributes)
        ):
            names = [name for name, _ in headers]
            try:
                positions = tuple(map(names.index, _COMMON))
            except ValueError:  # a name was not sent in lower case
                return
            others = [each for each in enumerate(names) if each[1] not in _COMMON]
            self._layouts[len(names)] = _Layout(positions, others)

    def _read(
        self, attributes: Attributes, value: bytes | None, resolve: bool
    ) -> Envelope | DeadLetter | Uncounted:
        get = attributes.get
        event_type = get("ce_type")
        if not event_type:
            return DeadLetter("not_cloudevent", "an event without a type")
        kind = KINDS.get(event_type)
        if kind == REQUEST:
            return _REQUEST
        decided = verdict(kind, attributes)
        if decided is not None:
            return decided
        assert kind is not None
        names = (
            get("ce_namespace"),
            get("ce_inferenceservicename"),
            get("ce_endpoint"),
            model_name(attributes),
        )
        known = self._keys.get(names) or self._add_key(names)
        if isinstance(known, DeadLetter):
            return known
        key, by_rule = known
        if by_rule:
            return _by_rule(kind, key, self._rules, attributes, value)
        is_plain = get("content-type") == _JSON and "content-encoding" not in attributes
        body_format = resolve_format(attributes) if resolve or not is_plain else None
        return _envelope(kind, key, request_id(attributes), get("ce_time"), value, body_format)

    def _add_key(self, names: Names) -> tuple[ModelKey, bool] | DeadLetter:
        """Remember the key of a model, with whether the models file says where its request id or its
        predictor stands."""
        key = _model_key(names)
        if isinstance(key, DeadLetter):
            return key
        if len(self._keys) > _MAX_KEYS:
            self._keys.clear()
        rules = self._rules
        by_rule = bool(rules(key).request_id or rules.predictor_place(key))
        found = self._keys[names] = (key, by_rule)
        return found


def verdict(kind: str | None, attributes: Attributes) -> DeadLetter | Uncounted | None:
    """Return the verdict on an event that its attributes alone decide, None if they do not."""
    get = attributes.get
    if kind is None and (get("ce_type") or b"").strip(b'"') not in KINDS:
        return Uncounted(OTHER)
    for name in ("ce_type", "ce_specversion"):
        text = get(name)
        if is_quoted(text):
            detail = (
                f"{name} {printable(text or b'', 120)} is in quotes: send the text without them"
            )
            return DeadLetter("bad_header", detail)
    if kind == RESPONSE:
        status = get("ce_statuscode") or b""
        if status.isdigit() and len(status) < 10 and int(status) >= _FIRST_ERROR:
            return Uncounted(FAILED)
        if get("ce_component") == b"explainer":
            return Uncounted(EXPLANATION)
    return None


def _by_rule(
    kind: str, key: ModelKey, rules: ModelRules, attributes: Attributes, value: bytes | None
) -> Envelope | DeadLetter:
    """Return the envelope of an event whose models file says where its request id or its predictor
    stands (counting rules 1 and 2)."""
    body_format = resolve_format(attributes)
    data = decompress(value)
    if isinstance(data, DeadLetter):
        return data
    places = Places(attributes, read_identity(data, body_format))
    try:
        place = rules.predictor_place(key)
        if place:
            found = places.find(place)
            if found is not None:
                key = key._replace(predictor=found)
                renamed = _model_key(_names(key))
                if isinstance(renamed, DeadLetter):
                    return renamed
        name, rule = request_id(attributes), rules(key)
        if rule.request_id:
            text = places.find(rule.request_id)
            if text is None and kind == RESPONSE:
                # The usual id can be of another kind, and would find no feedback.
                detail = f"the models file says request_id: {rule.request_id}, and there is none"
                return DeadLetter("no_id", detail)
            name = name if text is None else text.encode()
            if rule.request_id.lower() == CORE_2_ID:
                name = plain_id(name, key.deployment)
    except ValueError as error:
        return DeadLetter("bad_header", str(error))
    envelope = _envelope(kind, key, name, attributes.get("ce_time"), data, body_format)
    if isinstance(envelope, DeadLetter):
        return envelope
    return msgspec.structs.replace(envelope, by_rule=True)


def _names(key: ModelKey) -> Names:
    namespace, deployment, predictor, model = (name.encode() for name in key)
    return namespace, deployment, predictor, model


def _envelope(
    kind: str,
    key: ModelKey,
    name: bytes,
    time: bytes | None,
    value: bytes | None,
    body_format: BodyFormat | None = None,
) -> Envelope | DeadLetter:
    if kind == REQUEST:
        # Requests are only counted as read (rule 2), so nothing in them can be wrong.
        return _REQUEST
    if not name:
        return DeadLetter("no_id", "none of ce_requestid, requestid, seldon-puid, ce_id")
    if len(name) > MAX_ID_BYTES:
        return DeadLetter("bad_header", f"request id of {len(name)} bytes")
    if body_format is not None:
        data = decompress(value)
        if isinstance(data, DeadLetter):
            return data
        value = data
    try:
        return Envelope(kind, key, name.decode(), time, value or b"", body_format)
    except UnicodeDecodeError:
        return DeadLetter("bad_header", "the request id is not UTF-8")


def _model_key(names: Names) -> ModelKey | DeadLetter:
    if not names[1]:
        return DeadLetter("bad_header", "no ce_inferenceservicename: which deployment is it?")
    try:
        texts = [(name or b"").decode() for name in names]
    except UnicodeDecodeError:
        return DeadLetter("bad_header", "a name of the model is not UTF-8")
    for text in texts:
        if is_quoted(text.encode()):
            detail = f"{text[:60]} is in quotes: send the name of the model without them"
            return DeadLetter("bad_header", detail)
        if len(text) > _MAX_NAME_CHARACTERS or not text.isprintable():
            return DeadLetter("bad_header", f"{text[:60]!r} is no name of a model")
    return ModelKey(*texts)
