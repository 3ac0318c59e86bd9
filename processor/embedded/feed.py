"""The embedded mode's way from the archive to the log.

The archive is read from its first event at every start, since the embedded broker forgets; from
there on each new event follows. So bootstrap and live traffic are one path.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from processor.archive.sqlite import SqliteArchive
from processor.domain.decode import Decoder
from processor.domain.events import DeadLetter, RawEvent
from processor.domain.telemetry import Telemetry

_BATCH_BYTES = 8 << 20


class Log(Protocol):
    """Where the events go."""

    def add(self, event: RawEvent, origin: tuple[str, int, int]) -> DeadLetter | None:
        """Take one event."""
        ...

    def send(self) -> "Awaitable[list[asyncio.Future[object]]]":
        """Send what was added; the futures of the acknowledgements."""
        ...


class ArchiveDoor:
    """Makes events durable in the archive; see the ingress room's ``Door``."""

    def __init__(self, archive: SqliteArchive, decoder: Decoder, feed: "ArchiveFeed") -> None:
        self._archive = archive
        # Its counts are thrown away: the event counts when it comes to the log.
        self._decoder = decoder
        self._feed = feed

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Store all of them, unreadable ones too: there their dead letters arise again."""
        verdicts = []
        for event in events:
            try:
                observation = self._decoder.decode(*event)
            except Exception:
                # Stored all the same: on its way to the log it becomes a dead letter, and is told.
                observation = None
            verdicts.append(observation if isinstance(observation, DeadLetter) else None)
        await self._archive.store(events)
        self._feed.wake()
        return verdicts


class ArchiveFeed:
    """Puts the archive's events on the log, in their order, from the first one on."""

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
            rows = await self._archive.scan(self.position, _BATCH_BYTES)
            for number, event in rows:
                self._log.add(event, ("archive", 0, number))
            if rows:
                await asyncio.gather(*await self._log.send())
                self.position = rows[-1][0]
            if not self.complete.is_set():
                self._telemetry.bootstrap_documents += len(rows)
                if self.position >= last:
                    self.complete.set()
            if not rows:
                await self._wake.wait()
