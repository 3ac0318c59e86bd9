"""The service on Kafka: a worker of the stream, the source topics, and the archive tasks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from aiokafka import TopicPartition

from processor.backoff import LONGEST, Backoff
from processor.domain.events.decoder import Decoder
from processor.errors import BrokerError, ProcessorError
from processor.ingress.event_sink import EventSink
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.lag import PartitionPosition, ProgressSample, measure_lag
from processor.kafka.source_topics import source_group
from processor.kafka.topics import loaded_savepoint, prepare
from processor.savepoint.upgrade import upgraded
from processor.service.archive_tasks import ArchiveTasks
from processor.service.completeness import Completeness
from processor.service.lifecycle import Guard, background
from processor.service.modes.parts import Parts
from processor.service.modes.stream_state import StreamState
from processor.service.watches import Watches
from processor.settings import Settings
from processor.stream.ingest import SourceIngest
from processor.stream.kafka_sink import KafkaSink
from processor.stream.shared.snapshots import SharedSnapshots
from processor.stream.shared.stores import open_store
from processor.stream.worker import StreamWorker

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: Seconds between updates of the lag that /ready shows.
_LAG_EVERY = 0.5


class KafkaMode:
    """The parts of a service on Kafka; see `Mode`."""

    def __init__(self, parts: Parts) -> None:
        self._settings, self._rules, self._telemetry, self._health, self._view, self._fail = parts
        self._worker: StreamWorker | None = None
        self._ingest: SourceIngest | None = None

    async def start(self, stack: AsyncExitStack, guard: Guard, watches: Watches) -> EventSink:
        """Start the worker, and read the source topics onto the log; the sink puts new events on the
        log."""
        settings = self._settings
        shared: SharedSnapshots | None = None
        if settings.snapshots:
            store = open_store(settings.snapshots)
            shared = SharedSnapshots(store, settings.snapshots, self._telemetry)
            watches.snapshots(shared)
        kafka = Kafka(settings, settings.broker)
        source = watches.source(
            kafka, self._is_reading, lambda: self._ingest.newest if self._ingest else 0
        )
        watches.archive()
        settings = self._settings = await self._upgraded(kafka)
        log_id = await self._prepare(kafka)
        url = self._view.address.url if self._view.address else ""
        worker = self._worker = StreamWorker(
            settings, kafka, log_id, self._telemetry, self._fail, url, shared
        )
        await worker.start()
        stack.push_async_callback(worker.stop)
        self._health.worker, self._view.counts_source = StreamState(worker), worker
        self._view.group = worker
        tasks = ArchiveTasks(settings, self._rules, worker, self._health, self._telemetry, source)
        self._ingest = ingest = SourceIngest(
            kafka,
            source,
            source_group(settings),
            worker.observation_producer(Decoder(self._rules, self._telemetry)),
            self._fail,
            tasks.record_source_gap,
        )
        self._health.add(ingest, "broker", "check the broker, and the rights on the source topics")
        background(stack, guard(ingest.run()))
        background(stack, self._note_source_lag(ingest))
        tasks.start(stack, guard)
        self._follow_completeness(stack, guard, worker, ingest)
        decoder = Decoder(self._rules, self._telemetry)
        return KafkaSink(worker.observation_producer(decoder), kafka.servers)

    async def is_settled(self) -> bool:
        """Whether the counts include every observation that is on the log by now."""
        worker = self._worker
        if worker is None or not worker.recovered.is_set():
            return False
        async with running(worker.kafka.consumer()) as consumer:
            for topic, offsets in (
                (worker.topics.observations, worker.join_offsets),
                (worker.topics.deltas, worker.tally_offsets),
            ):
                partitions = [
                    TopicPartition(topic, number) for number in range(self._settings.partitions)
                ]
                ends = await consumer.end_offsets(partitions)
                reached = offsets()
                if any(reached.get(tp.partition, -1) < end for tp, end in ends.items()):
                    return False
        return True

    async def progress(self) -> list[ProgressSample]:
        """A sample of the position of each part that has work to do."""
        worker, ingest = self._worker, self._ingest
        if worker is None:
            return []

        def positions() -> dict[TopicPartition, PartitionPosition]:
            return worker.positions() | (ingest.positions() if ingest else {})

        return [worker.joining(), *await measure_lag(worker.kafka, positions)]

    async def _prepare(self, kafka: Kafka) -> str:
        """Prepare the topics; the log id."""

        async def prepared() -> str:
            log_id = await prepare(kafka, self._settings)
            loaded = await loaded_savepoint(kafka, self._settings)
            if loaded is not None:
                self._health.add_gauges(
                    savepoint_loaded_timestamp_seconds=lambda: loaded.position / 1e9,
                    savepoint_taken_timestamp_seconds=lambda: loaded.created_at / 1e9,
                    savepoint_bytes=lambda: loaded.size,
                    savepoint_requests=lambda: loaded.requests,
                )
            return log_id

        return await self._patiently(kafka, prepared)

    async def _upgraded(self, kafka: Kafka) -> Settings:
        """The settings, with the app that continues one of an older schema in its place."""

        def report(reason: str) -> None:
            if str(self._health.start_error) != reason:
                self._health.start_error = ProcessorError(reason)

        return await self._patiently(kafka, lambda: upgraded(self._settings, kafka, report))

    async def _patiently(self, kafka: Kafka, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work once the broker answers, as long as that takes, with the reason on /ready."""
        backoff = Backoff(0.5, LONGEST)
        while True:
            try:
                done = await work()
                self._health.start_error = None
                return done
            except (*FAULTS, BrokerError) as error:
                reason = error if isinstance(error, BrokerError) else await kafka.explain(error)
                self._health.start_error = reason
                logger.debug("%s; next try in %.1f s", reason, backoff.delay)
                await backoff.sleep()

    def _is_reading(self) -> bool:
        """Whether this worker holds partitions of a source topic."""
        return self._ingest is not None and bool(self._ingest.positions())

    def _follow_completeness(
        self, stack: AsyncExitStack, guard: Guard, worker: StreamWorker, ingest: SourceIngest
    ) -> None:
        def stored_is_read() -> bool:
            return ingest.has_caught_up and self._health.bootstrap_complete.is_set()

        completeness = Completeness(worker, stored_is_read)
        self._health.is_complete = completeness
        background(stack, guard(completeness.run()))

    async def _note_source_lag(self, ingest: SourceIngest) -> None:
        while True:
            self._health.lag = ingest.lag
            await asyncio.sleep(_LAG_EVERY)
