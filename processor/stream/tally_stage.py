"""The tally on Kafka: folds one partition of the deltas; the Faust table `confusion` keeps its
checkpoint."""

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

#: Seconds between flushes of a partition, what a start has to read again; more if one takes long:
#: feedback of a week changes chunks of a week, of every model.
_FLUSH_EVERY = 5.0
#: Flushes may stop the loop for this share of the time, on average, unless that makes them older
#: than this.
_FLUSH_SHARE, _FLUSH_OLDEST = 0.01, 120.0
#: The same where nothing but ticks comes.
_IDLE_FLUSH_EVERY = 3600.0

_encode = msgspec.msgpack.Encoder().encode
_decode_chunk = msgspec.msgpack.Decoder(BucketBlock).decode
_decode_floor = msgspec.msgpack.Decoder(CheckpointManifest).decode


class TallyStage:
    """The counts of one partition; see `FoldStage`."""

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
        """Whether something was folded that is not in the checkpoint."""
        self.flushed_at = time.time()
        self._partition = partition
        self._topic = topic
        self.values = LargeTable(table)
        self._pieces = ChunkAssembler()
        self._telemetry = telemetry
        self._flush_due = time.monotonic() + _FLUSH_EVERY
        # The first time soon: who knows how old the last floor is.
        self._idle_flush_due = time.monotonic() + 4 * _FLUSH_EVERY
        self._flushed_offset = -1
        self._live = False

    async def load(self, begin: int, end: int) -> int:
        """The table's checkpoint, else the log's start."""
        self._pieces = ChunkAssembler()
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
                f"{start}: what lies between is gone; use a new PROCESSOR_APP_ID and bootstrap"
            )
        self._live = False
        logger.debug("tally %s/%d: from offset %d", self._topic, self._partition, start)
        return start

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Take in a batch or a tick."""
        record = decode_delta(value)
        check(record, self.tally.log_id, self._topic)
        if isinstance(record, Heartbeat):
            self.tally.advance(offset, timestamp)
            return
        if isinstance(record, RecordChunk):
            if record.offset <= self.tally.last.get(record.source, -1):
                self.tally.advance(offset, timestamp)  # of a batch that was counted
                return
            whole = self._pieces.add(record)
            if whole is None:
                return
            record = whole
        if not self.tally.apply(offset, timestamp, record):
            logger.warning(
                "tally %s/%d: delta %d of partition %d waits for the one before it",
                self._topic,
                self._partition,
                record.offset,
                record.source,
            )
        self.dirty = True
        if self._live:
            self._telemetry.end_to_end.observe(max(0.0, time.time() - timestamp / 1e9))

    async def emit(self) -> None:
        """Nothing: a flush needs the stream's iteration, see `maybe_flush`."""

    def maybe_flush(self) -> None:
        """Write the checkpoint if it is time; only from inside a stream's iteration."""
        self._live = True
        if self._pieces.is_incomplete:
            return  # a start from such a checkpoint would not read the first of them
        now = time.monotonic()
        if self.dirty and now >= self._flush_due:
            self.flush()
        elif now >= self._idle_flush_due and self.tally.offset > self._flushed_offset:
            # An idle partition has ticks alone: without a floor now and then its checkpoint would
            # one day lie before the beginning of the log.
            self.flush()

    def flush(self) -> None:
        """Write what has changed, and then the floor: what it says holds for all before it. What has
        expired goes last, since a floor that names a missing value means the whole log again."""
        started = time.monotonic()
        flush, put = self.tally.flush(), self.values.put
        for key, block_value in flush.blocks:
            put(value_key(self._partition, key), block_value.offset, _encode(block_value))
        put(value_key(self._partition, None), flush.manifest.offset, _encode(flush.manifest))
        for key in flush.expired:
            self.values.remove(value_key(self._partition, key))
        self.dirty = False
        self.flushed_at = time.time()
        now = time.monotonic()
        pause = min((now - started) / _FLUSH_SHARE, _FLUSH_OLDEST)
        self._flush_due = now + max(_FLUSH_EVERY, pause)
        self._idle_flush_due = now + _IDLE_FLUSH_EVERY
        self._flushed_offset = self.tally.offset

    def board(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """See `Tally.board`."""
        return self.tally.window_counts(now)

    def _check(self, value: BucketBlock | CheckpointManifest) -> None:
        if value.version != SCHEMA_VERSION or value.log_id != self.tally.log_id:
            raise LogMismatchError(
                f"the table of {self._topic} belongs to another log or release (schema "
                f"{value.version}, log {value.log_id}): use a new PROCESSOR_APP_ID"
            )


def value_key(partition: int, key: BlockKey | None) -> Key:
    """The key of a chunk, or of the floor (None). It holds the partition, since the table keeps
    values of partitions that this worker has lost."""
    return (partition,) if key is None else (partition, *key.model, key.tier, key.block)


def read_values(
    values: LargeTable, partition: int
) -> tuple[CheckpointManifest | None, dict[BlockKey, BucketBlock]]:
    """The checkpoint of a partition."""
    manifest = None
    blocks: dict[BlockKey, BucketBlock] = {}
    for key, found in values.read(partition).items():
        if len(key) == 1:
            manifest = max(map(_decode_floor, found), key=_offset_of)
        else:
            namespace, deployment, predictor, model = map(str, key[1:5])
            place = BlockKey(
                ModelKey(namespace, deployment, predictor, model), int(key[5]), int(key[6])
            )
            blocks[place] = max(map(_decode_chunk, found), key=_offset_of)
    return manifest, blocks


def _offset_of(value: BucketBlock | CheckpointManifest) -> int:
    return value.offset
