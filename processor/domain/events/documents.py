"""Documents of Seldon's request logger to observations (counting rule 14).

The logger merges the events of a request into a document, so a document is read as the events that it
still shows: each goes the way of an event, and what it says has an event's digest.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import FEEDBACK, REQUEST, RESPONSE
from processor.domain.events.common_documents import (
    CommonDocument,
    Key,
    feedback_key,
    prediction_key,
    read_common,
)
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import Batch, DeadLetter
from processor.domain.events.raw_json import members
from processor.domain.log.observations import DOCUMENT, Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import TimeParser
from processor.telemetry import Telemetry

#: The parts of a document's ``_source`` that count: the rest, inputs mostly, may be left out or not.
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
#: Different answers and feedbacks that are remembered.
_CONTENTS = 10_000
#: How many batches are remembered: their documents were written together, so they are read together.
_BATCHES = 10_000
_NO_TIME = -1


class Document(msgspec.Struct, frozen=True, gc=False):
    """A document as the archive gives it: ``source`` is its ``_source`` as JSON text."""

    index: str
    id: str
    seq_no: int
    source: bytes


class _Meta(msgspec.Struct, gc=False):
    path: dict[str, msgspec.Raw] | None = msgspec.field(name="requestPath", default=None)


class _Payload(msgspec.Struct, gc=False):
    meta: _Meta | None = None


_read_path = msgspec.json.Decoder(_Payload).decode

Decoded = Prediction | Feedback | DeadLetter
#: A batch of items that were answered together: whose it is, and when.
BatchKey = tuple[bytes | None, ...]


class DocumentReader:
    """Understands documents one by one and counts what it sees in ``telemetry``.

    One reader should see all documents of a replay or bootstrap: it skips the copies of a batch.
    """

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.decoder = Decoder(rules, telemetry)
        self._telemetry = telemetry
        self._time = TimeParser()
        self._batches: dict[BatchKey, None] = {}
        self.batches_read = 0
        """Batches whose first document was read."""
        self._predictions: dict[Key, Prediction] = {}
        self._feedbacks: dict[Key, Feedback] = {}
        rules.listeners.add(self)

    def invalidate(self) -> None:
        """Read anew what was read before: the rules have changed."""
        self._predictions.clear()
        self._feedbacks.clear()

    def newest_batches(self, number: int) -> list[BatchKey]:
        """The last so many batches whose copies are skipped."""
        return list(islice(reversed(self._batches), number))[::-1]

    def remember_batches(self, batches: Iterable[BatchKey]) -> None:
        """Skip the copies of these, as if their first documents had been read here."""
        for batch in batches:
            self.batches_read += 1
            self._batches[batch] = None
            if len(self._batches) > _BATCHES:
                del self._batches[next(iter(self._batches))]

    def read(self, document: Document) -> list[Decoded]:
        """What a document says: a weak prediction, a feedback, dead letters; or nothing."""
        common = read_common(document.id, document.source)
        if common is None:
            return self._read(document)
        said = self._read_by_template(common)
        if said is None:
            not_scorable = self._telemetry.not_scorable
            before = not_scorable.total()
            said = self._read(document)
            # Items without a label are counted one by one.
            if not_scorable.total() == before:
                self._remember(common, said)
        return said

    def _read_by_template(self, common: CommonDocument) -> list[Decoded] | None:
        """What it says if all but its request and times was said before: nearly all documents."""
        made = self._predictions.get(prediction_key(common))
        time = self._time(common.response.time.encode())
        if made is None or time is None:
            return None
        model, _, _, _, content, answers, _ = made
        said: list[Decoded] = [
            Prediction(model, common.request_id, time, DOCUMENT, content, answers, True)
        ]
        if common.feedback is not None:
            key = feedback_key(common, common.feedback)
            judged = None if key is None else self._feedbacks.get(key)
            when = self._time(common.feedback.time.encode())
            if judged is None or when is None:
                return None
            said.append(judged._replace(request_id=common.request_id, time=when))
            self._telemetry.events[FEEDBACK] += 1
        self._telemetry.events[RESPONSE] += 1
        return said

    def _remember(self, common: CommonDocument, said: list[Decoded]) -> None:
        if len(self._predictions) + len(self._feedbacks) > _CONTENTS:
            self.invalidate()
        for one in said:
            if isinstance(one, Prediction):
                self._predictions[prediction_key(common)] = one
            elif isinstance(one, Feedback) and common.feedback is not None:
                key = feedback_key(common, common.feedback)
                if key is not None:
                    self._feedbacks[key] = one

    def _read(self, document: Document) -> list[Decoded]:
        try:
            source = _members(document.source, "document")
            parts = [source.get(name) for name in ("response", "feedback")]
            response, feedback = (None if part == b"null" else part for part in parts)
            if response is None and feedback is None:
                if "request" not in source:
                    raise _WrongError("unknown_type", "neither request, response nor feedback")
                # Its response was lost or never came: a request alone is only counted (rule 2).
                self._telemetry.events[REQUEST] += 1
                return []
            origin = _origin(source)
        except _FAULTS as error:
            return [self._dead(error)]
        said: list[Decoded] = []
        if response is not None:
            try:
                part = _members(response, "response")
                payload = part.get("payload", b"{}")
                origin = origin._replace(node=_only_node(payload) or origin.node)
                said += self._predict(document.id, payload, _time(part, source), origin)
            except _FAULTS as error:
                said.append(self._dead(error))
        if feedback is not None:
            try:
                time = _time(_members(feedback, "feedback"), source)
                said += self._decode(_FEEDBACK, feedback, time, origin)
            except _FAULTS as error:
                said.append(self._dead(error))
        return said

    def _predict(
        self, name: str, payload: bytes, time: "_Time", origin: "_Origin"
    ) -> list[Decoded]:
        """The prediction, unless it is a batch's and another of its documents gave it."""
        batch = None
        if name.encode("utf-8", "replace").startswith(origin.request_id + b"-item-"):
            batch = (*origin, *time)
            if batch in self._batches:
                return []
        said = self._decode(_RESPONSE, payload, time, origin)
        if batch is not None and said and isinstance(said[0], Prediction):
            self.remember_batches((batch,))
        return said

    def _dead(self, error: Exception) -> DeadLetter:
        reason = error.reason if isinstance(error, _WrongError) else "bad_json"
        return self.decoder.dead(DeadLetter(reason, f"archive's document: {str(error)[:200]}"))

    def _decode(
        self, event_type: bytes, body: bytes, time: "_Time", origin: "_Origin"
    ) -> list[Decoded]:
        """The event that a part of a document was; none where there is nothing to keep."""
        headers = [
            ("ce_type", event_type),
            ("ce_namespace", origin.namespace or b""),
            ("ce_inferenceservicename", origin.deployment or b""),
            ("ce_endpoint", origin.predictor or b""),
            ("ce_modelid", origin.node or b""),
            ("ce_requestid", origin.request_id),
        ]
        stamp = _NO_TIME
        if time.own is not None:
            headers.append(("ce_time", time.own))
        elif time.document is not None:
            # The document's time stands in as a record's does (rule 13).
            parsed = self._time(time.document)
            stamp = _NO_TIME if parsed is None else parsed
        said = self.decoder.decode(headers, body, stamp)
        if said is None or isinstance(said, Batch):  # no part of a document is a batch
            return []
        if isinstance(said, Prediction):
            model, request, when, _, content, answers, _ = said
            return [Prediction(model, request, when, DOCUMENT, content, answers, True)]
        if isinstance(said, Feedback):
            return [said._replace(source_rank=DOCUMENT)]
        return [said]


class _Origin(NamedTuple):
    """Whose a document is."""

    request_id: bytes
    namespace: bytes | None
    deployment: bytes | None
    predictor: bytes | None
    node: bytes | None


class _Time(NamedTuple):
    """A part's own time, else the document's, as text."""

    own: bytes | None
    document: bytes | None


class _WrongError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_FAULTS = (_WrongError, ValueError, RecursionError)


def _members(text: bytes, what: str) -> dict[str, bytes]:
    if text[:1] not in (b"{", b" ", b""):
        raise _WrongError("bad_shape", f"{what} is no object")
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
    return _Time(own, _text(source, "@timestamp") if own is None else None)


def _text(part: dict[str, bytes], name: str) -> bytes | None:
    """A string's text in UTF-8; None where the part has none."""
    raw = part.get(name)
    if raw is None or raw == b"null":
        return None
    if raw[:1] != b'"':
        raise _WrongError("bad_header", f"{name} is no string: {raw[:60].decode(errors='replace')}")
    if b"\\" not in raw:
        return raw[1:-1]
    # Half a character that JSON can escape makes bytes that are no UTF-8; the decoder says so.
    return str(json.loads(raw)).encode("utf-8", "surrogatepass")


def _only_node(payload: bytes) -> bytes | None:
    """The node that answered, where the payload names just one."""
    try:
        meta = _read_path(payload).meta
        path = meta.path if meta is not None else None
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            meta_text = members(payload).get("meta", b"{}")
            path = dict.fromkeys(members(members(meta_text).get("requestPath", b"{}")), _NOTHING)
        except ValueError:
            return None
    if path is None or len(path) != 1:
        return None
    return next(iter(path)).encode("utf-8", "surrogatepass")


_NOTHING = msgspec.Raw(b"")
