"""Documents of the request logger to batches of observations, on a fast path.

As with lines of an events file (`event_lines`): a common document that differs only in its request and
times from an earlier one gets the rows of that one; `DocumentReader` decodes every other document.
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

#: The most contents that are remembered; about this many entries are in a batch's dictionaries.
_MAX_CONTENTS = 4000


class DocumentBatches:
    """Decodes documents into batches and counts them in ``telemetry``, which is the reader's too.

    Observations later than ``as_of`` (ns) are decoded and left out of the batches.
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
        """Return the observations of some documents as one batch."""
        for document in documents:
            source = read_common(document.id, document.source)
            if source is None or not self._decode_common(source):
                self._decode(document, source)
        batch = self._builder.build("", keep_dictionaries=True)
        if len(self._predictions) + len(self._feedbacks) > _MAX_CONTENTS:
            self._invalidate()
        return batch

    def _decode_common(self, source: CommonDocument) -> bool:
        """Decode a document that differs from earlier ones only in its request and times; return
        whether it is one."""
        row = self._predictions.get(prediction_key(source))
        time = self._time(source.response.time.encode())
        if row is None or time is None:
            return False
        feedback, as_of, builder = source.feedback, self._as_of, self._builder
        if feedback is not None:
            key = feedback_key(source, feedback)
            judged = None if key is None else self._feedbacks.get(key)
            feedback_at = self._time(feedback.time.encode())
            if judged is None or feedback_at is None:
                return False
            self._telemetry.events[FEEDBACK] += 1
            if feedback_at <= as_of:
                builder.feedbacks.append(
                    FeedbackRow(
                        source.request_id, judged.scope, feedback_at, judged.source_rank,
                        judged.digest, judged.truth, judged.reward, judged.values,
                    )
                )  # fmt: skip
        self._telemetry.events[RESPONSE] += 1
        if time <= as_of:
            builder.predictions.append(
                PredictionRow(
                    source.request_id, row.model, time, row.source_rank, row.digest, row.answers,
                    row.provisional, row.values,
                )
            )  # fmt: skip
        return True

    def _decode(self, document: Document, source: CommonDocument | None) -> None:
        """Decode any document."""
        builder, decoded = self._builder, self._reader.read(document)
        for observation in decoded.observations:
            builder.add(observation)
            if isinstance(observation, Prediction):
                if source is not None and decoded.repeats:
                    self._predictions[prediction_key(source)] = builder.predictions[-1]
                if observation.time > self._as_of:
                    builder.predictions.pop()
            else:
                if source is not None and decoded.repeats and source.feedback is not None:
                    key = feedback_key(source, source.feedback)
                    if key is not None:
                        self._feedbacks[key] = builder.feedbacks[-1]
                if observation.time > self._as_of:
                    builder.feedbacks.pop()


class NativeDocumentBatches(DocumentBatches):
    """`DocumentBatches` on the native fast path."""

    def _invalidate(self) -> None:
        self._builder = BatchBuilder()
        self._templates = 0
        builders, decoder = [self._builder], self._reader.decoder
        self._fast_decoder = FastDecoder(
            decoder, builders, UNLIMITED, UNLIMITED, lambda _: None, self._as_of
        )

    def read(self, documents: Sequence[Document]) -> ObservationBatch:
        """Return the observations of some documents as one batch."""
        for document in self._fast_decoder.decode_documents(documents):
            decoded = self._reader.read(document)
            for observation in decoded.observations:
                if observation.time <= self._as_of:
                    self._builder.add(observation)
            if decoded.reusable:
                self._fast_decoder.add_document_template(document, decoded)
                self._templates += 1
        self._fast_decoder.flush_rows(0, keep_dictionaries=True)
        batch = self._builder.build("", keep_dictionaries=True)
        if self._templates > _MAX_CONTENTS:
            self._invalidate()
        return batch


def document_batches(
    reader: DocumentReader, telemetry: Telemetry, as_of: int | None = None
) -> DocumentBatches:
    """Return the fastest `DocumentBatches` of this installation."""
    return (NativeDocumentBatches if use_native else DocumentBatches)(reader, telemetry, as_of)
