"""The state of an app on Kafka, read from its topics and snapshots as a start reads it.

It has consumers without a group, so workers that run meanwhile are not disturbed.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from math import inf

from aiokafka.structs import ConsumerRecord

from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.join.loading import apply_loaded
from processor.domain.join.state import JoinState
from processor.domain.log import schema2
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.domain.log.records import (
    Heartbeat,
    check,
    decode_delta,
    decode_observation,
    encode,
)
from processor.domain.savepoint.contents import Header, SourcePosition
from processor.domain.statistics.custom import registry
from processor.domain.tally.tally import Tally
from processor.domain.timestamps import SECOND
from processor.errors import LogMismatchError, SavepointError
from processor.kafka.clients import Kafka, running
from processor.kafka.control_log import ControlLog
from processor.kafka.log_reader import LogReader
from processor.kafka.log_schema import check_schema
from processor.kafka.source_gap import group_positions
from processor.kafka.source_topics import request_logger_group, source_group
from processor.kafka.topics import Topics, find_log
from processor.savepoint.schema2 import Schema2TallyStage
from processor.settings import Settings
from processor.stream.shared.snapshots import SharedSnapshots, newest_snapshot
from processor.stream.shared.stores import open_store
from processor.stream.snapshot_file import SnapshotFile
from processor.stream.tally_stage import TallyStage
from processor.telemetry import Telemetry, product_version

logger = logging.getLogger(__name__)

#: The schemas whose logs can be saved.
READABLE = (schema2.VERSION, SCHEMA_VERSION)


class KafkaState:
    """A `StateSource` of an app that runs, or has run, on Kafka.

    The tallies are read before the log of each partition of the join, so the log has everything that
    they include. What the fold sends beyond that, they get from here.
    """

    def __init__(self, settings: Settings, kafka: Kafka) -> None:
        self.read = self.total = 0
        """The records of observations that were read, and about how many there are to read."""
        self.header: Header
        """What the savepoint begins with, once it is open."""
        self._settings = settings
        self._kafka = kafka
        self._topics = Topics.of(settings.app_id)
        self._log_id, self._schema = "", SCHEMA_VERSION
        self._shared: SharedSnapshots | None = None
        if settings.snapshots:
            store = open_store(settings.snapshots)
            self._shared = SharedSnapshots(store, settings.snapshots, Telemetry())
        reader = LogReader(kafka, self._topics.control, 0)
        self._control = ControlLog(reader, None, self._topics.control)
        self._stages: list[TallyStage] = []
        self._next_offsets: list[int] = []
        #: The offset in each partition of the observations up to which the savepoint has it.
        self._cuts: dict[int, int] = {}

    async def open(self) -> Header:
        """See `StateSource`. `BrokerError` or `LogMismatchError` if the app has no such state."""
        settings, control = self._settings, self._control
        taken_at = time.time_ns()
        if not self._log_id:
            await self.measure()
        sources = await self._source_positions()
        await control.refresh()
        for number in range(settings.partitions):
            await self._open_tally(number)
        await self._catch_up()
        self.header = Header(
            secrets.token_hex(8),
            product_version(),
            self._schema,
            settings.app_id,
            taken_at,
            control.created_at,
            settings.horizon,
            settings.partitions,
            sources,
            dict(control.cursors),
            control.done,
            control.outcomes_since,
            control.gap_since,
        )
        return self.header

    async def _source_positions(self) -> list[SourcePosition]:
        """The positions of the groups that read the source: what is before them is on the log."""
        settings = self._settings
        found: list[SourcePosition] = []
        async with running(self._kafka.admin()) as admin:
            for group in (source_group(settings), request_logger_group(settings)):
                name = group.removeprefix(f"{settings.app_id}-")
                positions = await group_positions(admin, group)
                found += [
                    SourcePosition(name, each.topic, each.partition, offset, metadata or "")
                    for each, (offset, metadata) in sorted(positions.items())
                    if offset >= 0
                ]
        return found

    # -- the tallies

    async def _open_tally(self, number: int) -> None:
        """Load the checkpoint of a partition of the deltas from the table's changelog."""
        topics, telemetry = self._topics, Telemetry()
        table: dict[bytes, bytes] = {}
        changelog = LogReader(self._kafka, topics.changelog, number)
        async for records in changelog.read(*await changelog.bounds()):
            for record in records:
                if record.value is None:
                    table.pop(record.key, None)
                else:
                    table[record.key] = record.value
        kind = Schema2TallyStage if self._schema == schema2.VERSION else TallyStage
        stage = kind(number, self._log_id, topics.deltas, (), table, telemetry)
        reader = LogReader(self._kafka, topics.deltas, number)
        self._stages.append(stage)
        self._next_offsets.append(await stage.load(*await reader.bounds()))

    async def _catch_up(self) -> None:
        """Read the deltas to their end, but for those after the cuts."""
        for number, stage in enumerate(self._stages):
            reader = LogReader(self._kafka, self._topics.deltas, number)
            _, end = await reader.bounds()
            async for records in reader.read(self._next_offsets[number], end):
                for record in records:
                    self._fold_delta(stage, record)
                await asyncio.sleep(0)
            self._next_offsets[number] = max(end, self._next_offsets[number])

    def _fold_delta(self, stage: TallyStage, record: ConsumerRecord) -> None:
        offset, timestamp = record.offset, record.timestamp * 1_000_000
        delta = stage.decode_delta(record.value)
        if not isinstance(delta, Heartbeat) and delta.offset >= self._cuts.get(delta.source, inf):
            stage.tally.advance(offset, timestamp)
            return
        stage.fold(offset, timestamp, record.value)

    def log_times(self) -> Sequence[int]:
        """See `StateSource`."""
        return [stage.tally.log_time for stage in self._stages]

    def tallies(self) -> Sequence[Tally]:
        """See `StateSource`."""
        return [stage.tally for stage in self._stages]

    # -- the join

    def _readers(self) -> list[LogReader]:
        return [
            LogReader(self._kafka, self._topics.observations, number)
            for number in range(self._settings.partitions)
        ]

    async def measure(self) -> None:
        """Measure how much there is to read. `BrokerError` if there is no such app."""
        self._log_id, self._schema = await find_log(self._kafka, self._settings)
        if self._schema not in READABLE:
            check_schema(self._schema, self._settings)
        for reader in self._readers():
            begin, end = await reader.bounds()
            self.total += end - begin

    async def joins(self) -> AsyncIterator[tuple[int, JoinState]]:
        """See `StateSource`."""
        for number, reader in enumerate(self._readers()):
            fold, start = await self._restored(number, reader)
            # In this order: a newer snapshot may include more than the tallies had before.
            await self._catch_up()
            _, end = await reader.bounds()
            async for records in reader.read(start, end):
                for record in records:
                    self._fold(number, fold, record)
                self.read += len(records)
                await asyncio.sleep(0)
            self._cuts[number] = end
            _check_statistics(fold.state)
            yield number, fold.state

    async def _restored(self, number: int, reader: LogReader) -> tuple[JoinFold, int]:
        """The fold of a partition from its snapshot, if there is one, and the offset to read from."""
        settings = self._settings
        horizon, partitions = settings.horizon * SECOND, settings.partitions
        fold = JoinFold(self._log_id, number, partitions, horizon, Telemetry())
        file = SnapshotFile(
            settings.data, settings.app_id, self._log_id, number, partitions, horizon
        )
        copies = self._shared.of(file) if self._shared else None
        snapshot, _ = await newest_snapshot(file, copies)
        if copies is not None and copies.trouble():
            logger.warning("shared snapshots: %s; more of the log is read", copies.trouble())
        begin, end = await reader.bounds()
        if snapshot is not None and snapshot.offset > end:
            raise LogMismatchError(
                f"topic {self._topics.observations} ends at {end}, its snapshot is at "
                f"{snapshot.offset}: the topic was emptied, so there is no state to save"
            )
        if snapshot is None or snapshot.offset < begin:
            return fold, begin
        fold.restore(snapshot.state)
        self.read += snapshot.offset - begin
        return fold, snapshot.offset

    def _fold(self, number: int, fold: JoinFold, message: ConsumerRecord) -> None:
        offset, timestamp = message.offset, message.timestamp * 1_000_000
        old = self._schema == schema2.VERSION
        record = (schema2.decode_observation if old else decode_observation)(message.value)
        check(record, self._log_id, self._topics.observations, self._schema)
        if isinstance(record, Heartbeat):
            fold.advance(timestamp)
            if record.evict_before:
                fold.evict(record.evict_before)
            return
        deltas = (
            fold.apply(offset, timestamp, record)
            if isinstance(record, ObservationBatch)
            else apply_loaded(fold, offset, timestamp, record)
        )
        self._add(number, deltas)

    def _add(self, number: int, deltas: Deltas) -> None:
        """Add the deltas of a partition that the tallies do not have."""
        for target, batch in deltas.items():
            tally = self._stages[target].tally
            if batch.offset <= tally.last.get(number, -1):
                continue
            record = decode_delta(encode(batch))
            assert isinstance(record, DeltaBatch)
            if self._schema == schema2.VERSION:
                for delta in record.deltas:
                    delta.sums = []  # a load counts what schema 2 did not
            if not tally.apply(tally.offset, 0, record):
                raise LogMismatchError(
                    f"the deltas of {self._topics.observations}/{number} before offset "
                    f"{batch.offset} are gone: start the workers once, then save again"
                )

    async def evicted(self) -> int:
        """See `StateSource`."""
        await self._control.refresh()
        return max(self._control.evicted, time.time_ns() - self._settings.horizon * SECOND)


def _check_statistics(state: JoinState) -> None:
    """Raise `SavepointError` if requests have custom statistics that this process does not run:
    what they count could not be told from the other counts."""
    places = {place for answer in state.answers for place in answer.schema.statistics}
    missing = sorted(place for place in places if registry.find(place) is None)
    if missing:
        raise SavepointError(
            f"requests in memory have the statistic {missing[0]}, which can't be run here: give the "
            "same PROCESSOR_MODELS and PROCESSOR_CUSTOM_STATISTICS as to the workers"
        )
