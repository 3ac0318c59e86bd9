"""Documents of Seldon's request logger to observations (counting rule 14).

The logger merges the events of a request into a document, so a document is read as the events that it
still shows: each is decoded as an event, and its observation has an event's digest.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import FEEDBACK, OTHER, REQUEST, RESPONSE
from processor.domain.events.common_documents import (
    CommonDocument,
    Key,
    feedback_key,
    prediction_key,
    read_common,
)
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.raw_json import members
from processor.domain.log.observations import DOCUMENT, Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import TimeParser, is_zero_time
from processor.telemetry import Telemetry

#: The members of a document's ``_source`` that count; the others, inputs mostly, may be left out.
SOURCE_FIELDS = (
    "RequestId",
    "Ce-Namespace",
    "Ce-Inferenceservicename",
    "Ce-Endpoint",
    "Ce-Modelid",
    "@timestamp",
    "request.ce-time",
    "request.dataType",
    "response.ce-time",
    "response.payload",
    "feedback.ce-time",
    "feedback.reward",
    "feedback.truth",
)

_RESPONSE = b"io.seldon.serving.inference.response"
_FEEDBACK = b"io.seldon.serving.feedback"
#: The most different answers and feedbacks that are remembered.
_MAX_CONTENTS = 10_000
#: The most batches that are remembered: their documents were written together, so they are read
#: together.
_MAX_BATCHES = 10_000
_NO_TIME = -1


class Document(msgspec.Struct, frozen=True, gc=False):
    """A document as the archive returns it; ``source`` is its ``_source`` as JSON text."""

    index: str
    id: str
    seq_no: int
    source: bytes


class _Meta(msgspec.Struct, gc=False):
    path: dict[str, msgspec.Raw] | None = msgspec.field(name="requestPath", default=None)


class _Payload(msgspec.Struct, gc=False):
    meta: _Meta | None = None


_read_path = msgspec.json.Decoder(_Payload).decode

#: A batch of items that were answered together: the request and model, and the time.
BatchKey = tuple[bytes | None, ...]


class DocumentReader:
    """Decodes documents one by one and counts them in ``telemetry``.

    One reader should see all documents of a replay or bootstrap: it skips the copies of a batch.
    """

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.decoder = Decoder(rules, telemetry)
        self._telemetry = telemetry
        self._time = TimeParser()
        self._batches: dict[BatchKey, None] = {}
        self.batches_read = 0
        """The number of batches whose first document was read."""
        self._predictions: dict[Key, Prediction] = {}
        self._feedbacks: dict[Key, Feedback] = {}
        rules.listeners.add(self)

    def invalidate(self) -> None:
        """Forget all templates, since the rules have changed."""
        self._predictions.clear()
        self._feedbacks.clear()

    def newest_batches(self, number: int) -> list[BatchKey]:
        """Return the newest ``number`` batches whose copies are skipped, oldest first."""
        return list(islice(reversed(self._batches), number))[::-1]

    def remember_batches(self, batches: Iterable[BatchKey]) -> None:
        """Skip the copies of these batches, as if their first documents had been read here."""
        for batch in batches:
            self.batches_read += 1
            self._batches[batch] = None
            if len(self._batches) > _MAX_BATCHES:
                del self._batches[next(iter(self._batches))]

    def read(self, document: Document) -> Decoded:
        """Decode a document: at most a provisional prediction and a feedback, in this order.

        The event of a dead letter has the document as its value.
        """
        common = read_common(document.id, document.source)
        if common is None:
            return self._read(document)
        decoded = self._read_by_template(common)
        if decoded is None:
            decoded = self._read(document)
            if decoded.repeats:
                self._add_templates(common, decoded)
        return decoded

    def _read_by_template(self, common: CommonDocument) -> Decoded | None:
        """Decode a document, as nearly all are, that differs from earlier ones only in its request and
        times; None for any other."""
        template = self._predictions.get(prediction_key(common))
        time = self._time(common.response.time.encode())
        if template is None or time is None:
            return None
        prediction = template._replace(request_id=common.request_id, time=time)
        observations: tuple[Prediction | Feedback, ...] = (prediction,)
        if common.feedback is not None:
            key = feedback_key(common, common.feedback)
            feedback = None if key is None else self._feedbacks.get(key)
            feedback_at = self._time(common.feedback.time.encode())
            if feedback is None or feedback_at is None:
                return None
            judged = feedback._replace(request_id=common.request_id, time=feedback_at)
            observations = (prediction, judged)
            self._telemetry.events[FEEDBACK] += 1
        self._telemetry.events[RESPONSE] += 1
        return Decoded(observations, (), True)

    def _add_templates(self, common: CommonDocument, decoded: Decoded) -> None:
        if len(self._predictions) + len(self._feedbacks) > _MAX_CONTENTS:
            self.invalidate()
        for observation in decoded.observations:
            if isinstance(observation, Prediction):
                self._predictions[prediction_key(common)] = observation
            elif common.feedback is not None:
                key = feedback_key(common, common.feedback)
                if key is not None:
                    self._feedbacks[key] = observation

    def _read(self, document: Document) -> Decoded:
        try:
            source = _members(document.source, "document")
            parts = [source.get(name) for name in ("response", "feedback")]
            response, feedback = (None if part == b"null" else part for part in parts)
            if response is None and feedback is None:
                # A request whose response was lost or never came is only counted (rule 2), and so is a
                # document of something else, such as an outlier (rule 23).
                self._telemetry.events[REQUEST if "request" in source else OTHER] += 1
                return Decoded()
            origin = _origin(source)
        except _FAULTS as error:
            return self._dead_letter(document, error)
        decoded: list[Decoded] = []
        if response is not None:
            try:
                part = _members(response, "response")
                payload = part.get("payload", b"{}")
                origin = origin._replace(node=_only_node(payload) or origin.node)
                decoded.append(self._response(document, payload, _time(part, source), origin))
            except _FAULTS as error:
                decoded.append(self._dead_letter(document, error))
        if feedback is not None:
            try:
                time = _time(_members(feedback, "feedback"), source)
                decoded.append(self._decode(document, _FEEDBACK, feedback, time, origin))
            except _FAULTS as error:
                decoded.append(self._dead_letter(document, error))
        return decoded[0] if len(decoded) == 1 else _both(*decoded)

    def _response(
        self, document: Document, payload: bytes, time: "_Time", origin: "_Origin"
    ) -> Decoded:
        """Decode a response, unless it is a batch's and another of its documents was decoded."""
        batch = None
        if document.id.encode("utf-8", "replace").startswith(origin.request_id + b"-item-"):
            batch = (*origin, *time)
            if batch in self._batches:
                return Decoded()
        decoded = self._decode(document, _RESPONSE, payload, time, origin)
        if batch is not None and decoded.observations:
            self.remember_batches((batch,))
        return decoded

    def _dead_letter(self, document: Document, error: Exception) -> Decoded:
        reason = error.reason if isinstance(error, _WrongError) else "bad_json"
        letter = DeadLetter(reason, f"archive's document: {str(error)[:200]}")
        self.decoder.count_dead_letter(letter)
        return _failed(document, letter)

    def _decode(
        self, document: Document, event_type: bytes, body: bytes, time: "_Time", origin: "_Origin"
    ) -> Decoded:
        """Decode the event that a part of a document was."""
        headers = [
            ("ce_type", event_type),
            ("ce_namespace", origin.namespace or b""),
            ("ce_inferenceservicename", origin.deployment or b""),
            ("ce_endpoint", origin.predictor or b""),
            ("ce_modelid", origin.node or b""),
            ("ce_requestid", origin.request_id),
        ]
        timestamp = _NO_TIME
        if time.own is not None:
            headers.append(("ce_time", time.own))
        elif time.document is not None:
            # The document's time stands in as a record's does (rule 13).
            parsed = self._time(time.document)
            timestamp = _NO_TIME if parsed is None else parsed
        decoded = self.decoder.decode(headers, body, timestamp)
        if decoded.dead_letter is not None:
            return _failed(document, decoded.dead_letter)
        observations = tuple(map(_as_document, decoded.observations))
        return Decoded(observations, (), decoded.reusable)


def _as_document(observation: Prediction | Feedback) -> Prediction | Feedback:
    if isinstance(observation, Prediction):
        return observation._replace(source_rank=DOCUMENT, provisional=True)
    return observation._replace(source_rank=DOCUMENT)


def _failed(document: Document, letter: DeadLetter) -> Decoded:
    return Decoded((), ((RawEvent((), document.source, _NO_TIME), letter),))


def _both(response: Decoded, feedback: Decoded) -> Decoded:
    return Decoded(
        response.observations + feedback.observations,
        response.dead_letters + feedback.dead_letters,
        response.reusable and feedback.reusable,
    )


class _Origin(NamedTuple):
    """The request and the model of a document."""

    request_id: bytes
    namespace: bytes | None
    deployment: bytes | None
    predictor: bytes | None
    node: bytes | None


class _Time(NamedTuple):
    """The time of a part as text: its own, else the document's."""

    own: bytes | None
    document: bytes | None


class _WrongError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_FAULTS = (_WrongError, ValueError, RecursionError)


def _members(text: bytes, name: str) -> dict[str, bytes]:
    if text[:1] not in (b"{", b" ", b""):
        raise _WrongError("bad_shape", f"{name} is no object")
    return members(text)


def _origin(source: dict[str, bytes]) -> _Origin:
    request_id = _text(source, "RequestId")
    if not request_id:
        raise _WrongError("no_id", "no RequestId")
    return _Origin(
        request_id,
        _text(source, "Ce-Namespace"),
        _text(source, "Ce-Inferenceservicename"),
        _text(source, "Ce-Endpoint"),
        _text(source, "Ce-Modelid"),
    )


def _time(part: dict[str, bytes], source: dict[str, bytes]) -> _Time:
    own = _text(part, "ce-time")
    if own is not None and is_zero_time(own):
        own = None
    return _Time(own, _text(source, "@timestamp") if own is None else None)


def _text(part: dict[str, bytes], name: str) -> bytes | None:
    """Return a member's text in UTF-8, None if the part does not have it."""
    raw = part.get(name)
    if raw is None or raw == b"null":
        return None
    if raw[:1] != b'"':
        raise _WrongError("bad_header", f"{name} is no string: {raw[:60].decode(errors='replace')}")
    if b"\\" not in raw:
        return raw[1:-1]
    # JSON can escape half of a character; the decoder refuses its bytes, which are not UTF-8.
    return str(json.loads(raw)).encode("utf-8", "surrogatepass")


def _only_node(payload: bytes) -> bytes | None:
    """Return the node that answered, None if the payload does not name exactly one."""
    try:
        meta = _read_path(payload).meta
        path = meta.path if meta is not None else None
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            meta_text = members(payload).get("meta", b"{}")
            path = dict.fromkeys(
                members(members(meta_text).get("requestPath", b"{}")), msgspec.Raw(b"")
            )
        except ValueError:
            return None
    if path is None or len(path) != 1:
        return None
    return next(iter(path)).encode("utf-8", "surrogatepass")
