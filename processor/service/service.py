"""The service: starts all parts of a worker process in order, and ends them in reverse order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from processor.errors import SettingsError, StalledError, described
from processor.ingress.event_sink import EventSink
from processor.ingress.http import INGRESS, ingress_port, make_ingress
from processor.ingress.tls import ingress_tls
from processor.kafka.lag import ProgressSample
from processor.models_file import read_models_file
from processor.publish.interfaces import NoCounts, WorkerView
from processor.publish.site import make_site, metrics_port
from processor.publish.workers.access import metrics_tls
from processor.publish.workers.address import own_address
from processor.publish.workers.client import HttpTransport
from processor.publish.workers.other_workers import OtherWorkers
from processor.service.health import ServiceHealth
from processor.service.known_requests import KnownRequests
from processor.service.lifecycle import Guard, background, collect_cycles, ending_within, serve
from processor.service.modes.parts import Parts
from processor.service.watchdog import Watchdog
from processor.service.watches import Watches
from processor.settings import Settings
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds that an orderly end may take; without a broker it would take for ever.
_MAX_END = 9.0


class Mode(Protocol):
    """The parts of a service that depend on whether it runs on Kafka."""

    async def start(self, stack: AsyncExitStack, guard: Guard, watches: Watches) -> EventSink:
        """Start the parts, until the stack unwinds. Returns the sink of new events."""
        ...

    async def is_settled(self) -> bool:
        """Whether the counts include every event that has been accepted by now."""
        ...

    async def progress(self) -> Sequence[ProgressSample]:
        """A sample of the position of each part that has work to do."""
        ...


def _mode(settings: Settings) -> Callable[[Parts], Mode]:
    # Imported when it is used: Faust and the Kafka clients take a second, and 50 MB.
    if settings.embedded:
        from processor.service.modes.embedded import EmbeddedMode

        return EmbeddedMode
    from processor.service.modes.kafka import KafkaMode

    return KafkaMode


class Service:
    """One worker process, embedded or on Kafka, as the settings say.

    ``metrics_url`` and the ``ingress_url`` of its ``view`` are empty until the ports are open.
    `SettingsError` if the models file is not valid.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self._watchdog = Watchdog(lambda: self._mode.progress(), self.fail)
        self.health = ServiceHealth(self.telemetry, self._watchdog)
        self._rules = read_models_file(settings.models, settings.custom_statistics)
        self.view = WorkerView(NoCounts(), self.health, self.telemetry, settings, rules=self._rules)
        self.metrics_url = ""
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._mode = _mode(settings)(
            Parts(settings, self._rules, self.telemetry, self.health, self.view, self.fail)
        )

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
            await self._open_metrics_port(stack)
            background(stack, self._guard(self.health.run()))
            watches = Watches(settings, self.health, self.telemetry, stack, self._guard)
            watches.disks([settings.data, settings.archive_path.parent])
            watches.models_file(self._rules)
            sink = await self._mode.start(stack, self._guard, watches)
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

    async def _open_metrics_port(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        tls, other_tls = metrics_tls(settings)
        others = OtherWorkers(self.view, HttpTransport(settings.metrics_token, other_tls))
        self.health.add_gauges(workers=others.count_all, silent_workers=others.count_silent)
        site = make_site(self.view, (ingress_port(settings),), others)
        self.metrics_url = await serve(stack, site, settings.metrics_port, "METRICS", tls)
        port = urlsplit(self.metrics_url).port or settings.metrics_port
        scheme = "https" if tls else "http"
        self.view.address = await asyncio.to_thread(
            own_address, settings.advertised_address, port, scheme, settings.broker
        )

    async def is_settled(self) -> bool:
        """Whether the counts include every event that has been accepted by now."""
        return await self._mode.is_settled()

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
