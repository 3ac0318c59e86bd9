"""Putting events on the log: they are decoded, batched by partition, and sent."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import ConsumerRecord, RecordMetadata

from processor.domain.events.dead_letters import SourceOffset, dead_letter_headers
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.documents import Document
from processor.domain.events.fast_decoder import FastDecoder, SourceRecord
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import BatchBuilder, Feedback, IngestMode, Prediction
from processor.domain.log.records import encode
from processor.domain.native import use_native
from processor.kafka.clients import MAX_RECORD
from processor.kafka.patches import RecordBatch
from processor.telemetry import RecentDeadLetter

#: The most rows in one record of the observations: enough to share its fixed cost, yet a small record.
_MAX_ROWS = 2000
#: The most bytes in the dictionaries of one record, in the native builder and in Python's each: a
#: record must stay below the topic's largest.
_MAX_DICTIONARY_BYTES = 2 << 20
#: So many events of a batch may remain before the native decoder goes on with the templates of these;
#: twice as many each time, since it passes over all that was read.
_FIRST_REMAINING = 8
#: The most characters of a dead letter's detail that the status page shows.
_MAX_DETAIL = 200
#: The largest body of a dead letter, in bytes; its headers need space beside it.
_MAX_DEAD_LETTER_BYTES = MAX_RECORD - (1 << 20)

Record: TypeAlias = ConsumerRecord | SourceRecord


class ObservationProducer:
    """Decodes events and puts their observations on the log of one app.

    `add` and its variants queue, and `send` sends: tasks that interleave them must not share an object.
    """

    def __init__(
        self,
        decoder: Decoder,
        producer: AIOKafkaProducer,
        observations: str,
        dead_letters: str,
        partitions: int,
        log_id: str,
    ) -> None:
        self.decoder = decoder
        self._producer = producer
        self._observations = observations
        self._dead_letters = dead_letters
        self._partitions = partitions
        self._log_id = log_id
        self._builders = [BatchBuilder() for _ in range(partitions)]
        self._failed_events: list[
            tuple[RawEvent, DeadLetter, SourceOffset, bytes | None, RecentDeadLetter]
        ] = []
        self._full: list[tuple[int, BatchBuilder]] = []
        self._fast_decoder = (
            FastDecoder(decoder, self._builders, _MAX_ROWS, _MAX_DICTIONARY_BYTES, self._close)
            if use_native
            else None
        )

    def add(self, event: RawEvent, source: SourceOffset, key: bytes | None = None) -> Decoded:
        """Decode one event, or the events of a batched one, and queue the observations and dead letters.

        ``key`` is the key of the event's record, which only dead letters keep.
        """
        decoded = self.decoder.decode(*event)
        self.add_decoded(decoded, source, key)
        return decoded

    def add_records(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Decode records of a source topic and queue their observations and dead letters."""
        decode, fast_decoder = self.decoder.decode, self._fast_decoder
        for record in records:
            decoded = decode(record.headers, record.value, record.timestamp * 1_000_000)
            self.add_decoded(decoded, (topic, partition, record.offset), record.key)
            if fast_decoder is not None and isinstance(record, SourceRecord):
                fast_decoder.add_record_template(record, decoded)

    def add_decoded(self, decoded: Decoded, source: SourceOffset, key: bytes | None) -> None:
        """Queue the observations and the dead letters of an event or document from ``source``."""
        for observation in decoded.observations:
            self.add_observation(observation)
        for event, letter in decoded.dead_letters:
            self.add_dead_letter(event, letter, source, key)

    def add_batch(self, topic: str, partition: int, batch: RecordBatch) -> int:
        """Decode a batch of records of a source topic, and queue their observations.

        Returns the time (ms) of the last record. Requires the native extension.
        `CorruptRecordException` if the bytes are not records.
        """
        assert self._fast_decoder is not None
        start: int | None = batch.start
        last, limit = 0, _FIRST_REMAINING
        while start is not None:
            try:
                remaining, last, start = self._fast_decoder.decode_batch(
                    batch.content, start, limit
                )
            except ValueError as error:
                at = f"{topic}/{partition}@{batch.start}"
                raise CorruptRecordException(f"{at}: {error}") from None
            self.add_records(topic, partition, remaining)
            limit *= 2
        return last

    def decode_pairs(
        self, documents: Sequence[Document], before: int, since: int
    ) -> Sequence[Document]:
        """Queue the documents that a template matches, and return the remaining ones.

        See `FastDecoder.decode_documents`; without the native extension all remain.
        """
        return (
            self._fast_decoder.decode_documents(documents, before, since)
            if self._fast_decoder
            else documents
        )

    def add_pair_template(self, document: Document, decoded: Decoded) -> None:
        """Make a template of a document and what it was decoded to, for `decode_pairs`."""
        if self._fast_decoder is not None:
            self._fast_decoder.add_document_template(document, decoded)

    def add_dead_letter(
        self, event: RawEvent, dead_letter: DeadLetter, source: SourceOffset, key: bytes | None
    ) -> None:
        """Queue a dead letter for its topic; it is counted already."""
        shown = RecentDeadLetter(
            event.timestamp, dead_letter.reason, dead_letter.detail[:_MAX_DETAIL], *source
        )
        self.decoder.telemetry.recent_dead_letters.append(shown)
        if len(event.value or b"") > _MAX_DEAD_LETTER_BYTES:
            # The source topic may allow it, but here the broker would refuse it for ever, and stop all.
            at = "{}/{}@{}".format(*source)
            detail = f"{dead_letter.detail}; its body is too large to be kept: see {at}"
            event, dead_letter = event._replace(value=None), dead_letter._replace(detail=detail)
        self._failed_events.append((event, dead_letter, source, key, shown))

    def add_pair(self, prediction: Prediction, feedback: Feedback | None) -> None:
        """Queue a prediction and its feedback in the same record."""
        partition = partition_of(prediction.request_id, self._partitions)
        self._builders[partition].add(prediction)
        if feedback is not None:
            self._builders[partition].add(feedback)
        self._close_if_full(partition)

    def add_observation(self, observation: Prediction | Feedback) -> None:
        """Queue an observation that is decoded already."""
        partition = partition_of(observation.request_id, self._partitions)
        self._builders[partition].add(observation)
        self._close_if_full(partition)

    def _close_if_full(self, partition: int) -> None:
        builder = self._builders[partition]
        if builder.rows >= _MAX_ROWS or builder.dictionary_bytes >= _MAX_DICTIONARY_BYTES:
            self._flush_rows(partition)
            self._close(partition)

    def _flush_rows(self, partition: int) -> None:
        if self._fast_decoder is not None:
            self._fast_decoder.flush_rows(partition)

    def _close(self, partition: int) -> None:
        self._full.append((partition, self._builders[partition]))
        self._builders[partition] = BatchBuilder()

    async def send(self, mode: IngestMode = IngestMode.NORMAL) -> "list[asyncio.Future[object]]":
        """Send all queued observations and dead letters; returns the futures of their acknowledgements.

        ``mode`` says how the join counts the observations, see `IngestMode`.
        """
        for partition in range(self._partitions):
            self._flush_rows(partition)
        full, self._full = self._full, []
        full += ((number, builder) for number, builder in enumerate(self._builders) if builder.rows)
        records = [
            (partition, encode(builder.build(self._log_id, mode))) for partition, builder in full
        ]
        dead_letters, self._failed_events = self._failed_events, []
        futures = [
            await self._producer.send(self._observations, value, partition=partition)
            for partition, value in records
        ]
        for event, dead_letter, source, key, shown in dead_letters:
            future = await self._producer.send(
                self._dead_letters,
                event.value,
                # The client refuses a record without a key and a value.
                key=b"" if key is None and event.value is None else key,
                headers=dead_letter_headers(event, dead_letter, source),
            )
            future.add_done_callback(partial(_set_id, shown))
            futures.append(future)
        return futures


def _set_id(shown: RecentDeadLetter, acknowledged: "asyncio.Future[RecordMetadata]") -> None:
    """Set the id of a dead letter's record once it is acknowledged; its sender handles a failure."""
    if not acknowledged.cancelled() and acknowledged.exception() is None:
        record = acknowledged.result()
        shown.id = f"{record.partition}/{record.offset}"
