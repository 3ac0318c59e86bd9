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
    """The producer that puts events on the log."""

    def add(self, event: RawEvent, origin: tuple[str, int, int]) -> DeadLetter | None:
        """Decode and queue one event; the dead letter if it can't be decoded."""
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
        """Store all events, even those that can't be decoded: their dead letters are created again on
        the way to the log. `CapacityError` if the broker has no memory left for them."""
        self._memory_guard.check()
        verdicts = []
        for event in events:
            try:
                observation = self._decoder.decode(*event)
            except Exception:
                # Stored nevertheless: on the way to the log it becomes a dead letter and is reported.
                observation = None
            verdicts.append(observation if isinstance(observation, DeadLetter) else None)
        await self._archive.append(events)
        self._publisher.wake()
        return verdicts


class NotingDecoder(Decoder):
    """A decoder that collects the requests of the events it decodes."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        super().__init__(rules, telemetry)
        self.requests: list[int] = []
        """The digests (`request_digest`) of the requests since the list was last cleared."""

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Decoded | Batch:
        """Decode an event, see `Decoder.decode`. The events of a batch are decoded by later calls."""
        decoded = super().decode(headers, value, timestamp)
        if type(decoded) is Prediction:
            self.requests.append(request_digest(*decoded.model[:2], decoded.request_id))
        elif type(decoded) is Feedback:
            self.requests.append(request_digest(*decoded.scope[:2], decoded.request_id))
        return decoded


class ArchivePublisher:
    """Puts the archive's events on the log in their order, from the first one, and then notes their
    requests in the archive: a lookup never returns events that are not on the log yet.

    ``decoder`` must be the decoder of ``log``.
    """

    def __init__(
        self, archive: SqliteArchive, log: Log, decoder: NotingDecoder, telemetry: Telemetry
    ) -> None:
        self.position = 0
        """The sequence number of the last event on the log."""
        self.complete = asyncio.Event()
        """Set once all events that were in the archive at the start are on the log."""
        self._archive = archive
        self._log = log
        self._decoder = decoder
        self._telemetry = telemetry
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Publish the events that were appended meanwhile."""
        self._wake.set()

    async def run(self) -> None:
        """Publish events until cancelled."""
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
            # The archive keeps the notes and tries again with the next ones. Meanwhile only feedback
            # for requests that have left memory has to wait.
            logger.warning("noting requests: %s; trying again", error)
