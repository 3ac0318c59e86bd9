"""The native fast path: events to rows of observations.

An event that differs only in its request, its time and the values of its rows from earlier ones, its
templates, gets the rows of these with its own values. The `Decoder` has decided what they mean.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakMethod

from processor.domain.events.attributes import FEEDBACK, REQUEST, RESPONSE, UNCOUNTED
from processor.domain.events.common_case import MAX_TIME_NS
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.documents import Document
from processor.domain.events.raw_event import INTERPRETED
from processor.domain.log.observations import BatchBuilder, EncodedRows, Prediction
from processor.domain.log.packed_parts import packed_parts
from processor.domain.memo import Memo
from processor.domain.model_key import ModelKey
from processor.domain.native import native


class SourceRecord(NamedTuple):
    """A record of a Kafka batch; ``timestamp`` is in ms since 1970."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


#: More rows, or bytes, than any batch has: the builders are never reported as full.
UNLIMITED = 1 << 31

#: The kinds of events in the order in which native code counts them.
_KINDS = (RESPONSE, REQUEST, FEEDBACK, *UNCOUNTED)
#: The rules of rows: threshold, unit, task, whether several outputs are scores, the name of the output
#: that counts, whether responses are excluded, and the labels that have other names.
_RowRules = tuple[float, int, str | None, bool, str | None, bool, list[bytes]]

#: The most models whose rules are remembered.
_MAX_RULES = 10_000

#: The lines of a block that were not decoded: the position of each among the lines, and its text.
RemainingLines = list[tuple[int, bytes]]


class FastDecoder:
    """Decodes events that are like one of its templates, in native code.

    ``builders`` are by partition; ``on_full`` is called with a partition whose builder has got
    ``max_rows`` rows, or ``max_bytes`` bytes of entries in its dictionaries. Observations later than
    ``as_of`` (ns) are decoded and left out.
    """

    def __init__(
        self,
        decoder: Decoder,
        builders: list[BatchBuilder],
        max_rows: int,
        max_bytes: int,
        on_full: Callable[[int], None],
        as_of: int | None = None,
    ) -> None:
        self._telemetry = decoder.telemetry
        self._rule = decoder.rule
        self._rules = Memo[ModelKey, _RowRules](_MAX_RULES)
        self._builders = builders
        self._on_full = on_full
        # The native class does not support cyclic GC, so it must not hold a reference to this object.
        method = WeakMethod(self._add_full)

        def add_full(partition: int, rows: tuple[Any, ...]) -> None:
            if (call := method()) is not None:
                call(partition, rows)

        self._reader = native.Reader(len(builders), max_rows, max_bytes, add_full, as_of)
        decoder.rules.listeners.add(self)

    def decode_batch(
        self, content: bytes, start: int, limit: int
    ) -> tuple[list[SourceRecord], int, int | None]:
        """Decode the records of an uncompressed Kafka batch from offset ``start`` on, until ``limit``
        remain: their templates may be those of the records behind them.

        Returns the remaining records, the time of the last record in ms, and the offset to go on from,
        None at the end. `ValueError` if the bytes are not records.
        """
        remaining, last, counts, following = self._reader.decode_batch(content, start, limit)
        self._count(*counts)
        return [SourceRecord(*record) for record in remaining], last, following

    def decode_archived(
        self,
        events: Sequence[tuple[int, int, bytes, bytes | None]],
        check: Callable[[tuple[int, int, bytes, bytes | None]], object],
    ) -> tuple[list[int], list[int], list[int]]:
        """Decode events of the SQLite archive: number, time of acceptance (ns), headers in MessagePack
        and value. Returns the positions of the remaining ones, and the numbers of those whose
        predictions, and whose feedback, were decoded. ``check`` is called with odd headers before
        anything is decoded, and may refuse them."""
        remaining, predictions, feedbacks, counts = native.decode_archived(
            self._reader, events, check
        )
        self._count(*counts)
        return remaining, predictions, feedbacks

    def decode_lines(self, block: bytes) -> tuple[RemainingLines, int]:
        """Decode the lines of an events file; return the remaining ones, and the number of lines."""
        remaining, lines, counts = self._reader.decode_lines(block)
        self._count(*counts)
        return [(number, block[start:end]) for number, start, end in remaining], lines

    def decode_documents(
        self, documents: Sequence[Document], before: int = MAX_TIME_NS, since: int = -1
    ) -> list[Document]:
        """Decode documents without an observation at ``before`` (ns) or later, but with one at
        ``since`` or later; return the remaining documents.

        The observations of a document stay in one record.
        """
        pairs = [(document.id, document.source) for document in documents]
        remaining, counts = self._reader.decode_documents(pairs, before, since)
        self._count(*counts)
        return [documents[position] for position in remaining]

    def add_document_template(self, document: Document, decoded: Decoded) -> None:
        """Decode documents like this one by its template from now on, if its form allows it."""
        prediction, feedback = (*decoded.observations, None, None)[:2]
        if not decoded.reusable or not isinstance(prediction, Prediction):
            return
        rules = self._row_rules(prediction.model)
        if self._reader.read_document(document.id, document.source, rules):
            self._reader.add_document_template(
                packed_parts(prediction), None if feedback is None else packed_parts(feedback)
            )

    def add_record_template(self, record: SourceRecord, decoded: Decoded) -> None:
        """Decode records like this one by its template from now on, if its form allows it."""
        if decoded.reusable and decoded.observations:
            (observation,) = decoded.observations
            rules = self._row_rules(observation[0])
            if self._reader.read_record(record.headers, record.value, rules):
                self._reader.add_template(packed_parts(observation))
        elif decoded.excluded is not None:
            rules = self._row_rules(decoded.excluded)
            self._reader.read_record(record.headers, record.value, rules)

    def add_line_template(self, text: bytes, decoded: Decoded) -> None:
        """Decode lines like this one by its template from now on, if its form allows it."""
        if decoded.reusable and decoded.observations:
            (observation,) = decoded.observations
            if self._reader.read_line(text, self._row_rules(observation[0])):
                self._reader.add_template(packed_parts(observation))
        elif decoded.excluded is not None:
            self._reader.read_line(text, self._row_rules(decoded.excluded))

    def _row_rules(self, key: ModelKey) -> _RowRules:
        """Return what native code has to know of the models file about a model."""
        found = self._rules.get(key)
        if found is None:
            rule = self._rule(key)
            unit, has_scores = rule.schema().unit, rule.output == "scores"
            name, is_excluded = rule.output_name, rule.exclude
            renamed = [label.encode("utf-8", "replace") for label in rule.labels or ()]
            found = (rule.threshold, unit, rule.task, has_scores, name, is_excluded, renamed)
            self._rules.add(key, found)
        return found

    def flush_rows(self, partition: int, keep_dictionaries: bool = False) -> None:
        """Move the decoded rows into the partition's builder.

        Unless ``keep_dictionaries``, the builder may be replaced afterwards.
        """
        self._add(partition, EncodedRows(*self._reader.flush_rows(partition, keep_dictionaries)))

    def invalidate(self) -> None:
        """Forget all templates, since the rules have changed."""
        self._rules.clear()
        self._reader.invalidate()

    def _add_full(self, partition: int, rows: tuple[Any, ...]) -> None:
        self._add(partition, EncodedRows(*rows))
        self._on_full(partition)

    def _add(self, partition: int, rows: EncodedRows) -> None:
        if rows.predictions or rows.feedbacks:
            self._builders[partition].add_rows(rows)

    def _count(self, events: list[int], future: int, remaining: list[int]) -> None:
        telemetry = self._telemetry
        for kind, count in zip(_KINDS, events, strict=True):
            if count:
                telemetry.events[kind] += count
        for reason, count in zip(INTERPRETED, remaining, strict=True):
            if count:
                telemetry.interpreted_events[reason] += count
        telemetry.future_times += future
