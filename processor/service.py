"""The service: everything put together, started in order, and ended in the opposite one."""

import asyncio
import logging
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web
from aiokafka import TopicPartition

from processor.archive.elasticsearch import ElasticsearchArchive
from processor.archive.sqlite import SqliteArchive
from processor.domain.decode import Decoder
from processor.domain.documents import DocumentReader
from processor.domain.telemetry import Telemetry
from processor.domain.times import SECOND, parse_time
from processor.embedded.broker import EmbeddedBroker
from processor.embedded.feed import ArchiveDoor, ArchiveFeed
from processor.errors import BrokerError, ProcessorError, SettingsError
from processor.health import ServiceHealth
from processor.ingress.door import Door
from processor.ingress.http import make_ingress
from processor.models_file import read_models_file
from processor.publish.site import make_site
from processor.settings import Settings
from processor.stream.bootstrap import Bootstrap
from processor.stream.connection import FAULTS, Kafka, explain
from processor.stream.control import ControlLog
from processor.stream.door import LogDoor
from processor.stream.ingest import SourceIngest
from processor.stream.topics import prepare
from processor.stream.worker import StreamWorker

logger = logging.getLogger(__name__)

#: Seconds between looks at how far the bootstrap is.
_FOLLOW = 1.0
#: Seconds that an orderly end may take; without a broker it does not come to one.
_ENDING = 9.0


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
        self._feed: ArchiveFeed | None = None
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
        async with AsyncExitStack() as stack:
            site = make_site(self, self.health, self.telemetry, settings, time.time)
            self.metrics_url = await _serve(stack, site, settings.metrics_port, "METRICS")
            servers = settings.broker
            if settings.embedded:
                self._archive = await self._open_archive(stack)
                broker = EmbeddedBroker()
                await broker.start()
                stack.push_async_callback(broker.stop)
                _background(stack, self._watch(broker))
                servers = (broker.address,)
            self._kafka = kafka = Kafka(settings, servers)
            epoch = await self._prepare(kafka)
            worker = StreamWorker(settings, kafka, epoch, self.telemetry, self.fail)
            await worker.start()
            stack.push_async_callback(worker.stop)
            self.health.worker = worker
            door = self._open_source(stack, kafka, worker)
            ingress = make_ingress(door, settings, time.time_ns)
            self.ingress_url = await _serve(stack, ingress, settings.ingress_port, "INGRESS")
            logger.info(
                "metrics and page at %s, events in at %s", self.metrics_url, self.ingress_url
            )
            yield self

    def windows(self, now: float) -> Any:
        """See `processor.publish.board.Board`."""
        worker = self.health.worker
        return worker.windows(now) if worker else {}

    async def is_settled(self) -> bool:
        """Whether everything that came in by now is in the counts."""
        worker, kafka = self.health.worker, self._kafka
        if worker is None or kafka is None or not worker.recovered.is_set():
            return False
        archive, feed = self._archive, self._feed
        if archive is not None and feed is not None and feed.position < await archive.last():
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

    def _open_source(self, stack: AsyncExitStack, kafka: Kafka, worker: StreamWorker) -> Door:
        settings = self.settings
        decoder = Decoder(self._rules, self.telemetry)
        if self._archive is not None:
            self._feed = feed = ArchiveFeed(self._archive, worker.packer(decoder), self.telemetry)
            _background(stack, self._guard(feed.run()))
            _background(stack, self._note_bootstrap(feed))
            return ArchiveDoor(self._archive, Decoder(self._rules, Telemetry()), feed)
        ingest = SourceIngest(
            kafka,
            settings.topics,
            f"{settings.app_id}-source",
            worker.packer(decoder),
            self.fail,
        )
        _background(stack, self._guard(ingest.run()))
        _background(stack, self._note_lag(ingest))
        self._open_elasticsearch(stack, worker)
        return LogDoor(worker.packer(Decoder(self._rules, self.telemetry)), kafka.servers)

    def _open_elasticsearch(self, stack: AsyncExitStack, worker: StreamWorker) -> None:
        """Start from the archive if there is one; whoever leads reads it, all know when it is done."""
        settings = self.settings
        if not settings.archive.startswith("http") or settings.bootstrap == "never":
            self.health.bootstrap_complete = True
            return
        archive = ElasticsearchArchive(settings.archive, settings.index, settings)
        stack.push_async_callback(archive.close)
        since = None if settings.bootstrap in ("auto", "full") else parse_time(settings.bootstrap)
        bootstrap = Bootstrap(
            archive,
            DocumentReader(self._rules, self.telemetry),
            worker.control(),
            lambda: worker.packer(Decoder(self._rules, self.telemetry)),
            self.telemetry,
            lambda: time.time_ns() - settings.horizon * SECOND,
            since,
        )
        self.health.bootstrap = bootstrap
        leading = Leading(lambda: self._guard(bootstrap.run()))
        worker.on_lead = leading.set
        stack.push_async_callback(leading.end)
        _background(stack, self._guard(self._follow_bootstrap(worker.control())))

    async def _follow_bootstrap(self, control: ControlLog) -> None:
        while not control.done:
            await asyncio.sleep(_FOLLOW)
            try:
                await control.refresh()
            except FAULTS as error:
                logger.info("control topic: %s", error)
        self.health.bootstrap_complete = True

    async def _open_archive(self, stack: AsyncExitStack) -> SqliteArchive:
        settings = self.settings
        if settings.archive and not settings.archive.startswith("sqlite:"):
            raise SettingsError(
                f"PROCESSOR_ARCHIVE={settings.archive!r} needs PROCESSOR_BROKER: the embedded mode "
                "keeps its events in SQLite, use sqlite:PATH or leave it empty"
            )
        path = settings.archive.removeprefix("sqlite:") or str(settings.data / "events.sqlite")
        archive = await SqliteArchive.open(type(settings.data)(path))
        stack.push_async_callback(archive.close)
        return archive

    async def _prepare(self, kafka: Kafka) -> str:
        """Wait for the broker as long as it takes: one line a try, and /ready says why."""
        delay = 0.5
        while True:
            try:
                return await prepare(kafka, self.settings)
            except (*FAULTS, BrokerError) as error:
                trouble = error if isinstance(error, BrokerError) else explain(error, kafka.servers)
                self.health.trouble = str(trouble)
                logger.warning("%s; next try in %.1f s", trouble, delay)
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
            raise
        except BaseException as error:
            self.fail(error)

    async def _note_bootstrap(self, feed: ArchiveFeed) -> None:
        await feed.complete.wait()
        self.health.bootstrap_complete = True

    async def _note_lag(self, ingest: SourceIngest) -> None:
        while True:
            self.health.lag, self.health.source_trouble = ingest.lag, ingest.trouble
            await asyncio.sleep(0.5)


class Leading:
    """Work that is done while this worker leads."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def set(self, leads: bool) -> None:
        """Start or end it; to be told again what is so does nothing."""
        if leads and self._task is None:
            self._task = asyncio.create_task(self._work())
        elif not leads and self._task is not None:
            self._task.cancel()
            self._task = None

    async def end(self) -> None:
        """End it and wait."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


async def _serve(stack: AsyncExitStack, app: web.Application, port: int, name: str) -> str:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=10)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, port=port).start()
    except OSError as error:
        raise ProcessorError(
            f"port {port} can't be opened: {error.strerror or error}: set "
            f"PROCESSOR_{name}_PORT to another one, or to 0 for a free one"
        ) from None
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"


def _background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(end)


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
        with _ending_within(_ENDING, reason):
            running.cancel()
            await asyncio.wait([running])
        if reason is not None:
            raise reason
        if not running.cancelled():
            running.result()
    finally:
        failure.cancel()
        stopping.cancel()


@contextmanager
def _ending_within(seconds: float, reason: BaseException | None) -> Iterator[None]:
    """End the process if this takes longer. In a thread: Faust joins its consumer's thread in the
    event loop, for ever while the broker is away, and no timeout in the loop ends that."""

    def end() -> None:
        why = f"{type(reason).__name__}: {reason}; " if reason else ""
        print(
            f"processor: {why}stopping took more than {seconds:.0f} s, so it was cut short: "
            "nothing is lost, the next start reads more of the log",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


async def _run(service: Service, started: Callable[[Service], None]) -> None:
    async with service.running():
        started(service)
        await asyncio.Event().wait()
