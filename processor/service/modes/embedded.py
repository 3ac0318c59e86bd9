"""The service without Kafka: one worker that follows the SQLite archive, which takes new events."""

import asyncio
import logging
from contextlib import AsyncExitStack

from processor.archive.sqlite.archive import SqliteArchive
from processor.backfill.outcome_writer import OutcomeWriter
from processor.embedded.retention import Retention
from processor.embedded.sink import ArchiveSink
from processor.embedded.worker import EmbeddedWorker
from processor.errors import ArchiveError, SettingsError
from processor.ingress.event_sink import EventSink
from processor.kafka.lag import ProgressSample
from processor.service.lifecycle import Guard, background
from processor.service.modes.parts import Parts
from processor.service.watches import Watches

logger = logging.getLogger(__name__)

#: Seconds between updates of the lag that /ready shows.
_LAG_EVERY = 0.5


class EmbeddedMode:
    """The parts of a service without Kafka; see `Mode`."""

    def __init__(self, parts: Parts) -> None:
        self._settings, self._rules, self._telemetry, self._health, self._view, _ = parts
        self._worker: EmbeddedWorker | None = None

    async def start(self, stack: AsyncExitStack, guard: Guard, watches: Watches) -> EventSink:
        """Follow the archive; the sink stores new events in it."""
        settings, health, telemetry = self._settings, self._health, self._telemetry
        archive = await self._open_archive(stack)
        worker = self._worker = EmbeddedWorker(settings, archive, self._rules, telemetry)
        health.worker = self._view.counts_source = worker
        stack.push_async_callback(worker.stop)
        background(stack, guard(worker.run()))
        sink = ArchiveSink(archive, self._rules, telemetry, worker.wake)
        retention = Retention(archive, worker.folder, settings.event_retention)
        health.is_complete = worker.complete.is_set
        for part in (worker, sink, worker.saver, retention):
            health.add(part, "archive", "see that the disk has room and works; it is tried again")
        background(stack, guard(retention.run()))
        background(stack, self._note_complete(worker))
        background(stack, guard(self._note_lag(worker)))
        if settings.outcomes:
            writer = OutcomeWriter(archive, worker.joins, telemetry)
            health.add(writer, "archive", outcomes_waiting=lambda: writer.waiting)
            background(stack, guard(writer.run()))
        return sink

    async def is_settled(self) -> bool:
        """Whether the counts include every event that has been accepted by now."""
        worker = self._worker
        return worker is not None and worker.complete.is_set() and not await worker.refresh()

    async def progress(self) -> list[ProgressSample]:
        """A sample of the position in the archive."""
        worker = self._worker
        if worker is None:
            return []
        return [ProgressSample("reading the archive", await worker.refresh(), worker.fold.position)]

    async def _open_archive(self, stack: AsyncExitStack) -> SqliteArchive:
        settings = self._settings
        # Settings can't refuse this themselves: a replay reads Elasticsearch without any broker.
        if settings.archive and not settings.archive.startswith("sqlite:"):
            raise SettingsError(
                f"PROCESSOR_ARCHIVE={settings.archive!r} needs PROCESSOR_BROKER: the embedded mode "
                "keeps its events in SQLite, use sqlite:PATH or leave it empty"
            )
        archive = await SqliteArchive.open(settings.archive_path)
        stack.push_async_callback(archive.close)
        return archive

    async def _note_complete(self, worker: EmbeddedWorker) -> None:
        await worker.complete.wait()
        self._health.bootstrap_complete.set()

    async def _note_lag(self, worker: EmbeddedWorker) -> None:
        while True:
            try:
                self._health.lag = await worker.refresh()
            except ArchiveError as error:
                logger.debug("the lag is not known: %s", error)
            await asyncio.sleep(_LAG_EVERY)
