"""One worker of the stream: the folds of its partitions, their heartbeats, and their counts."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiokafka import TopicPartition

from processor.domain.events.decoder import Decoder
from processor.domain.join.fold import JoinFold
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.recent import RecentCounts
from processor.domain.timestamps import SECOND
from processor.kafka.clients import Kafka
from processor.kafka.control_log import ControlLog
from processor.kafka.lag import PartitionPosition, ProgressSample
from processor.kafka.log_reader import LogReader
from processor.kafka.topics import Topics
from processor.settings import Settings
from processor.stream.app import attach, make_app, members_of
from processor.stream.delta_producer import DeltaProducer
from processor.stream.eviction import EvictionPolicy
from processor.stream.join_stage import JoinStage, close_within
from processor.stream.observation_producer import ObservationProducer
from processor.stream.partition_fold import PartitionFold
from processor.stream.partition_manager import HEARTBEAT, PartitionManager, fatal, forget
from processor.stream.shared.snapshots import SharedSnapshots
from processor.stream.snapshot_file import SnapshotFile, remove_old_snapshots
from processor.stream.snapshotter import Snapshotter
from processor.stream.table_recovery import TableRecovery
from processor.stream.tally_stage import TallyStage
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Timeout (s) of the last snapshots: a large state is read from the log sooner than it is written.
_LAST_SNAPSHOTS = 4.0


class StreamWorker:
    """Runs the Faust app, and the folds of the partitions that are assigned to it.

    ``fail`` is called with an error that must end the process; the next owner of the partitions then
    reads the unfinished records again. ``url`` is announced to the other workers,
    and snapshots are copied to ``shared``.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: Kafka,
        log_id: str,
        telemetry: Telemetry,
        fail: Callable[[BaseException], None],
        url: str = "",
        shared: SharedSnapshots | None = None,
    ) -> None:
        self.settings = settings
        self.kafka = kafka
        self.log_id = log_id
        self.telemetry = telemetry
        self.topics = Topics.of(settings.app_id)
        self.on_lead: Callable[[bool], None] = lambda leads: None
        """Called at each assignment with whether this worker is the leader."""
        self._fail = fail
        self._assignments = 0
        self.takeovers = 0
        """Changes whenever this worker is given partitions that it did not have."""
        self._writer_thread, self._shared = WriterThread(), shared
        self._joins = PartitionManager(self._new_join, fail)
        self._tallies = PartitionManager(self._new_tally, fail)
        # The linger is short, since a record holds hundreds of events already.
        self._producer = kafka.producer(linger_ms=2, request_timeout_ms=60_000)
        self._delta_producer = DeltaProducer(self._producer, self.topics.deltas, fail)
        self._app = make_app(settings, kafka.servers, url)
        self._table = attach(
            self._app, self.topics, settings.partitions, self._deliver_join, self._deliver_tally
        )
        self._app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self._recovery = TableRecovery(self._app, self._tallies.open)
        self.recovered = self._recovery.recovered
        """Set once the table was recovered for the first time."""
        self._heartbeat_task: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the worker. Returns at once; `recovered` is set when the worker has joined its group."""
        remove_old_snapshots(self.settings.data, self.settings.app_id, self.log_id)
        await self._producer.start()
        self._runner = asyncio.create_task(self._run_app())
        self._heartbeat_task = asyncio.create_task(self._run_heartbeat())
        self._heartbeat_task.add_done_callback(forget)

    async def stop(self) -> None:
        """Leave the group, wait for acknowledgements, and write last snapshots.

        This never returns while the broker is away, so the caller sets a timeout. The counts stay exact
        without it.
        """
        await self._app.stop()
        if self._runner:
            await asyncio.wait([self._runner])
        if self._heartbeat_task:
            self._heartbeat_task.cancel()
        await self._joins.close()
        await self._tallies.close()
        await self._producer.stop()
        await close_within(_LAST_SNAPSHOTS, self._joins.open_stages())
        self._writer_thread.close()

    def control(self) -> ControlLog:
        """Make a reader and writer of the control topic."""
        reader = LogReader(self.kafka, self.topics.control, 0)
        return ControlLog(reader, self._producer, self.topics.control)

    def observation_producer(self, decoder: Decoder) -> ObservationProducer:
        """Make a producer of observations on this log; each task that adds events needs its own."""
        return ObservationProducer(
            decoder,
            self._producer,
            self.topics.observations,
            self.topics.dead_letters,
            self.settings.partitions,
            self.log_id,
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

    # -- partitions are assigned and revoked

    async def _on_assigned(self, app: Any, assigned: Any = (), **kwargs: Any) -> None:
        """Drop revoked partitions, and open new ones beside the stream.

        Partitions are not dropped when they are revoked: an eager rebalance revokes all of them for a
        moment, and their gauges must not disappear each time.
        """
        self._assignments += 1
        joins = {tp.partition for tp in assigned if tp.topic == self.topics.observations}
        tallies = {tp.partition for tp in assigned if tp.topic == self.topics.deltas}
        logger.info("partitions: observations %s, deltas %s", sorted(joins), sorted(tallies))
        self.on_lead(any(tp.topic == self.topics.control for tp in assigned))
        before = self.assigned
        self._joins.assign(joins)
        # Who was out of reach for longer may have lost the partition and got it back.
        self._tallies.assign(tallies, trusted=self.settings.session_timeout)
        if joins - set(before[0]) or tallies - set(before[1]):
            self.takeovers += 1
        self._joins.open()

    def _new_join(self, partition: int) -> tuple[PartitionFold, JoinStage]:
        settings, topic = self.settings, self.topics.observations
        reader = LogReader(self.kafka, topic, partition)
        horizon = settings.horizon * SECOND
        fold = JoinFold(self.log_id, partition, settings.partitions, horizon, self.telemetry)
        if settings.has_archive:
            fold.unmatched = {}
            fold.judged = {} if settings.outcomes else None
        file = SnapshotFile(
            settings.data, settings.app_id, self.log_id, partition, settings.partitions, horizon
        )
        shared = self._shared.of(file) if self._shared else None
        name = f"{topic}/{partition}"
        stage = JoinStage(
            fold,
            name,
            reader,
            Snapshotter(file, name, self.telemetry, self._writer_thread, shared),
            self._delta_producer,
            self.telemetry,
        )
        return PartitionFold(stage, reader, f"join {name}"), stage

    def _new_tally(self, partition: int) -> tuple[PartitionFold, TallyStage]:
        topic = self.topics.deltas
        stage = TallyStage(
            partition, self.log_id, topic, self.settings.windows, self._table, self.telemetry
        )
        reader = LogReader(self.kafka, topic, partition)
        return PartitionFold(stage, reader, f"tally {topic}/{partition}"), stage

    # -- records are delivered

    async def _deliver_join(
        self, partition: int, offset: int, timestamp: int, value: bytes
    ) -> None:
        await self._joins.deliver(partition, offset, timestamp, value)

    async def _deliver_tally(
        self, partition: int, offset: int, timestamp: int, value: bytes
    ) -> None:
        stage = await self._tallies.deliver(partition, offset, timestamp, value)
        # Not while the fold opens: its state may then be in the middle of a record.
        if stage is not None:
            with fatal(self._fail):
                stage.maybe_flush()

    # -- heartbeats

    async def _run_heartbeat(self) -> None:
        limit = self.settings.max_memory
        eviction = None if limit is None else EvictionPolicy(limit, self.control())
        clock = time.monotonic
        while True:
            started = clock()
            await asyncio.sleep(HEARTBEAT)
            if clock() - started > self.settings.session_timeout:
                # The process was frozen, so another worker may have counted on: what it published must
                # not be followed by the older counts of this one.
                logger.info("the process stood still for %.0f s: checking", clock() - started)
                self._tallies.check_ends()
            self._recovery.check()
            for partition, join in self._joins.due(lambda stage: stage.batches > 0):
                await self._send_heartbeat(self.topics.observations, partition, join.heartbeat())
            for partition, _ in self._tallies.due(lambda stage: stage.dirty):
                await self._send_heartbeat(
                    self.topics.deltas, partition, Heartbeat(SCHEMA_VERSION, self.log_id, 0)
                )
            if eviction is not None:
                await self._evict(eviction)

    async def _evict(self, eviction: EvictionPolicy) -> None:
        joins = self._joins.open_by_number()
        next_eviction = await eviction.next_eviction(joins)
        if next_eviction is not None:
            number, before = next_eviction
            await self._send_heartbeat(
                self.topics.observations, number, joins[number].heartbeat(before)
            )

    async def _send_heartbeat(self, topic: str, partition: int, heartbeat: Heartbeat) -> None:
        with fatal(self._fail):
            future = await self._producer.send(topic, encode(heartbeat), partition=partition)
        # The next heartbeat replaces one that is lost.
        future.add_done_callback(forget)

    # -- counts and progress

    def advance(self, now: float) -> Iterator[None]:
        """Move the windows of the models to ``now``, one after the other."""
        for stage in self._tallies.open_stages():
            for _ in stage.board(now):
                yield

    def windows(self, now: float) -> Mapping[tuple[str, str], Mapping[ModelKey, Counts]]:
        """Return the counts of all models of this worker's partitions, by window and basis.

        ``now``: the end of the windows, in seconds since 1970. Partitions that are still opening are
        left out, since their counts are old.
        """
        board: dict[tuple[str, str], dict[ModelKey, Counts]] = {
            (window.name, basis): {}
            for window in self.settings.windows
            for basis in ("request", "feedback")
        }
        for stage in self._tallies.open_stages():
            for key, window, basis, counts in stage.board(now):
                board[window, basis][key] = counts
        return board

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """Yield the models of this worker's partitions with their counts of recent windows."""
        for stage in self._tallies.open_stages():
            yield from stage.tally.recent_counts(now)

    def buckets(self, tier: int, basis: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """Return the buckets of a tier and basis, by model and start: windows are sums of them."""
        return {
            key: buckets
            for stage in self._tallies.open_stages()
            for key, buckets in stage.tally.buckets(tier, basis)
        }

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        """Return the counts of delays by model, for the estimates while labels are late."""
        return {
            key: cohorts
            for stage in self._tallies.open_stages()
            for key, cohorts in stage.tally.cohorts()
        }

    def open_tallies(self) -> list[TallyStage]:
        """Return the tallies whose counts are up to date."""
        return self._tallies.open_stages()

    def join_states(self) -> list[JoinState]:
        """Return the states of the join's open partitions."""
        return [stage.join.state for stage in self._joins.open_stages()]

    def joins(self) -> dict[int, JoinFold]:
        """Return the folds of the join's open partitions, by partition."""
        return {number: stage.join for number, stage in self._joins.open_by_number().items()}

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """Return whether a prediction for a request is in memory, None if this worker does not hold
        the request's partition, or is not up to date with its log."""
        number = partition_of(request_id, self.settings.partitions)
        stage = self._joins.open_by_number().get(number)
        if stage is None:
            return None
        return stage.join.has_prediction(namespace, deployment, request_id)

    def join_offsets(self) -> dict[int, int]:
        """Return the offset of each partition of the join below which all deltas are on the log."""
        return {
            number: min(stage.sent_below, stage.next_offset)
            for number, stage in self._joins.stages().items()
        }

    def positions_of_joins(self) -> dict[TopicPartition, int]:
        """Return `join_offsets` by topic and partition."""
        topic = self.topics.observations
        return {TopicPartition(topic, n): offset for n, offset in self.join_offsets().items()}

    def positions_of_tallies(self) -> dict[TopicPartition, int]:
        """Return `tally_offsets` by topic and partition."""
        topic = self.topics.deltas
        return {TopicPartition(topic, n): offset for n, offset in self.tally_offsets().items()}

    @property
    def is_open(self) -> bool:
        """Whether the worker has joined its group, and all of its partitions are up to date."""
        return self.recovered.is_set() and self._joins.are_open and self._tallies.are_open

    def tally_offsets(self) -> dict[int, int]:
        """Return the next offset of each partition of the tally."""
        return self._tallies.offsets()

    @property
    def assigned(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The assigned partitions of the observations and of the deltas."""
        return self._joins.numbers, self._tallies.numbers

    def members(self) -> dict[str, list[int]]:
        """Return the partitions of the deltas of each worker of the app, by its announced URL."""
        return members_of(self._app, self.topics.deltas)

    def counted_offsets(self) -> dict[int, int]:
        """Return the next offset of each partition of the tally whose counts are up to date."""
        offsets = self._tallies.offsets()
        return {number: offsets[number] for number in self._tallies.open_by_number()}

    def positions(self) -> dict[TopicPartition, PartitionPosition]:
        """Return the position of each partition of both logs.

        While the table is recovered all streams wait, so a step of the recovery counts as progress of
        every partition.
        """
        recovering = self._recovery.remaining
        return {
            TopicPartition(topic, number): position._replace(
                mark=(position.mark, recovering, self._assignments)
            )
            for topic, positions in (
                (self.topics.observations, self._joins.positions()),
                (self.topics.deltas, self._tallies.positions()),
            )
            for number, position in positions.items()
        }

    def joining(self) -> ProgressSample:
        """Return the progress of joining the group and recovering the table for the first time."""
        behind = 0 if self.recovered.is_set() else 1
        mark = (self._recovery.remaining, self._assignments)
        return ProgressSample(f"joining the group {self.settings.app_id}", behind, mark)

    @property
    def remaining(self) -> int:
        """The number of records that the table and the opening folds still have to read."""
        return self._recovery.remaining + self._joins.remaining + self._tallies.remaining

    @property
    def recovery_seconds(self) -> float:
        """Seconds that the slowest partition took to catch up, or has taken so far."""
        return max(self._joins.recovery_seconds, self._tallies.recovery_seconds)

    @property
    def failing(self) -> int:
        """The number of partitions with a record that fails to fold repeatedly."""
        return self._joins.failing + self._tallies.failing
