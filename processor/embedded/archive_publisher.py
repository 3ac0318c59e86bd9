"""Publish the archive's events on the log, in the embedded mode.

Each start reads the archive from its first event, since the embedded broker keeps nothing, and then
follows new events. So bootstrap and live traffic take the same path.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Protocol

from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.requests import Note, request_digest
from processor.domain.events.attributes import OTHER
from processor.domain.events.decoder import Decoded, Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.log.observations import Prediction
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

_BATCH_BYTES = 8 << 20


class Log(Protocol):
    """The producer that puts events on the log."""

    def add(self, event: RawEvent, origin: tuple[str, int, int]) -> Decoded:
        """Decode one event and queue its observations."""
        ...

    def send(self) -> "Awaitable[list[asyncio.Future[object]]]":
        """Send the queued events; returns the futures of the acknowledgements."""
        ...


class ArchiveSink:
    """The `EventSink` of the embedded mode: it makes events durable in the archive."""

    def __init__(
        self,
        archive: SqliteArchive,
        decoder: Decoder,
        publisher: "ArchivePublisher",
        memory_guard: BrokerMemoryGuard,
    ) -> None:
        self._archive = archive
        self._memory_guard = memory_guard
        # This decoder's telemetry is discarded: events count when they are put on the log.
        self._decoder = decoder
        self._publisher = publisher

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Store all events that say something about a prediction, even those that can't be decoded:
        their dead letters are created again on the way to the log. `CapacityError` if the broker has
        no memory left for them."""
        self._memory_guard.check()
        decoded = [self._decoder.decode(*event) for event in events]
        kept = [event for event, one in zip(events, decoded, strict=True) if not one.is_other]
        if kept:
            await self._archive.append(kept)
            self._publisher.wake()
        self._publisher.count_other(len(events) - len(kept))
        return [one.dead_letter for one in decoded]


class ArchivePublisher:
    """Puts the archive's events on the log in their order, from the first one, and then notes their
    requests in the archive: a lookup never returns events that are not on the log yet.
    """

    def __init__(self, archive: SqliteArchive, log: Log, telemetry: Telemetry) -> None:
        self.position = 0
        """The sequence number of the last event on the log."""
        self.complete = asyncio.Event()
        """Set once all events that were in the archive at the start are on the log."""
        self._archive = archive
        self._log = log
        self._telemetry = telemetry
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Publish the events that were appended meanwhile."""
        self._wake.set()

    def count_other(self, number: int) -> None:
        """Count events that are not kept, since they say nothing about predictions (rule 23)."""
        self._telemetry.events[OTHER] += number

    async def run(self) -> None:
        """Publish events until cancelled."""
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
                    request = request_digest(*model[:2], observation.request_id)
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
            # The archive keeps the notes and tries again with the next ones. Meanwhile only feedback
            # for requests that have left memory has to wait.
            logger.warning("noting requests: %s; trying again", error)
