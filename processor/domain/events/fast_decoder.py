"""Usual events to rows, compiled: an event that says what an earlier one said, but for its request and
its time, is taken like that one. What that is, the `Decoder` has decided."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakMethod

from processor.domain.events.attributes import FEEDBACK, REQUEST, RESPONSE
from processor.domain.events.common_case import MAX_TIME_NS
from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document
from processor.domain.log.observations import (
    BatchBuilder,
    EncodedRows,
    Feedback,
    Prediction,
    packed_parts,
)
from processor.domain.native import native


class SourceRecord(NamedTuple):
    """A record of a batch; its time in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


#: As many rows as there are: what is read at once is folded at once.
UNLIMITED = 1 << 31

#: Lines of a block that are left: the place of each among the lines, and its text.
LeftLines = list[tuple[int, bytes]]


class FastDecoder:
    """Takes events of the kinds that it was taught; ``builders`` are by partition, and ``full`` is
    told of one that has got ``most`` rows, or ``most_bytes`` in its tables."""

    def __init__(
        self,
        decoder: Decoder,
        builders: list[BatchBuilder],
        most: int,
        most_bytes: int,
        full: Callable[[int], None],
        as_of: int | None = None,
    ) -> None:
        self._telemetry = decoder.telemetry
        self._builders = builders
        self._full = full
        # What is compiled can't tell the garbage collector whom it holds, so it must not hold this.
        told = WeakMethod(self._add_and_tell)

        def add_and_tell(partition: int, rows: tuple[Any, ...]) -> None:
            if (tell := told()) is not None:
                tell(partition, rows)

        self._reader = native.Reader(len(builders), most, most_bytes, add_and_tell, as_of)
        decoder.rules.listeners.add(self)

    def decode_batch(self, content: bytes, start: int) -> tuple[list[SourceRecord], int]:
        """Take the records of a batch of Kafka that is not compressed, from an offset on; those that
        are left, and the time of the last one in ms."""
        left, last, taken = self._reader.decode_batch(content, start)
        self._count(*taken)
        return [SourceRecord(*record) for record in left], last

    def decode_lines(self, block: bytes) -> tuple[LeftLines, int]:
        """Take lines of an events file; those that are left, and how many lines there are."""
        left, lines, taken = self._reader.decode_lines(block)
        self._count(*taken)
        return [(number, block[start:end]) for number, start, end in left], lines

    def decode_documents(
        self, documents: Sequence[Document], before: int = MAX_TIME_NS, since: int = -1
    ) -> list[Document]:
        """Take documents that say nothing from ``before`` (ns) on, and something from ``since`` on;
        those that are left. What a document says stays in one record."""
        pairs = [(document.id, document.source) for document in documents]
        left, taken = self._reader.decode_documents(pairs, before, since)
        self._count(*taken)
        return [documents[place] for place in left]

    def add_document_template(self, document: Document, said: Sequence[object]) -> None:
        """From now on documents like this one mean this, where they are usual."""
        prediction, feedback = (*said, None, None)[:2]
        if (
            isinstance(prediction, Prediction)
            and _is_single(prediction)
            and (feedback is None or (isinstance(feedback, Feedback) and _is_single(feedback)))
            and len(said) <= 2
        ):
            self._reader.add_document_template(
                document.id,
                document.source,
                packed_parts(prediction),
                None if feedback is None else packed_parts(feedback),
            )

    def add_record_template(self, record: SourceRecord, observation: Prediction | Feedback) -> None:
        """From now on records like this one mean this, where they are usual."""
        if _is_single(observation):
            self._reader.add_record_template(
                record.headers, record.value, packed_parts(observation)
            )

    def add_line_template(self, text: bytes, observation: Prediction | Feedback) -> None:
        """The same of lines."""
        if _is_single(observation):
            self._reader.add_line_template(text, packed_parts(observation))

    def flush_rows(self, partition: int, keep_dictionaries: bool = False) -> None:
        """Put the rows that were read into the partition's builder; another one, or one with other
        tables, may take its place from now on unless they are kept."""
        self._add(partition, EncodedRows(*self._reader.flush_rows(partition, keep_dictionaries)))

    def invalidate(self) -> None:
        """Ask the decoder again of every event: the rules have changed."""
        self._reader.invalidate()

    def _add_and_tell(self, partition: int, rows: tuple[Any, ...]) -> None:
        self._add(partition, EncodedRows(*rows))
        self._full(partition)

    def _add(self, partition: int, rows: EncodedRows) -> None:
        if rows.predictions or rows.feedbacks:
            self._builders[partition].add_rows(rows)

    def _count(self, requests: int, responses: int, feedbacks: int, future: int) -> None:
        events = self._telemetry.events
        for kind, count in (REQUEST, requests), (RESPONSE, responses), (FEEDBACK, feedbacks):
            if count:
                events[kind] += count
        self._telemetry.future_times += future


def _is_single(observation: Prediction | Feedback) -> bool:
    """Whether it is of one item, or of none in particular."""
    rows = observation.answers if isinstance(observation, Prediction) else observation.truth
    return rows is None or len(rows) == 1
