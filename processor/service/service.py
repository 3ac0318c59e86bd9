"""The service: everything put together, started in order, and ended in the opposite one."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.decoder import Decoder
from processor.embedded.archive_publisher import ArchivePublisher, ArchiveSink
from processor.embedded.broker import EmbeddedBroker
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.errors import BrokerError, SettingsError, StalledError
from processor.ingress.event_sink import EventSink
from processor.ingress.http import INGRESS, make_ingress
from processor.ingress.tls import ingress_tls
from processor.kafka.clients import FAULTS, Kafka
from processor.kafka.lag import PartitionPosition, ProgressSample, measure_lag
from processor.kafka.topics import prepare
from processor.models_file import follow_models_file, read_models_file
from processor.publish.site import make_site
from processor.service.archive_tasks import ArchiveTasks, source_group
from processor.service.health import ServiceHealth
from processor.service.lifecycle import background, collect_cycles, ending_within, serve
from processor.service.watchdog import Watchdog
from processor.settings import Settings
from processor.stream.ingest import SourceIngest
from processor.stream.kafka_sink import KafkaSink
from processor.stream.worker import StreamWorker
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds that an orderly end may take; without a broker it does not come to one.
_ENDING = 9.0


_INSTEAD = {
    "PROCESSOR_REQUEST_LOGGER": " without PROCESSOR_ARCHIVE=http(s)://...",
    "PROCESSOR_OUTCOMES": " without PROCESSOR_ARCHIVE=http(s)://...",
    "PROCESSOR_ARCHIVE=sqlite:": " with PROCESSOR_BROKER: use http(s)://elasticsearch:9200 or none",
}


class Service:
    """One worker process. ``metrics_url`` and ``ingress_url`` are known once it has started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self.health = ServiceHealth(self.telemetry)
        self.metrics_url = ""
        self.ingress_url = ""
        self._rules = read_models_file(settings.models)
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._archive: SqliteArchive | None = None
        self._publisher: ArchivePublisher | None = None
        self._ingest: SourceIngest | None = None
        self._kafka: Kafka | None = None

    def fail(self, error: BaseException) -> None:
        """End the process for this error; the first one counts."""
        if not self._failed.done():
            self.health.failure = f"{type(error).__name__}: {error}"
            self._failed.set_result(error)

    async def wait_for_failure(self) -> BaseException:
        """The error that ends the process."""
        return await asyncio.shield(self._failed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        """Started inside, stopped after. `ProcessorError` if it can't start."""
        settings = self.settings
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"PROCESSOR_DATA={str(settings.data)!r} can't be made: {error.strerror or error}"
            ) from None
        self._warn_of_idle_settings()
        tls = ingress_tls(settings)
        async with AsyncExitStack() as stack:
            background(stack, collect_cycles())
            site = make_site(self, self.health, self.telemetry, settings, time.time)
            self.metrics_url = await serve(stack, site, settings.metrics_port, "METRICS")
            servers = settings.broker
            if settings.embedded:
                self._archive = await self._open_archive(stack)
                broker = EmbeddedBroker()
                await broker.start()
                stack.push_async_callback(broker.stop)
                background(stack, self._watch(broker))
                self.health.memory_guard = memory_guard = BrokerMemoryGuard(
                    broker, settings.max_broker_memory
                )
                background(stack, self._guard(memory_guard.run()))
                servers = (broker.address,)
            self._kafka = kafka = Kafka(settings, servers)
            log_id = await self._prepare(kafka)
            worker = StreamWorker(settings, kafka, log_id, self.telemetry, self.fail)
            await worker.start()
            stack.push_async_callback(worker.stop)
            self.health.worker = worker
            if settings.models is not None:
                background(stack, self._guard(follow_models_file(settings.models, self._rules)))
            sink = self._open_source(stack, kafka, worker)
            self.health.watchdog = watchdog = Watchdog(self._progress, self.fail)
            background(stack, self._guard(watchdog.run()))
            ingress = make_ingress(sink, settings, time.time_ns)
            self.ingress_url = await serve(stack, ingress, settings.ingress_port, "INGRESS", tls)
            stack.push_async_callback(ingress[INGRESS].drain)
            logger.info(
                "metrics and page at %s, events in at %s", self.metrics_url, self.ingress_url
            )
            yield self

    def _warn_of_idle_settings(self) -> None:
        """A setting that does nothing must not look as if it did."""
        settings = self.settings
        idle = {
            "PROCESSOR_OUTCOMES": settings.outcomes and not settings.has_archive,
            "PROCESSOR_REQUEST_LOGGER": settings.request_logger and not settings.elasticsearch,
            "PROCESSOR_ARCHIVE=sqlite:": not settings.embedded
            and settings.archive.startswith("sqlite:"),
        }
        for name in (name for name, is_set in idle.items() if is_set):
            logger.warning("%s has no effect in this release%s", name, _INSTEAD.get(name, ""))

    def windows(self, now: float) -> Any:
        """See `processor.publish.interfaces.CountsSource`."""
        worker = self.health.worker
        return worker.windows(now) if worker else {}

    def buckets(self, tier: int, by: str) -> Any:
        """See `processor.publish.interfaces.CountsSource`."""
        worker = self.health.worker
        return worker.buckets(tier, by) if worker else {}

    async def is_settled(self) -> bool:
        """Whether everything that came in by now is in the counts."""
        worker, kafka = self.health.worker, self._kafka
        if worker is None or kafka is None or not worker.recovered.is_set():
            return False
        archive, publisher = self._archive, self._publisher
        if (
            archive is not None
            and publisher is not None
            and publisher.position < await archive.last()
        ):
            return False
        consumer = kafka.consumer()
        try:
            await consumer.start()
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
        finally:
            await consumer.stop()
        return True

    def _open_source(self, stack: AsyncExitStack, kafka: Kafka, worker: StreamWorker) -> EventSink:
        settings = self.settings
        history = ArchiveTasks(settings, self._rules, kafka, worker, self.health, self.telemetry)
        archive = self._archive
        if archive is not None:
            decoder = Decoder(self._rules, self.telemetry)
            self._publisher = publisher = ArchivePublisher(
                archive, worker.observation_producer(decoder), self.telemetry
            )
            background(stack, self._guard(publisher.run()))
            background(stack, self._note_bootstrap(publisher))
            background(stack, self._guard(self._note_feed_lag(archive, publisher)))
            # All that is found there was on the log.
            history.ask(archive, stack, self._guard, lambda _: None)
            assert self.health.memory_guard is not None
            decoder = Decoder(self._rules, Telemetry())
            return ArchiveSink(archive, decoder, publisher, self.health.memory_guard)
        decoder = Decoder(self._rules, self.telemetry)
        ingest = SourceIngest(
            kafka,
            settings.topics,
            source_group(settings),
            worker.observation_producer(decoder),
            self.fail,
            history.look_for_gap,
        )
        self._ingest = ingest
        background(stack, self._guard(ingest.run()))
        background(stack, self._note_lag(ingest))
        history.open(stack, self._guard)
        return KafkaSink(
            worker.observation_producer(Decoder(self._rules, self.telemetry)), kafka.servers
        )

    async def _open_archive(self, stack: AsyncExitStack) -> SqliteArchive:
        settings = self.settings
        # Not a matter of the settings alone: a replay reads Elasticsearch without any broker.
        if settings.archive and not settings.archive.startswith("sqlite:"):
            raise SettingsError(
                f"PROCESSOR_ARCHIVE={settings.archive!r} needs PROCESSOR_BROKER: the embedded mode "
                "keeps its events in SQLite, use sqlite:PATH or leave it empty"
            )
        path = settings.archive.removeprefix("sqlite:") or str(settings.data / "events.sqlite")
        archive = await SqliteArchive.open(type(settings.data)(path))
        stack.push_async_callback(archive.close)
        return archive

    async def _progress(self) -> list[ProgressSample]:
        """Where everything stands that has work to do."""
        worker, kafka, archive, publisher = (
            self.health.worker,
            self._kafka,
            self._archive,
            self._publisher,
        )
        if worker is None or kafka is None:
            return []
        positions = worker.positions
        if self._ingest is not None:
            source = self._ingest.positions

            def positions() -> dict[TopicPartition, PartitionPosition]:
                return worker.positions() | source()

        found = [worker.joining(), *await measure_lag(kafka, positions)]
        if archive is not None and publisher is not None:
            behind = await archive.last() - publisher.position
            found.append(ProgressSample("reading the archive", behind, publisher.position))
        return found

    async def _prepare(self, kafka: Kafka) -> str:
        """Wait for the broker as long as it takes: one line a try, and /ready says why."""
        delay = 0.5
        while True:
            try:
                return await prepare(kafka, self.settings)
            except (*FAULTS, BrokerError) as error:
                last_error = error if isinstance(error, BrokerError) else await kafka.explain(error)
                self.health.last_error = str(last_error)
                logger.warning("%s; next try in %.1f s", last_error, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, 30.0)

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
                # A library's own, let out by mistake: the work would end, and nobody would know.
                self.fail(StalledError("work in the background was cancelled: start again"))
            raise
        except BaseException as error:
            self.fail(error)

    async def _note_bootstrap(self, publisher: ArchivePublisher) -> None:
        await publisher.complete.wait()
        self.health.bootstrap_complete.set()

    async def _note_feed_lag(self, archive: SqliteArchive, publisher: ArchivePublisher) -> None:
        while True:
            self.health.lag = max(0, await archive.last() - publisher.position)
            await asyncio.sleep(0.5)

    async def _note_lag(self, ingest: SourceIngest) -> None:
        while True:
            self.health.lag, self.health.source_error = ingest.lag, ingest.last_error
            await asyncio.sleep(0.5)


async def run_service(
    settings: Settings, stop: asyncio.Event, started: Callable[[Service], None]
) -> None:
    """Run until ``stop``; an error that ends the service is raised."""
    service = Service(settings)
    running = asyncio.create_task(_run(service, started))
    failure = asyncio.create_task(service.wait_for_failure())
    stopping = asyncio.create_task(stop.wait())
    try:
        # A start can wait for its broker for ever: a signal or a failure ends that too.
        await asyncio.wait([running, failure, stopping], return_when=asyncio.FIRST_COMPLETED)
        reason = failure.result() if failure.done() else None
        with ending_within(_ENDING, reason):
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
