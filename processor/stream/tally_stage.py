"""The tally on Kafka: folds one partition of the deltas, with its checkpoint in the Faust table
`confusion`."""

import logging
import time
from collections.abc import Iterator

import msgspec

from processor.domain.log.chunking import ChunkAssembler
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, RecordChunk, check, decode_delta
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.tally.tally import BlockKey, BucketBlock, CheckpointManifest, Tally
from processor.domain.tally.windows import Window
from processor.errors import LogMismatchError
from processor.stream.large_table import Key, LargeTable, Table
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds between flushes of a partition, which a start has to read again. More if a flush takes long:
#: a week of feedback changes the bucket blocks of a week, of every model.
_FLUSH_EVERY = 5.0
#: The share of the time that flushes may block the event loop, on average; and the most seconds between
#: flushes, whatever they take.
_MAX_FLUSH_SHARE, _MAX_FLUSH_PAUSE = 0.01, 120.0
#: Seconds between flushes of a partition that receives only heartbeats.
_IDLE_FLUSH_EVERY = 3600.0

_encode = msgspec.msgpack.Encoder().encode
_decode_block = msgspec.msgpack.Decoder(BucketBlock).decode
_decode_manifest = msgspec.msgpack.Decoder(CheckpointManifest).decode


class TallyStage:
    """The counts of one partition, with their checkpoint; see `FoldStage`."""

    def __init__(
        self,
        partition: int,
        log_id: str,
        topic: str,
        windows: tuple[Window, ...],
        table: Table,
        telemetry: Telemetry,
    ) -> None:
        self.tally = Tally(SCHEMA_VERSION, log_id, windows)
        self.dirty = False
        """Whether a delta was folded that is not in the checkpoint."""
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

    async def load(self, begin: int, end: int) -> int:
        """Load the table's checkpoint, and return the offset to read from; 0 without a checkpoint.

        `LogMismatchError` if the checkpoint belongs to another log or schema, or lies outside the log.
        """
        self._chunks = ChunkAssembler()
        manifest, blocks = read_values(self.values, self._partition)
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
        record = decode_delta(value)
        check(record, self.tally.log_id, self._topic)
        if isinstance(record, Heartbeat):
            self.tally.advance(offset, timestamp)
            return
        if isinstance(record, RecordChunk):
            if record.offset <= self.tally.last.get(record.source, -1):
                self.tally.advance(offset, timestamp)  # its batch was counted
                return
            batch = self._chunks.add(record)
            if batch is None:
                return
            record = batch
        if not self.tally.apply(offset, timestamp, record):
            logger.warning(
                "tally %s/%d: delta %d of partition %d waits for the previous one",
                self._topic,
                self._partition,
                record.offset,
                record.source,
            )
        self.dirty = True
        if self._live:
            self._telemetry.end_to_end.observe(max(0.0, time.time() - timestamp / 1e9))

    async def emit(self) -> None:
        """Do nothing: a flush must happen inside the stream's iteration, see `maybe_flush`."""

    def maybe_flush(self) -> None:
        """Write the checkpoint if it is due. Call it only inside a stream's iteration."""
        self._live = True
        if self._chunks.is_incomplete:
            return  # a start from this checkpoint would not read a batch's first chunks
        now = time.monotonic()
        if self.dirty and now >= self._flush_due:
            self.flush()
        elif now >= self._idle_flush_due and self.tally.offset > self._flushed_offset:
            # An idle partition receives only heartbeats. Its manifest must be written now and then, or
            # else retention would remove the log from its checkpoint on.
            self.flush()

    def flush(self) -> None:
        """Write the changed bucket blocks, then the manifest, which makes them valid.

        Expired blocks are removed last: a manifest that names a missing block means that the whole log
        is read again.
        """
        started = time.monotonic()
        flush, put = self.tally.flush(), self.values.put
        for key, block in flush.blocks:
            put(value_key(self._partition, key), block.offset, _encode(block))
        put(value_key(self._partition, None), flush.manifest.offset, _encode(flush.manifest))
        for key in flush.expired:
            self.values.remove(value_key(self._partition, key))
        self.dirty = False
        self.flushed_at = time.time()
        now = time.monotonic()
        pause = min((now - started) / _MAX_FLUSH_SHARE, _MAX_FLUSH_PAUSE)
        self._flush_due = now + max(_FLUSH_EVERY, pause)
        self._idle_flush_due = now + _IDLE_FLUSH_EVERY
        self._flushed_offset = self.tally.offset

    def board(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """Yield the counts by model, window and basis, see `Tally.window_counts`."""
        return self.tally.window_counts(now)

    def _check(self, value: BucketBlock | CheckpointManifest) -> None:
        if value.version != SCHEMA_VERSION or value.log_id != self.tally.log_id:
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
    values: LargeTable, partition: int
) -> tuple[CheckpointManifest | None, dict[BlockKey, BucketBlock]]:
    """Read the manifest and the bucket blocks of a partition's checkpoint."""
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
            blocks[block_key] = max(map(_decode_block, found), key=_offset_of)
    return manifest, blocks


def _offset_of(value: BucketBlock | CheckpointManifest) -> int:
    return value.offset
