"""The tally on Kafka: folds one partition of the deltas, with its checkpoint in the Faust table
`confusion`."""

import logging
import time
from collections.abc import Callable, Iterator
from math import inf

import msgspec

from processor.domain.log.chunking import ChunkAssembler
from processor.domain.log.deltas import DeltaBatch, RawDeltaBatch
from processor.domain.log.loaded import LoadedCounts
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import (
    Heartbeat,
    RawDeltaRecord,
    RecordChunk,
    check,
    decode_raw_delta,
)
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.tally.tally import BlockKey, BucketBlock, CheckpointManifest, Flush, Tally
from processor.domain.tally.windows import Window
from processor.errors import LogMismatchError
from processor.stream.large_table import Key, LargeTable, Table
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds between flushes of a partition, which a start has to read again. More if a flush takes long:
#: a week of feedback changes the bucket blocks of a week, of every model.
_FLUSH_EVERY = 5.0
#: The share of the time that the flushes of a partition may take, on average; and the most seconds
#: between flushes, whatever they take.
_MAX_FLUSH_SHARE, _MAX_FLUSH_PAUSE = 0.0002, 120.0
#: Seconds that a part of a flush may stop the stream, and seconds between the parts.
_FLUSH_SLICE, _SLICE_PAUSE = 0.02, 0.1
#: Seconds between flushes of a partition that receives only heartbeats.
_IDLE_FLUSH_EVERY = 3600.0

_encode = msgspec.msgpack.Encoder().encode
_decode_block = msgspec.msgpack.Decoder(BucketBlock).decode
_decode_manifest = msgspec.msgpack.Decoder(CheckpointManifest).decode


class TallyStage:
    """The counts of one partition, with their checkpoint; see `FoldStage`."""

    schema = SCHEMA_VERSION
    """The schema of the records and of the checkpoint."""

    def __init__(
        self,
        partition: int,
        log_id: str,
        topic: str,
        windows: tuple[Window, ...],
        table: Table,
        telemetry: Telemetry,
    ) -> None:
        self.tally = Tally(self.schema, log_id, windows)
        self._changed = False
        #: The flush under way, the seconds that it took so far, when it began, and its next part.
        self._flush: Flush | None = None
        self._flush_seconds = self._flush_began = self._slice_due = 0.0
        self.flushed_at = time.time()
        """The time of the last flush, in seconds since 1970."""
        self._partition = partition
        self._topic = topic
        self.values = LargeTable(table)
        self._chunks = ChunkAssembler()
        self._telemetry = telemetry
        self._flush_due = time.monotonic() + _FLUSH_EVERY
        # The first idle flush comes soon, since the last manifest may be old.
        self._idle_flush_due = time.monotonic() + 4 * _FLUSH_EVERY
        self._flushed_offset = -1
        self._live = False

    @staticmethod
    def decode_delta(value: bytes) -> DeltaBatch | RawDeltaRecord:
        """Decode a record of the deltas."""
        return decode_raw_delta(value)

    @staticmethod
    def decode_block(value: bytes) -> BucketBlock:
        """Decode a block of the checkpoint."""
        return _decode_block(value)

    @property
    def dirty(self) -> bool:
        """Whether a delta was folded that is not in the checkpoint."""
        return self._changed or self._flush is not None

    async def load(self, begin: int, end: int) -> int:
        """Load the table's checkpoint, and return the offset to read from; 0 without a checkpoint.

        `LogMismatchError` if the checkpoint belongs to another log or schema, or lies outside the log.
        """
        self._chunks = ChunkAssembler()
        self._flush = None
        manifest, blocks = read_values(self.values, self._partition, self.decode_block)
        for value in (*blocks.values(), *([manifest] if manifest else ())):
            self._check(value)
        start = self.tally.restore(manifest, blocks)
        if start > end:
            raise LogMismatchError(
                f"topic {self._topic}/{self._partition} ends at {end}, its checkpoint is at "
                f"{start}: the topic was emptied; use a new PROCESSOR_APP_ID"
            )
        if start < begin:
            raise LogMismatchError(
                f"topic {self._topic}/{self._partition} begins at {begin}, its checkpoint is at "
                f"{start}: the records between are gone; use a new PROCESSOR_APP_ID and bootstrap"
            )
        self._live = False
        logger.debug("tally %s/%d: from offset %d", self._topic, self._partition, start)
        return start

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Apply a batch of deltas, a chunk of one, or a heartbeat."""
        if self.schema == SCHEMA_VERSION and self.tally.apply_encoded(offset, timestamp, value):
            self._changed = True
        elif not self._fold_decoded(offset, timestamp, self.decode_delta(value)):
            return
        if self._live:
            self._telemetry.end_to_end.observe(max(0.0, time.time() - timestamp / 1e9))

    def _fold_decoded(
        self, offset: int, timestamp: int, record: DeltaBatch | RawDeltaRecord
    ) -> bool:
        """Apply a decoded record. Returns whether it was or completed a batch."""
        check(record, self.tally.log_id, self._topic, self.schema)
        if isinstance(record, Heartbeat):
            self.tally.advance(offset, timestamp)
            return False
        if isinstance(record, RecordChunk):
            if record.offset <= self.tally.last.get(record.source, -1):
                self.tally.advance(offset, timestamp)  # its batch was counted
                return False
            batch: DeltaBatch | RawDeltaBatch | LoadedCounts | None = self._chunks.add(record)
            if batch is None:
                return False
        else:
            batch = record
        if not self.tally.apply(offset, timestamp, batch):
            logger.warning(
                "tally %s/%d: delta %d of partition %d waits for the previous one",
                self._topic,
                self._partition,
                batch.offset,
                batch.source,
            )
        self._changed = True
        return True

    async def emit(self) -> None:
        """Do nothing: a flush must happen inside the stream's iteration, see `maybe_flush`."""

    def maybe_flush(self) -> None:
        """Write the checkpoint if it is due, or a part of it. Call it only inside a stream's iteration.

        A flush in one go would stop the stream for a second where a thousand models changed.
        """
        self._live = True
        if self._chunks.is_incomplete:
            return  # a start from this checkpoint would not read a batch's first chunks
        now = time.monotonic()
        if self._flush is None:
            # An idle partition receives only heartbeats. Its manifest must be written now and then, or
            # else retention would remove the log from its checkpoint on.
            idle = now >= self._idle_flush_due and self.tally.offset > self._flushed_offset
            if not idle and not (self.dirty and now >= self._flush_due):
                return
            self._begin_flush()
        elif now < self._slice_due:
            return
        self._write_slice(_FLUSH_SLICE)

    def flush(self) -> None:
        """Write the whole checkpoint at once."""
        if self._flush is None:
            self._begin_flush()
        self._write_slice(inf)

    def _begin_flush(self) -> None:
        self._flush, self._flush_seconds = self.tally.flush(), 0.0
        self._flush_began = time.time()
        self._changed = False

    def _write_slice(self, seconds: float) -> None:
        """Write changed bucket blocks for some seconds, or all that are left, and then the manifest,
        which makes them valid.

        Expired blocks are removed last: a manifest that names a missing block means that the whole log
        is read again.
        """
        flush, put = self._flush, self.values.put
        assert flush is not None
        began = now = time.monotonic()
        for written in flush.blocks:
            if written is not None:
                key, block = written
                put(value_key(self._partition, key), block.offset, _encode(block))
            now = time.monotonic()
            if now - began >= seconds:
                self._flush_seconds += now - began
                self._slice_due = now + _SLICE_PAUSE
                return
        put(value_key(self._partition, None), flush.offset, _encode(flush.manifest()))
        for key in flush.expired:
            self.values.remove(value_key(self._partition, key))
        self._flush = None
        self.flushed_at = self._flush_began
        now = time.monotonic()
        pause = min((self._flush_seconds + now - began) / _MAX_FLUSH_SHARE, _MAX_FLUSH_PAUSE)
        self._flush_due = now + max(_FLUSH_EVERY, pause)
        self._idle_flush_due = now + _IDLE_FLUSH_EVERY
        self._flushed_offset = flush.offset

    def board(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """Yield the counts by model, window and basis, see `Tally.window_counts`."""
        return self.tally.window_counts(now)

    def _check(self, value: BucketBlock | CheckpointManifest) -> None:
        if value.version != self.schema or value.log_id != self.tally.log_id:
            raise LogMismatchError(
                f"the table of {self._topic} belongs to another log or release (schema "
                f"{value.version}, log {value.log_id}): use a new PROCESSOR_APP_ID"
            )


def value_key(partition: int, key: BlockKey | None) -> Key:
    """Return the table's key of a bucket block, or of the manifest (None).

    The key holds the partition, since the table keeps values of partitions that were revoked.
    """
    return (partition,) if key is None else (partition, *key.model, key.tier, key.block)


def read_values(
    values: LargeTable,
    partition: int,
    decode_block: Callable[[bytes], BucketBlock] = _decode_block,
) -> tuple[CheckpointManifest | None, dict[BlockKey, BucketBlock]]:
    """Read the manifest and the bucket blocks of a partition's checkpoint; ``decode_block`` decodes
    those of its schema."""
    manifest = None
    blocks: dict[BlockKey, BucketBlock] = {}
    for key, found in values.read(partition).items():
        if len(key) == 1:
            manifest = max(map(_decode_manifest, found), key=_offset_of)
        else:
            namespace, deployment, predictor, model = map(str, key[1:5])
            block_key = BlockKey(
                ModelKey(namespace, deployment, predictor, model), int(key[5]), int(key[6])
            )
            blocks[block_key] = max(map(decode_block, found), key=_offset_of)
    return manifest, blocks


def _offset_of(value: BucketBlock | CheckpointManifest) -> int:
    return value.offset
