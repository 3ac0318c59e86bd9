"""The tally on Kafka: folds one partition of the deltas; the Faust table `confusion` keeps its
checkpoint."""

import logging
import time
from collections.abc import Iterator, MutableMapping

import msgspec

from processor.domain.counts import Counts, ModelKey
from processor.domain.observations import SCHEMA_VERSION
from processor.domain.tally import Chunk, ChunkKey, Floor, Tally
from processor.domain.telemetry import Telemetry
from processor.domain.windows import Window
from processor.errors import LogMismatchError
from processor.stream.records import Tick, check, decode_delta

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
_decode_key = msgspec.msgpack.Decoder(list[int | str]).decode
_decode_chunk = msgspec.msgpack.Decoder(Chunk).decode
_decode_floor = msgspec.msgpack.Decoder(Floor).decode

Table = MutableMapping[bytes, bytes]


class TallyStage:
    """The counts of one partition; see `Stage`."""

    def __init__(
        self,
        partition: int,
        epoch: str,
        topic: str,
        windows: tuple[Window, ...],
        table: Table,
        telemetry: Telemetry,
    ) -> None:
        self.tally = Tally(SCHEMA_VERSION, epoch, windows)
        self.dirty = False
        """Whether something was folded that is not in the checkpoint."""
        self.flushed_at = time.time()
        self._partition = partition
        self._topic = topic
        self._table = table
        self._telemetry = telemetry
        self._flush_due = time.monotonic() + _FLUSH_EVERY
        # The first time soon: who knows how old the last floor is.
        self._idle_flush_due = time.monotonic() + 4 * _FLUSH_EVERY
        self._flushed_offset = -1
        self._live = False

    async def load(self, begin: int, end: int) -> int:
        """The table's checkpoint, else the log's start."""
        floor, chunks = read_table(self._table, self._partition)
        for value in (*chunks.values(), *([floor] if floor else ())):
            self._check(value)
        start = self.tally.restore(floor, chunks)
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
        logger.info("tally %s/%d: from offset %d", self._topic, self._partition, start)
        return start

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Take in a batch or a tick."""
        record = decode_delta(value)
        check(record, self.tally.epoch, self._topic)
        if isinstance(record, Tick):
            self.tally.advance(offset, timestamp)
            return
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
        flush = self.tally.flush()
        for key, chunk in flush.chunks:
            self._table[table_key(self._partition, key)] = _encode(chunk)
        self._table[table_key(self._partition, None)] = _encode(flush.floor)
        for key in flush.expired:
            self._table.pop(table_key(self._partition, key), None)
        self.dirty = False
        self.flushed_at = time.time()
        now = time.monotonic()
        pause = min((now - started) / _FLUSH_SHARE, _FLUSH_OLDEST)
        self._flush_due = now + max(_FLUSH_EVERY, pause)
        self._idle_flush_due = now + _IDLE_FLUSH_EVERY
        self._flushed_offset = self.tally.offset

    def board(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """See `Tally.board`."""
        return self.tally.board(now)

    def _check(self, value: Chunk | Floor) -> None:
        if value.version != SCHEMA_VERSION or value.epoch != self.tally.epoch:
            raise LogMismatchError(
                f"the table of {self._topic} belongs to another log or release (schema "
                f"{value.version}, log {value.epoch}): use a new PROCESSOR_APP_ID"
            )


def table_key(partition: int, key: ChunkKey | None) -> bytes:
    """The key of a chunk, or of the floor (None). It holds the partition, since the table keeps
    values of partitions that this worker has lost."""
    parts: list[int | str] = [partition]
    if key is not None:
        parts += [*key.model, key.tier, key.block]
    return _encode(parts)


def read_table(table: Table, partition: int) -> tuple[Floor | None, dict[ChunkKey, Chunk]]:
    """The checkpoint of a partition."""
    floor = None
    chunks: dict[ChunkKey, Chunk] = {}
    for packed, value in table.items():
        parts = _decode_key(packed)
        if parts[0] != partition:
            continue
        if len(parts) == 1:
            floor = _decode_floor(value)
        else:
            namespace, deployment, predictor, model = map(str, parts[1:5])
            key = ModelKey(namespace, deployment, predictor, model)
            chunks[ChunkKey(key, int(parts[5]), int(parts[6]))] = _decode_chunk(value)
    return floor, chunks
