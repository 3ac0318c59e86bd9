"""One worker's share of the stream: its partitions' folds, their ticks, and what they add up to."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from processor.domain.counts import Counts, ModelKey
from processor.domain.decode import Decoder
from processor.domain.join import JoinFold, JoinState
from processor.domain.observations import SCHEMA_VERSION
from processor.domain.telemetry import Telemetry
from processor.domain.times import SECOND
from processor.settings import Settings
from processor.stream.app import attach, make_app
from processor.stream.connection import Kafka
from processor.stream.control import ControlLog
from processor.stream.fold import PartitionFold
from processor.stream.join import JoinStage
from processor.stream.log import LogReader
from processor.stream.packer import Packer
from processor.stream.records import Tick, encode
from processor.stream.sender import Sender
from processor.stream.snapshots import SnapshotFile
from processor.stream.tally import TallyStage
from processor.stream.topics import Topics

logger = logging.getLogger(__name__)

#: Seconds between ticks of a partition that has something to tell, and of one that is idle.
_TICK, _IDLE_TICK = 1.0, 10.0


@dataclass(slots=True)
class _Owned:
    """One partition that this worker holds."""

    fold: PartitionFold
    opening: "asyncio.Task[None] | None" = None
    ticked: float = field(default_factory=time.monotonic)


class StreamWorker:
    """Runs the Faust app and the folds of whatever partitions it is given.

    ``fail`` is called with an error that must end the process; what was read and not finished is
    then done by whoever starts next.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: Kafka,
        epoch: str,
        telemetry: Telemetry,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.settings = settings
        self.kafka = kafka
        self.epoch = epoch
        self.telemetry = telemetry
        self.topics = Topics.of(settings.app_id)
        self.recovered = asyncio.Event()
        """Set once the table was recovered for the first time."""
        self.on_lead: Callable[[bool], None] = lambda leads: None
        """Called at each assignment: whether this worker is the one that leads."""
        self._fail = fail
        self._joins: dict[int, tuple[_Owned, JoinStage]] = {}
        self._tallies: dict[int, tuple[_Owned, TallyStage]] = {}
        self._assigned: tuple[set[int], set[int]] = (set(), set())
        self._recovering = True
        # Linger is short: a record holds hundreds of events already.
        self._producer = kafka.producer(linger_ms=2, request_timeout_ms=60_000)
        self._sender = Sender(self._producer, self.topics.deltas, fail)
        self._app = make_app(settings, kafka.servers)
        self._table = attach(
            self._app, self.topics, settings.partitions, self._deliver_join, self._deliver_tally
        )
        self._app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self._app.on_rebalance_complete.connect(self._on_recovered, weak=False)
        self._ticker: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start; returns at once, `recovered` says when the worker has joined its group."""
        await self._producer.start()
        self._runner = asyncio.create_task(self._run_app())
        self._ticker = asyncio.create_task(self._tick_for_ever())
        self._ticker.add_done_callback(_forget)

    async def stop(self) -> None:
        """Leave the group, let what is on its way arrive, write last snapshots. Takes for ever while
        the broker is away: whoever calls it sets the limit. Nothing of it is needed to be exact."""
        await self._app.stop()
        if self._runner:
            await asyncio.wait([self._runner])
        openings = [owned.opening for owned, _ in (*self._joins.values(), *self._tallies.values())]
        tasks = [task for task in (self._ticker, *openings) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._producer.stop()
        for owned, stage in self._joins.values():
            if owned.fold.opened.is_set():
                await stage.close()

    def control(self) -> ControlLog:
        """The control topic."""
        reader = LogReader(self.kafka, self.topics.control, 0)
        return ControlLog(reader, self._producer, self.topics.control)

    def packer(self, decoder: Decoder) -> Packer:
        """A way onto this log; each task that adds events needs one of its own."""
        return Packer(
            decoder,
            self._producer,
            self.topics.observations,
            self.topics.dead_letters,
            self.settings.partitions,
            self.epoch,
        )

    async def _run_app(self) -> None:
        try:
            await self._app.start()
            await self._app.wait_until_stopped()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
            return
        if self._app.crashed:
            self._fail(self._app.crash_reason or RuntimeError("the stream ended"))

    # -- partitions come and go

    async def _on_assigned(self, __: Any, assigned: Any = (), **___: Any) -> None:
        """Drop what was lost; what comes is opened beside the stream. Nothing is dropped before: an
        eager rebalance takes everything for a moment, and gauges must not blink each time."""
        joins = {tp.partition for tp in assigned if tp.topic == self.topics.observations}
        tallies = {tp.partition for tp in assigned if tp.topic == self.topics.deltas}
        logger.info("partitions: observations %s, deltas %s", sorted(joins), sorted(tallies))
        self._assigned = joins, tallies
        self.on_lead(any(tp.topic == self.topics.control for tp in assigned))
        self._recovering = True
        for partition in self._joins.keys() - joins:
            self._drop(self._joins.pop(partition)[0])
        for partition in self._tallies.keys() - tallies:
            self._drop(self._tallies.pop(partition)[0])
        for partition in joins - self._joins.keys():
            self._joins[partition] = self._new_join(partition)
        for owned, _ in self._joins.values():
            self._open(owned)

    async def _on_recovered(self, *_: Any, **__: Any) -> None:
        if self._app.tables.recovery.signal_recovery_start.is_set():
            return  # this is of the assignment before; the table of the new one comes next
        self._recovering = False
        for partition in self._assigned[1] - self._tallies.keys():
            self._tallies[partition] = self._new_tally(partition)
        for owned, _ in self._tallies.values():
            self._open(owned)
        self.recovered.set()

    def _drop(self, owned: _Owned) -> None:
        if owned.opening:
            owned.opening.cancel()

    def _open(self, owned: _Owned) -> None:
        if not owned.fold.opened.is_set() and (owned.opening is None or owned.opening.done()):
            owned.opening = asyncio.create_task(self._opening(owned.fold))
            owned.opening.add_done_callback(_forget)

    async def _opening(self, fold: PartitionFold) -> None:
        with self._fatal():
            await fold.open()

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """What is raised in here ends the process."""
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
            raise

    def _new_join(self, partition: int) -> tuple[_Owned, JoinStage]:
        settings, topic = self.settings, self.topics.observations
        reader = LogReader(self.kafka, topic, partition)
        horizon = settings.horizon * SECOND
        stage = JoinStage(
            JoinFold(self.epoch, partition, settings.partitions, horizon, self.telemetry),
            f"{topic}/{partition}",
            reader,
            SnapshotFile(settings.data, self.epoch, partition, settings.partitions, horizon),
            self._sender,
            self.telemetry,
        )
        return _Owned(PartitionFold(stage, reader, f"join {topic}/{partition}")), stage

    def _new_tally(self, partition: int) -> tuple[_Owned, TallyStage]:
        topic = self.topics.deltas
        stage = TallyStage(
            partition, self.epoch, topic, self.settings.windows, self._table, self.telemetry
        )
        reader = LogReader(self.kafka, topic, partition)
        return _Owned(PartitionFold(stage, reader, f"tally {topic}/{partition}")), stage

    # -- records come

    async def _deliver_join(
        self, partition: int, offset: int, timestamp: int, value: bytes
    ) -> None:
        # A record of a partition that was lost meanwhile can still be in the stream's buffer.
        if partition in self._joins:
            await self._deliver(self._joins[partition][0], offset, timestamp, value)

    async def _deliver_tally(
        self, partition: int, offset: int, timestamp: int, value: bytes
    ) -> None:
        if partition not in self._tallies:
            return
        owned, stage = self._tallies[partition]
        # Not while it is opened: the state may be half of a record's then.
        if await self._deliver(owned, offset, timestamp, value):
            with self._fatal():
                stage.maybe_flush()

    async def _deliver(self, owned: _Owned, offset: int, timestamp: int, value: bytes) -> bool:
        with self._fatal():
            folded = await owned.fold.deliver(offset, timestamp, value)
        # Before the table is recovered a tally can't be loaded; it is opened then.
        if not (folded or self._recovering):
            self._open(owned)
        return folded

    # -- ticks

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            for partition, (owned, stage) in tuple(self._joins.items()):
                if self._is_due(owned, bool(stage.batches)):
                    await self._tick(self.topics.observations, partition, stage.tick())
            for partition, (owned, counts) in tuple(self._tallies.items()):
                if self._is_due(owned, counts.dirty):
                    await self._tick(
                        self.topics.deltas, partition, Tick(SCHEMA_VERSION, self.epoch, 0)
                    )

    def _is_due(self, owned: _Owned, busy: bool) -> bool:
        now = time.monotonic()
        if not owned.fold.opened.is_set() or now - owned.ticked < (_TICK if busy else _IDLE_TICK):
            return False
        owned.ticked = now
        return True

    async def _tick(self, topic: str, partition: int, tick: Tick) -> None:
        with self._fatal():
            future = await self._producer.send(topic, encode(tick), partition=partition)
        future.add_done_callback(_forget)

    # -- what it adds up to

    def windows(self, now: float) -> Mapping[tuple[str, str], Mapping[ModelKey, Counts]]:
        """The counts of all models of this worker's partitions, by window and basis, at ``now``
        (seconds since 1970). A partition that is still opening is left out: its counts are old."""
        board: dict[tuple[str, str], dict[ModelKey, Counts]] = {
            (window.name, basis): {}
            for window in self.settings.windows
            for basis in ("request", "feedback")
        }
        for stage in self._open_tallies():
            for key, window, basis, counts in stage.board(now):
                board[window, basis][key] = counts
        return board

    def _open_tallies(self) -> Iterator[TallyStage]:
        for owned, stage in self._tallies.values():
            if owned.fold.opened.is_set():
                yield stage

    def open_tallies(self) -> list[TallyStage]:
        """The tallies whose counts are up to date."""
        return list(self._open_tallies())

    def join_states(self) -> list[JoinState]:
        """The states of the join's partitions that are open."""
        return [s.join.state for o, s in self._joins.values() if o.fold.opened.is_set()]

    def join_offsets(self) -> dict[int, int]:
        """The offset that each partition of the join has reached, with its deltas on the log."""
        return {number: min(s.acked, s.next_offset) for number, (_, s) in self._joins.items()}

    def tally_offsets(self) -> dict[int, int]:
        """The offset that each partition of the tally has reached."""
        return {number: owned.fold.next_offset for number, (owned, _) in self._tallies.items()}

    @property
    def assigned(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Partitions of the observations and of the deltas that this worker holds."""
        return tuple(sorted(self._assigned[0])), tuple(sorted(self._assigned[1]))

    @property
    def remaining(self) -> int:
        """Records that opening folds still have to read."""
        return sum(
            max(0, owned.fold.end_at_opening - owned.fold.next_offset)
            for owned, _ in (*self._joins.values(), *self._tallies.values())
            if not owned.fold.opened.is_set()
        )


def _forget(future: "asyncio.Future[Any]") -> None:
    """Its error was told, or needs no telling: a tick that is lost is made up for by the next."""
    if not future.cancelled():
        future.exception()
