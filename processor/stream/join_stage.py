"""The join on Kafka: folds one partition of the observations and sends the deltas."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.join.loading import apply_loaded
from processor.domain.join.state import JoinState
from processor.domain.log.chunking import delta_records
from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.domain.log.records import Heartbeat, check, decode_observation
from processor.errors import LogMismatchError
from processor.kafka.log_reader import LogReader
from processor.stream.delta_producer import Acks, DeltaProducer
from processor.stream.snapshotter import Snapshotter
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: The offsets before the log's end that are first searched for the newest heartbeat.
_HEARTBEAT_REACH = 500


class JoinStage:
    """The join of one partition, with its snapshots and its outgoing deltas; see `FoldStage`."""

    def __init__(
        self,
        fold: JoinFold,
        topic: str,
        reader: LogReader,
        snapshotter: Snapshotter,
        delta_producer: DeltaProducer,
        telemetry: Telemetry,
    ) -> None:
        self.join = fold
        self.acks = Acks()
        self.next_offset = 0
        self.batches = 0
        """Batches folded since the last heartbeat."""
        self._topic = topic
        self._reader = reader
        self._snapshotter = snapshotter
        self._delta_producer = delta_producer
        self._telemetry = telemetry
        self._outgoing: list[tuple[int, int, bytes]] = []
        self._emit_from = 0

    async def load(self, begin: int, end: int) -> int:
        """Load the snapshot, if there is a usable one, and return the offset to read from.

        Without a snapshot, reading begins at the log's start. The newest heartbeat says below which
        offset all deltas are on the log: these are not sent again. Those before a snapshot are there, so
        a heartbeat before it tells nothing. `LogMismatchError` if the log ends before the snapshot's
        offset.
        """
        snapshot, origin = await self._snapshotter.newest()
        if snapshot is not None and snapshot.offset > end:
            raise LogMismatchError(
                f"topic {self._topic} ends at {end}, its snapshot is at {snapshot.offset}: the topic "
                "was emptied; use a new PROCESSOR_APP_ID"
            )
        usable = snapshot is not None and begin <= snapshot.offset
        if snapshot is not None and usable:
            self.join.restore(snapshot.state)
            if self.join.judged is not None:
                self.join.judged.update(dict.fromkeys(snapshot.judged, -1))
            self.next_offset = snapshot.offset
        else:
            self.join.restore(JoinState())
            self.next_offset = begin
        for _, offset, _ in self._outgoing:
            self.acks.arrived(offset)  # never sent: folding them again expects them again
        self._outgoing.clear()
        self._snapshotter.restart()
        self._emit_from = max(self._emit_from, await self._newest_sent_below(self.next_offset, end))
        logger.log(
            logging.INFO if usable and origin != "snapshot" else logging.DEBUG,
            "join %s: from offset %d (%s), sending from %d",
            self._topic,
            self.next_offset,
            origin if usable else "start of the log",
            max(self._emit_from, self.next_offset),
        )
        return self.next_offset

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Apply a batch of observations, a record of a savepoint, or a heartbeat."""
        record = decode_observation(value)
        check(record, self.join.log_id, self._topic)
        emitting = offset >= self._emit_from
        # The worker that sent these deltas has counted them in its telemetry already.
        self.join.telemetry = self._telemetry if emitting else Telemetry()
        if isinstance(record, Heartbeat):
            self.join.advance(timestamp)
            if record.evict_before:
                self.join.telemetry.evicted_requests += self.join.evict(record.evict_before)
        else:
            if isinstance(record, ObservationBatch):
                deltas = self.join.apply(offset, timestamp, record)
            else:
                # The app that the savepoint comes from has counted these in its telemetry.
                self.join.telemetry = Telemetry()
                deltas = apply_loaded(self.join, offset, timestamp, record)
            if emitting:
                self._queue(offset, deltas)
            self.batches += 1
        self.next_offset = offset + 1

    def _queue(self, offset: int, deltas: Deltas) -> None:
        for partition, batch in deltas.items():
            records = delta_records(batch)
            self.acks.expect(offset, len(records))
            self._outgoing += [(partition, offset, record) for record in records]

    async def emit(self) -> None:
        """Send the deltas, then continue the snapshot."""
        outgoing, self._outgoing = self._outgoing, []
        for partition, offset, value in outgoing:
            await self._delta_producer.send(partition, value, offset, self.acks)
        self._snapshotter.advance(self.next_offset, self.join, self.acks)

    @property
    def sent_below(self) -> int:
        """The offset below which all deltas are on the log."""
        return max(self.acks.below(self.next_offset), self._emit_from)

    def heartbeat(self, evict_before: int = 0) -> Heartbeat:
        """Make the heartbeat that tells the partition's next owner which deltas are on the log."""
        self.batches = 0
        sent_below = min(self.sent_below, self.next_offset)
        return Heartbeat(SCHEMA_VERSION, self.join.log_id, sent_below, evict_before)

    async def close(self) -> None:
        """Write a last snapshot, if all its deltas are acknowledged."""
        await self._snapshotter.finish(self.next_offset, self.join, self.acks)
        self._snapshotter.begin_last_copy()

    async def copied(self) -> None:
        """Wait until the last snapshot is in the shared store, if there is one."""
        await self._snapshotter.copied()

    async def _newest_sent_below(self, begin: int, end: int) -> int:
        """Read ``sent_below`` of the newest heartbeat: from this offset on, deltas may be missing."""
        reach = _HEARTBEAT_REACH
        while end > begin:
            start = max(begin, end - reach)
            newest = 0
            async for messages in self._reader.read(start, end):
                for message in messages:
                    # Batches are large and heartbeats are tiny: most records need no decoding.
                    if len(message.value) < 128:
                        record = decode_observation(message.value)
                        check(record, self.join.log_id, self._topic)
                        if isinstance(record, Heartbeat):
                            newest = max(newest, record.sent_below)
            if newest or start == begin:
                return newest
            reach *= 10
        return 0


async def close_within(seconds: float, stages: Iterable[JoinStage]) -> None:
    """Write a last snapshot of each stage; after ``seconds`` the rest keep their old snapshots."""
    waiting, copying = deque(stages), deque[JoinStage]()
    try:
        async with asyncio.timeout(seconds):
            while waiting:
                await waiting[0].close()
                copying.append(waiting.popleft())
            while copying:
                await copying[0].copied()
                copying.popleft()
    except TimeoutError:
        logger.info(
            "no time for the last %s of %d partitions: the next start reads more of the log",
            "snapshots" if waiting else "shared snapshots",
            len(waiting) or len(copying),
        )
