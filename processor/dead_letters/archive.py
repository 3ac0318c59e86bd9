"""The dead letters of the embedded mode: the events of its archive that cannot be decoded."""

from collections.abc import AsyncIterator

from processor.archive.sqlite.archive import SqliteReader
from processor.domain.events.dead_letters import DeadLetterRecord
from processor.domain.events.decoder import Decoder
from processor.replay.progress import CommandProgress

_BATCH_BYTES = 8 << 20


class ArchivedDeadLetters:
    """Finds the dead letters of the embedded mode by decoding its archive again, with today's rules:
    no topic outlives that mode. ``retried`` stays empty: nothing needs a retry."""

    def __init__(self, reader: SqliteReader, decoder: Decoder) -> None:
        self.retried: dict[str, int] = {}
        self._reader = reader
        self._decoder = decoder

    async def scan(self, start: int) -> AsyncIterator[DeadLetterRecord]:
        """Yield the unreadable events of the archive, kept from ``start`` (ns) on."""
        last = await self._reader.last()
        with CommandProgress(f"reading {self._reader.path}", last) as progress:
            async for letter in self._read(0, progress):
                if letter.kept >= start:
                    yield letter

    async def find(self, name: str) -> DeadLetterRecord | None:
        """Return the event with this number if it is unreadable, else None."""
        if not name.isdecimal() or not 0 < int(name) <= await self._reader.last():
            return None
        async for letter in self._read(int(name) - 1):
            return letter if letter.id == name else None
        return None

    async def _read(
        self, after: int, progress: CommandProgress | None = None
    ) -> AsyncIterator[DeadLetterRecord]:
        while rows := await self._reader.events(after, _BATCH_BYTES):
            for number, event in rows:
                letter = self._decoder.decode(*event).dead_letter
                if letter is not None:
                    origin = ("archive", 0, number)
                    yield DeadLetterRecord(
                        str(number), event.timestamp, letter, origin, None, event
                    )
            after = rows[-1][0]
            if progress:
                progress.update(after, after)
