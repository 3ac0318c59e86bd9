"""The service: starts all parts of a worker process in order, and ends them in reverse order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from processor.archive.sqlite.archive import SqliteArchive
from processor.backoff import LONGEST, Backoff
from processor.domain.events.decoder import Decoder
from processor.embedded.archive_publisher import ArchivePublisher, ArchiveSink
from processor.embedded.broker import EmbeddedBroker
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.errors import BrokerError, SettingsError, StalledError, described
from processor.ingress.event_sink import EventSink
from processor.ingress.http import INGRESS, ingress_port, make_ingress
from processor.ingress.tls import ingress_tls
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.lag import PartitionPosition, ProgressSample, measure_lag
from processor.kafka.source_topics import SourceTopics
from processor.kafka.topics import prepare
from processor.models_file import read_models_file
from processor.publish.interfaces import NoCounts, WorkerView
from processor.publish.site import make_site, metrics_port
from processor.service.archive_tasks import ArchiveTasks, source_group
from processor.service.completeness import Completeness
from processor.service.health import ServiceHealth
from processor.service.known_requests import KnownRequests
from processor.service.lifecycle import background, collect_cycles, ending_within, serve
from processor.service.watchdog import Watchdog
from processor.service.watches import Watches
from processor.settings import Settings
from processor.stream.ingest import SourceIngest
from processor.stream.kafka_sink import KafkaSink
from processor.stream.worker import StreamWorker
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds that an orderly end may take; without a broker it would take for ever.
_MAX_END = 9.0
#: Seconds between updates of the lag that /ready shows.
_LAG_EVERY = 0.5


class Service:
    """One worker process, embedded or on a Kafka, as the settings say.

    ``metrics_url`` and the ``ingress_url`` of its ``view`` are empty until the ports are open.
    `SettingsError` if the models file is not valid.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self._watchdog = Watchdog(self._measure_progress, self.fail)
        self.health = ServiceHealth(self.telemetry, self._watchdog)
        self._rules = read_models_file(settings.models, settings.custom_statistics)
        self.view = WorkerView(NoCounts(), self.health, self.telemetry, settings, rules=self._rules)
        self.metrics_url = ""
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._archive: SqliteArchive | None = None
        self._publisher: ArchivePublisher | None = None
        self._ingest: SourceIngest | None = None

    def fail(self, error: BaseException) -> None:
        """End the process because of this error; further errors are ignored."""
        if not self._failed.done():
            self.health.failure = described(error)
            self._failed.set_result(error)

    async def wait_for_failure(self) -> BaseException:
        """Wait for the error that ends the process, and return it."""
        return await asyncio.shield(self._failed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        """Start all parts, and stop them when the block ends; `ProcessorError` if one can't start."""
        settings = self.settings
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"PROCESSOR_DATA={str(settings.data)!r} can't be made: {error.strerror or error}"
            ) from None
        for line in settings.without_effect():
            logger.warning("%s", line)
        tls = ingress_tls(settings)
        async with AsyncExitStack() as stack:
            background(stack, collect_cycles())
            site = make_site(self.view, (ingress_port(settings),))
            self.metrics_url = await serve(stack, site, settings.metrics_port, "METRICS")
            background(stack, self._guard(self.health.run()))
            watches = Watches(settings, self.health, self.telemetry, stack, self._guard)
            watches.disks([settings.data, self._archive_path().parent])
            watches.models_file(self._rules)
            if settings.embedded:
                archive = self._archive = await self._open_archive(stack)
                broker = await self._start_broker(stack)
                memory_guard = self._guard_memory(stack, broker)
                worker = await self._start_worker(stack, Kafka(settings, (broker.address,)))
                sink = self._open_embedded_source(stack, worker, archive, memory_guard)
            else:
                kafka = Kafka(settings, settings.broker)
                source = watches.source(kafka, self._is_reading)
                watches.archive()
                worker = await self._start_worker(stack, kafka)
                sink = self._open_kafka_source(stack, worker, source)
            self._follow_completeness(stack, worker)
            background(stack, self._guard(self._watchdog.run()))
            ingress = make_ingress(
                sink,
                settings,
                time.time_ns,
                self._rules,
                lookup=KnownRequests(self.health),
                telemetry=self.telemetry,
                other_ports=(metrics_port(settings),),
            )
            self.health.add_gauges(ingress_in_flight=lambda: ingress[INGRESS].in_flight)
            self.view.ingress_url = await serve(
                stack, ingress, settings.ingress_port, "INGRESS", tls
            )
            stack.push_async_callback(ingress[INGRESS].drain)
            yield self

    async def _start_broker(self, stack: AsyncExitStack) -> EmbeddedBroker:
        broker = EmbeddedBroker()
        await broker.start()
        stack.push_async_callback(broker.stop)
        background(stack, self._watch(broker))
        return broker

    def _guard_memory(self, stack: AsyncExitStack, broker: EmbeddedBroker) -> BrokerMemoryGuard:
        memory_guard = BrokerMemoryGuard(broker, self.settings.max_broker_memory)
        self.health.add(
            memory_guard,
            embedded_broker_bytes=lambda: memory_guard.used_bytes,
            embedded_broker_limit_bytes=lambda: memory_guard.max_bytes,
        )
        background(stack, self._guard(memory_guard.run()))
        return memory_guard

    def _is_reading(self) -> bool:
        """Whether this worker holds partitions of a source topic."""
        return self._ingest is not None and bool(self._ingest.positions())

    def _follow_completeness(self, stack: AsyncExitStack, worker: StreamWorker) -> None:
        def stored_is_read() -> bool:
            read = self._ingest is None or self._ingest.has_caught_up
            return read and self.health.bootstrap_complete.is_set()

        completeness = Completeness(worker, stored_is_read)
        self.health.is_complete = completeness
        background(stack, self._guard(completeness.run()))

    async def _start_worker(self, stack: AsyncExitStack, kafka: Kafka) -> StreamWorker:
        log_id = await self._prepare(kafka)
        worker = StreamWorker(self.settings, kafka, log_id, self.telemetry, self.fail)
        await worker.start()
        stack.push_async_callback(worker.stop)
        self.health.worker = self.view.counts_source = worker
        return worker

    async def is_settled(self) -> bool:
        """Whether the counts include every event that has been accepted by now."""
        worker = self.health.worker
        if worker is None or not worker.recovered.is_set() or await self._archive_lag():
            return False
        async with running(worker.kafka.consumer()) as consumer:
            for topic, offsets in (
                (worker.topics.observations, worker.join_offsets),
                (worker.topics.deltas, worker.tally_offsets),
            ):
                partitions = [
                    TopicPartition(topic, number) for number in range(self.settings.partitions)
                ]
                ends = await consumer.end_offsets(partitions)
                reached = offsets()
                if any(reached.get(tp.partition, -1) < end for tp, end in ends.items()):
                    return False
        return True

    def _open_embedded_source(
        self,
        stack: AsyncExitStack,
        worker: StreamWorker,
        archive: SqliteArchive,
        memory_guard: BrokerMemoryGuard,
    ) -> EventSink:
        """Publish the archive to the log; the sink stores new events in the archive."""
        decoder = Decoder(self._rules, self.telemetry)
        self._publisher = publisher = ArchivePublisher(
            archive, worker.observation_producer(decoder), self.telemetry
        )
        background(stack, self._guard(publisher.run()))
        background(stack, self._note_bootstrap(publisher))
        background(stack, self._guard(self._note_archive_lag()))
        tasks = ArchiveTasks(self.settings, self._rules, worker, self.health, self.telemetry)
        # Every event of this archive has been on the log.
        tasks.start_lookups(archive, stack, self._guard, lambda _: None)
        # The telemetry of the sink's decoder is thrown away: an event counts when it is on the log.
        return ArchiveSink(archive, Decoder(self._rules, Telemetry()), publisher, memory_guard)

    def _open_kafka_source(
        self, stack: AsyncExitStack, worker: StreamWorker, source: SourceTopics
    ) -> EventSink:
        """Read the source topics onto the log; the sink puts new events on the log."""
        settings = self.settings
        tasks = ArchiveTasks(settings, self._rules, worker, self.health, self.telemetry, source)
        self._ingest = ingest = SourceIngest(
            worker.kafka,
            source,
            source_group(settings),
            worker.observation_producer(Decoder(self._rules, self.telemetry)),
            self.fail,
            tasks.record_source_gap,
        )
        self.health.add(ingest, "broker", "check the broker, and the rights on the source topics")
        background(stack, self._guard(ingest.run()))
        background(stack, self._note_source_lag(ingest))
        tasks.start(stack, self._guard)
        decoder = Decoder(self._rules, self.telemetry)
        return KafkaSink(worker.observation_producer(decoder), worker.kafka.servers)

    async def _open_archive(self, stack: AsyncExitStack) -> SqliteArchive:
        settings = self.settings
        # Settings can't refuse this themselves: a replay reads Elasticsearch without any broker.
        if settings.archive and not settings.archive.startswith("sqlite:"):
            raise SettingsError(
                f"PROCESSOR_ARCHIVE={settings.archive!r} needs PROCESSOR_BROKER: the embedded mode "
                "keeps its events in SQLite, use sqlite:PATH or leave it empty"
            )
        archive = await SqliteArchive.open(self._archive_path())
        stack.push_async_callback(archive.close)
        return archive

    def _archive_path(self) -> Path:
        """The file of the embedded mode's archive."""
        path = self.settings.archive.removeprefix("sqlite:")
        return Path(path) if path else self.settings.data / "events.sqlite"

    async def _measure_progress(self) -> list[ProgressSample]:
        """A sample of the position of each part that has work to do."""
        worker, ingest, publisher = self.health.worker, self._ingest, self._publisher
        if worker is None:
            return []

        def positions() -> dict[TopicPartition, PartitionPosition]:
            return worker.positions() | (ingest.positions() if ingest else {})

        samples = [worker.joining(), *await measure_lag(worker.kafka, positions)]
        if publisher is not None:
            lag = await self._archive_lag()
            samples.append(ProgressSample("reading the archive", lag, publisher.position))
        return samples

    async def _archive_lag(self) -> int:
        """Events of the embedded archive that are not on the log yet; 0 on a Kafka."""
        if self._archive is None or self._publisher is None:
            return 0
        return max(0, await self._archive.last() - self._publisher.position)

    async def _prepare(self, kafka: Kafka) -> str:
        """Prepare the topics; the log id. Waits for the broker as long as it takes, with the reason on
        /ready."""
        backoff = Backoff(0.5, LONGEST)
        while True:
            try:
                log_id = await prepare(kafka, self.settings)
                self.health.start_error = None
                return log_id
            except (*FAULTS, BrokerError) as error:
                reason = error if isinstance(error, BrokerError) else await kafka.explain(error)
                self.health.start_error = reason
                logger.debug("%s; next try in %.1f s", reason, backoff.delay)
                await backoff.sleep()

    async def _watch(self, broker: EmbeddedBroker) -> None:
        error = await broker.died()
        if error is not None:
            self.fail(error)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                # A library has let out a cancellation of its own: without this the work would end
                # unnoticed.
                self.fail(StalledError("work in the background was cancelled: start again"))
            raise
        except BaseException as error:
            self.fail(error)

    async def _note_bootstrap(self, publisher: ArchivePublisher) -> None:
        await publisher.complete.wait()
        self.health.bootstrap_complete.set()

    async def _note_archive_lag(self) -> None:
        while True:
            self.health.lag = await self._archive_lag()
            await asyncio.sleep(_LAG_EVERY)

    async def _note_source_lag(self, ingest: SourceIngest) -> None:
        while True:
            self.health.lag = ingest.lag
            await asyncio.sleep(_LAG_EVERY)


async def run_service(
    settings: Settings, stop: asyncio.Event, started: Callable[[Service], None]
) -> None:
    """Run the service until ``stop`` is set, or raise the error that ended it.

    ``started`` is called once all parts have started.
    """
    service = Service(settings)
    running = asyncio.create_task(_run(service, started))
    failure = asyncio.create_task(service.wait_for_failure())
    stopping = asyncio.create_task(stop.wait())
    try:
        # A start may wait for its broker for ever: a signal or a failure ends that as well.
        await asyncio.wait([running, failure, stopping], return_when=asyncio.FIRST_COMPLETED)
        reason = failure.result() if failure.done() else None
        with ending_within(_MAX_END, reason):
            running.cancel()
            await asyncio.wait([running])
        if reason is not None:
            raise reason
        if not running.cancelled():
            running.result()
    finally:
        failure.cancel()
        stopping.cancel()


async def _run(service: Service, started: Callable[[Service], None]) -> None:
    async with service.running():
        started(service)
        await asyncio.Event().wait()
