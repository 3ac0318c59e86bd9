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
from processor.domain.events.raw_event import Batch, DeadLetter, RawEvent
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

_BATCH_BYTES = 8 << 20


class Log(Protocol):
    """Where the events go."""

    def add(self, event: RawEvent, origin: tuple[str, int, int]) -> DeadLetter | None:
        """Take one event."""
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
        verdicts = []
        for event in events:
            try:
                observation = self._decoder.decode(*event)
            except Exception:
                # Stored all the same: on its way to the log it becomes a dead letter, and is told.
                observation = None
            verdicts.append(observation if isinstance(observation, DeadLetter) else None)
        await self._archive.append(events)
        self._publisher.wake()
        return verdicts


class NotingDecoder(Decoder):
    """Keeps which requests the decoded events speak of."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        super().__init__(rules, telemetry)
        self.requests: list[int] = []

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Decoded | Batch:
        """See `Decoder.decode`; the events of a batch are decoded after it."""
        said = super().decode(headers, value, timestamp)
        if type(said) is Prediction:
            self.requests.append(number_of(*said.model[:2], said.request_id))
        elif type(said) is Feedback:
            self.requests.append(number_of(*said.scope[:2], said.request_id))
        return said


class ArchivePublisher:
    """Puts the archive's events on the log, in their order, from the first one on, and then tells the
    archive of which requests they speak: what it finds of a request was on the log before.

    ``decoder`` is the one that ``log`` uses.
    """

    def __init__(
        self, archive: SqliteArchive, log: Log, decoder: NotingDecoder, telemetry: Telemetry
    ) -> None:
        self.position = 0
        """The sequence number of the last event that is on the log."""
        self.complete = asyncio.Event()
        """Set once all is on the log that was there at the start."""
        self._archive = archive
        self._log = log
        self._decoder = decoder
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
            requests = self._decoder.requests
            for number, event in rows:
                self._log.add(event, ("archive", 0, number))
                for request in requests:
                    notes.append((request, number))
                requests.clear()
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
