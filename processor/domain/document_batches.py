"""Documents of the request logger to batches of observations, at speed.

As with lines of an events file (`event_lines`): a usual document that says what an earlier one said,
but for its request and times, is taken like that one; every other goes to `DocumentReader`.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from processor.domain.documents import Document, DocumentReader
from processor.domain.envelope import FEEDBACK, RESPONSE
from processor.domain.events import DeadLetter
from processor.domain.observations import (
    BatchBuilder,
    FeedbackRow,
    ObservationBatch,
    Prediction,
    PredictionRow,
)
from processor.domain.telemetry import Telemetry
from processor.domain.times import TimeParser
from processor.domain.usual import FAULTS, FOR_EVER, SHORT_ID, Data, Truth, reading

#: Contents that are remembered; also what a batch's tables hold at most, about.
_CONTENTS = 4000


class _Meta(msgspec.Struct, gc=False):
    path: dict[str, msgspec.Raw] | None = msgspec.field(name="requestPath", default=None)


class _Payload(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    data: Data
    meta: _Meta | None = None


class _Response(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    time: str = msgspec.field(name="ce-time")
    payload: _Payload


class _Feedback(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    time: str = msgspec.field(name="ce-time")
    reward: bool | int | float | None = None
    truth: Truth | None = None


class _Source(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Of the fields that are asked for (`SOURCE_FIELDS`)."""

    request_id: str = msgspec.field(name="RequestId")
    namespace: str = msgspec.field(name="Ce-Namespace")
    deployment: str = msgspec.field(name="Ce-Inferenceservicename")
    predictor: str = msgspec.field(name="Ce-Endpoint")
    model: str = msgspec.field(name="Ce-Modelid")
    response: _Response
    timestamp: Any = msgspec.field(name="@timestamp", default=None)
    request: msgspec.Raw = msgspec.Raw(b"")
    feedback: _Feedback | None = None


_decode = msgspec.json.Decoder(_Source).decode

#: Names of the model, those of the only node in the path among them; then what is said of it.
_Key = tuple[object, ...]


class DocumentBatches:
    """Reads documents; counts what it sees in ``telemetry``, which is the reader's too.

    What is later than ``as_of`` (ns) is read and left out of the batches.
    """

    def __init__(
        self, reader: DocumentReader, telemetry: Telemetry, as_of: int | None = None
    ) -> None:
        self._reader = reader
        self._telemetry = telemetry
        self._time = TimeParser()
        self._as_of = FOR_EVER if as_of is None else as_of
        self._forget()

    def _forget(self) -> None:
        self._builder = BatchBuilder()
        self._predictions: dict[_Key, PredictionRow] = {}
        self._feedbacks: dict[_Key, FeedbackRow] = {}

    def read(self, documents: Iterable[Document]) -> ObservationBatch:
        """What some documents say."""
        for document in documents:
            source = _usual(document)
            if source is None or not self._take_usual(source):
                self._take(document, source)
        batch = self._builder.build("", keep_tables=True)
        if len(self._predictions) + len(self._feedbacks) > _CONTENTS:
            self._forget()
        return batch

    def _take_usual(self, source: _Source) -> bool:
        """Take a document that says what an earlier one said; whether it is one."""
        row = self._predictions.get(_prediction_key(source))
        time = self._time(source.response.time.encode())
        if row is None or time is None:
            return False
        feedback, as_of, builder = source.feedback, self._as_of, self._builder
        if feedback is not None:
            key = _feedback_key(source, feedback)
            judged = None if key is None else self._feedbacks.get(key)
            when = self._time(feedback.time.encode())
            if judged is None or when is None:
                return False
            self._telemetry.events[FEEDBACK] += 1
            if when <= as_of:
                builder.feedbacks.append(
                    FeedbackRow(
                        source.request_id, judged.scope, when, judged.rank, judged.digest,
                        judged.truth, judged.reward,
                    )
                )  # fmt: skip
        self._telemetry.events[RESPONSE] += 1
        if time <= as_of:
            builder.predictions.append(
                PredictionRow(
                    source.request_id, row.model, time, row.rank, row.digest, row.answers, row.weak
                )
            )
        return True

    def _take(self, document: Document, source: _Source | None) -> None:
        """Take any document."""
        builder, not_scorable = self._builder, self._telemetry.not_scorable
        before = not_scorable.total()
        said = [one for one in self._reader.read(document) if not isinstance(one, DeadLetter)]
        # Items without a label are counted one by one.
        usual = source is not None and not_scorable.total() == before
        for one in said:
            builder.add(one)
            if isinstance(one, Prediction):
                if source is not None and usual:
                    self._predictions[_prediction_key(source)] = builder.predictions[-1]
                if one.time > self._as_of:
                    builder.predictions.pop()
            else:
                if source is not None and usual and source.feedback is not None:
                    key = _feedback_key(source, source.feedback)
                    if key is not None:
                        self._feedbacks[key] = builder.feedbacks[-1]
                if one.time > self._as_of:
                    builder.feedbacks.pop()


def _usual(document: Document) -> _Source | None:
    """The document as a usual one: of a single row, and so not an item of a batch."""
    text = document.source
    try:
        if not text.isascii():
            text.decode()  # the parser does not look into what it skips
        source = _decode(text)
    except FAULTS:
        return None
    usual = (
        source.request_id == document.id
        and 0 < len(document.id) < SHORT_ID
        and len(source.response.payload.data.ndarray) == 1
    )
    return source if usual else None


def _model_key(source: _Source) -> _Key:
    meta = source.response.payload.meta
    path = None if meta is None else meta.path
    node = next(iter(path)) if path is not None and len(path) == 1 else None
    return (source.namespace, source.deployment, source.predictor, source.model, node)


def _prediction_key(source: _Source) -> _Key:
    data = source.response.payload.data
    return (*_model_key(source), data.names, reading(data.ndarray[0]))


def _feedback_key(source: _Source, feedback: _Feedback) -> _Key | None:
    """None where it is of several rows."""
    data = None if feedback.truth is None else feedback.truth.data
    if data is None:
        return (*_model_key(source), None, None, feedback.reward)
    if len(data.ndarray) != 1:
        return None
    return (*_model_key(source), data.names, reading(data.ndarray[0]), feedback.reward)
