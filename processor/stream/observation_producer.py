"""Events to the log: decoded, packed by partition, sent, and acknowledged before they count as read."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import ConsumerRecord

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
from processor.kafka.record_batches import RecordBatch
from processor.telemetry import RecentDeadLetter

#: Rows in one record of the observations: enough to share its costs, few enough to stay small.
_ROWS = 2000
#: And bytes of its tables, those of the compiled part and ours each: a record must stay below the
#: topic's largest.
_TABLE_BYTES = 2 << 20
#: Characters of a dead letter's detail that a page gets to show.
_MAX_DETAIL = 200

#: The largest body of a dead letter; its headers have to fit beside it.
_MAX_DEAD_LETTER_BYTES = MAX_RECORD - (1 << 20)

Record: TypeAlias = ConsumerRecord | SourceRecord


class ObservationProducer:
    """Puts events on the log of one app. Not to be shared by tasks that interleave `add`."""

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
        self._failed_events: list[tuple[RawEvent, DeadLetter, SourceOffset, bytes | None]] = []
        self._full: list[tuple[int, BatchBuilder]] = []
        self._fast_decoder = (
            FastDecoder(decoder, self._builders, _ROWS, _TABLE_BYTES, self._close)
            if use_native
            else None
        )

    def add(self, event: RawEvent, source: SourceOffset, key: bytes | None = None) -> Decoded:
        """Decode one event, or the events of a batched one, and queue the observations and the dead
        letters. ``key`` is the key of its record, which only dead letters keep."""
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
        """Take a batch of records of a source topic; the time of the last one in ms. Only where there
        is the compiled part. `CorruptRecordException` for bytes that are no records."""
        assert self._fast_decoder is not None
        try:
            left, last = self._fast_decoder.decode_batch(batch.content, batch.start)
        except ValueError as error:
            raise CorruptRecordException(f"{topic}/{partition}@{batch.start}: {error}") from None
        self.add_records(topic, partition, left)
        return last

    def decode_pairs(
        self, documents: Sequence[Document], before: int, since: int
    ) -> Sequence[Document]:
        """Take documents like those that were learned; see `FastDecoder`. Those that are left."""
        return (
            self._fast_decoder.decode_documents(documents, before, since)
            if self._fast_decoder
            else documents
        )

    def add_pair_template(self, document: Document, decoded: Decoded) -> None:
        """From now on documents like this one mean this, where they are usual."""
        if self._fast_decoder is not None:
            self._fast_decoder.add_document_template(document, decoded)

    def add_dead_letter(
        self, event: RawEvent, dead_letter: DeadLetter, source: SourceOffset, key: bytes | None
    ) -> None:
        """Keep what can't be understood; it is counted already."""
        shown = RecentDeadLetter(
            event.timestamp, dead_letter.reason, dead_letter.detail[:_MAX_DETAIL], *source
        )
        self.decoder.telemetry.recent_dead_letters.append(shown)
        if len(event.value or b"") > _MAX_DEAD_LETTER_BYTES:
            # Where it was read it may be: a record here that the broker refuses for ever stops all.
            at = "{}/{}@{}".format(*source)
            detail = f"{dead_letter.detail}; its body is too large to be kept: see {at}"
            event, dead_letter = event._replace(value=None), dead_letter._replace(detail=detail)
        self._failed_events.append((event, dead_letter, source, key))

    def add_pair(self, prediction: Prediction, feedback: Feedback | None) -> None:
        """Take both so that they stay in one record."""
        partition = partition_of(prediction.request_id, self._partitions)
        self._builders[partition].add(prediction)
        if feedback is not None:
            self._builders[partition].add(feedback)
        self._close_if_full(partition)

    def add_observation(self, observation: Prediction | Feedback) -> None:
        """Take one that is decoded already."""
        partition = partition_of(observation.request_id, self._partitions)
        self._builders[partition].add(observation)
        self._close_if_full(partition)

    def _close_if_full(self, partition: int) -> None:
        builder = self._builders[partition]
        if builder.rows >= _ROWS or builder.table_bytes >= _TABLE_BYTES:
            self._flush_rows(partition)
            self._close(partition)

    def _flush_rows(self, partition: int) -> None:
        if self._fast_decoder is not None:
            self._fast_decoder.flush_rows(partition)

    def _close(self, partition: int) -> None:
        self._full.append((partition, self._builders[partition]))
        self._builders[partition] = BatchBuilder()

    async def send(self, mode: IngestMode = IngestMode.NORMAL) -> "list[asyncio.Future[object]]":
        """Send all that was added; the futures of the acknowledgements. ``terms``: see
        `ObservationBatch`."""
        for partition in range(self._partitions):
            self._flush_rows(partition)
        full, self._full = self._full, []
        full += ((number, builder) for number, builder in enumerate(self._builders) if builder.rows)
        packed = [
            (partition, encode(builder.build(self._log_id, mode))) for partition, builder in full
        ]
        dead_letters, self._failed_events = self._failed_events, []
        futures = [
            await self._producer.send(self._observations, value, partition=partition)
            for partition, value in packed
        ]
        for event, dead_letter, source, key in dead_letters:
            futures.append(
                await self._producer.send(
                    self._dead_letters,
                    event.value,
                    # The client refuses a record with neither key nor value.
                    key=b"" if key is None and event.value is None else key,
                    headers=dead_letter_headers(event, dead_letter, source),
                )
            )
        return futures
