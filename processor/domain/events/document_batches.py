"""Documents of the request logger to batches of observations, at speed.

As with lines of an events file (`event_lines`): a usual document that says what an earlier one said,
but for its request and times, is taken like that one; every other goes to `DocumentReader`.
"""

from collections.abc import Sequence

from processor.domain.events.attributes import FEEDBACK, RESPONSE
from processor.domain.events.common_case import MAX_TIME_NS
from processor.domain.events.common_documents import (
    CommonDocument,
    Key,
    feedback_key,
    prediction_key,
    read_common,
)
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.fast_decoder import UNLIMITED, FastDecoder
from processor.domain.events.raw_event import DeadLetter
from processor.domain.log.observations import (
    BatchBuilder,
    FeedbackRow,
    ObservationBatch,
    Prediction,
    PredictionRow,
)
from processor.domain.native import use_native
from processor.domain.timestamps import TimeParser
from processor.telemetry import Telemetry

#: Contents that are remembered; also what a batch's tables hold at most, about.
_CONTENTS = 4000


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
        self._as_of = MAX_TIME_NS if as_of is None else as_of
        self._invalidate()

    def _invalidate(self) -> None:
        self._builder = BatchBuilder()
        self._predictions: dict[Key, PredictionRow] = {}
        self._feedbacks: dict[Key, FeedbackRow] = {}

    def read(self, documents: Sequence[Document]) -> ObservationBatch:
        """What some documents say."""
        for document in documents:
            source = read_common(document.id, document.source)
            if source is None or not self._decode_common(source):
                self._take(document, source)
        batch = self._builder.build("", keep_dictionaries=True)
        if len(self._predictions) + len(self._feedbacks) > _CONTENTS:
            self._invalidate()
        return batch

    def _decode_common(self, source: CommonDocument) -> bool:
        """Take a document that says what an earlier one said; whether it is one."""
        row = self._predictions.get(prediction_key(source))
        time = self._time(source.response.time.encode())
        if row is None or time is None:
            return False
        feedback, as_of, builder = source.feedback, self._as_of, self._builder
        if feedback is not None:
            key = feedback_key(source, feedback)
            judged = None if key is None else self._feedbacks.get(key)
            when = self._time(feedback.time.encode())
            if judged is None or when is None:
                return False
            self._telemetry.events[FEEDBACK] += 1
            if when <= as_of:
                builder.feedbacks.append(
                    FeedbackRow(
                        source.request_id, judged.scope, when, judged.source_rank, judged.digest,
                        judged.truth, judged.reward,
                    )
                )  # fmt: skip
        self._telemetry.events[RESPONSE] += 1
        if time <= as_of:
            builder.predictions.append(
                PredictionRow(
                    source.request_id,
                    row.model,
                    time,
                    row.source_rank,
                    row.digest,
                    row.answers,
                    row.provisional,
                )
            )
        return True

    def _take(self, document: Document, source: CommonDocument | None) -> None:
        """Take any document."""
        builder, not_scorable = self._builder, self._telemetry.not_scorable
        before = not_scorable.total()
        said = [one for one in self._reader.read(document) if not isinstance(one, DeadLetter)]
        # Items without a label are counted one by one.
        common = source is not None and not_scorable.total() == before
        for one in said:
            builder.add(one)
            if isinstance(one, Prediction):
                if source is not None and common:
                    self._predictions[prediction_key(source)] = builder.predictions[-1]
                if one.time > self._as_of:
                    builder.predictions.pop()
            else:
                if source is not None and common and source.feedback is not None:
                    key = feedback_key(source, source.feedback)
                    if key is not None:
                        self._feedbacks[key] = builder.feedbacks[-1]
                if one.time > self._as_of:
                    builder.feedbacks.pop()


class NativeDocumentBatches(DocumentBatches):
    """The same, compiled."""

    def _invalidate(self) -> None:
        self._builder = BatchBuilder()
        self._learned = 0
        builders, decoder = [self._builder], self._reader.decoder
        self._fast_decoder = FastDecoder(
            decoder, builders, UNLIMITED, UNLIMITED, lambda _: None, self._as_of
        )

    def read(self, documents: Sequence[Document]) -> ObservationBatch:
        """See `DocumentBatches`."""
        not_scorable = self._telemetry.not_scorable
        for document in self._fast_decoder.decode_documents(documents):
            before = not_scorable.total()
            said = [one for one in self._reader.read(document) if not isinstance(one, DeadLetter)]
            for one in said:
                if one.time <= self._as_of:
                    self._builder.add(one)
            # Items without a label are counted one by one.
            if not_scorable.total() == before:
                self._fast_decoder.add_document_template(document, said)
                self._learned += 1
        self._fast_decoder.flush_rows(0, keep_dictionaries=True)
        batch = self._builder.build("", keep_dictionaries=True)
        if self._learned > _CONTENTS:
            self._invalidate()
        return batch


def document_batches(
    reader: DocumentReader, telemetry: Telemetry, as_of: int | None = None
) -> DocumentBatches:
    """The fastest reader there is."""
    return (NativeDocumentBatches if use_native else DocumentBatches)(reader, telemetry, as_of)
