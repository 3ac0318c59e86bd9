"""The embedded mode's way from the archive to the log.

The archive is read from its first event at every start, since the embedded broker forgets; from
there on each new event follows. So bootstrap and live traffic are one path.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Protocol

from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.requests import Note, number_of
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Prediction
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

_BATCH_BYTES = 8 << 20


class Log(Protocol):
    """Where the events go."""

    def add(self, event: RawEvent, origin: tuple[str, int, int]) -> Decoded:
        """Decode one event and queue its observations."""
        ...

    def send(self) -> "Awaitable[list[asyncio.Future[object]]]":
        """Send what was added; the futures of the acknowledgements."""
        ...


class ArchiveSink:
    """Makes events durable in the archive; see the ingress room's ``EventSink``."""

    def __init__(
        self,
        archive: SqliteArchive,
        decoder: Decoder,
        publisher: "ArchivePublisher",
        memory_guard: BrokerMemoryGuard,
    ) -> None:
        self._archive = archive
        self._room = memory_guard
        # Its counts are thrown away: the event counts when it comes to the log.
        self._decoder = decoder
        self._publisher = publisher

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Store all of them, unreadable ones too: there their dead letters arise again. What is in the
        archive has to find room on the log."""
        self._room.check()
        verdicts = [self._decoder.decode(*event).dead_letter for event in events]
        await self._archive.append(events)
        self._publisher.wake()
        return verdicts


class ArchivePublisher:
    """Puts the archive's events on the log, in their order, from the first one on, and then tells the
    archive of which requests they speak: what it finds of a request was on the log before."""

    def __init__(self, archive: SqliteArchive, log: Log, telemetry: Telemetry) -> None:
        self.position = 0
        """The sequence number of the last event that is on the log."""
        self.complete = asyncio.Event()
        """Set once all is on the log that was there at the start."""
        self._archive = archive
        self._log = log
        self._telemetry = telemetry
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There are new events."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        last = await self._archive.last()
        while True:
            self._wake.clear()
            rows = await self._archive.events(self.position, _BATCH_BYTES)
            notes: list[Note] = []
            for number, event in rows:
                for observation in self._log.add(event, ("archive", 0, number)).observations:
                    model = (
                        observation.model
                        if isinstance(observation, Prediction)
                        else observation.scope
                    )
                    request = number_of(*model[:2], observation.request_id)
                    notes.append((request, number))
            if rows:
                await asyncio.gather(*await self._log.send())
                self.position = rows[-1][0]
                await self._note(notes)
            if not self.complete.is_set():
                self._telemetry.bootstrap_documents += len(rows)
                if self.position >= last:
                    self.complete.set()
            if not rows:
                await self._wake.wait()

    async def _note(self, notes: list[Note]) -> None:
        try:
            await self._archive.note(notes)
        except ArchiveError as error:
            # It has them still, and only feedback for requests that have left memory waits for it.
            logger.warning("noting requests: %s; trying again", error)
