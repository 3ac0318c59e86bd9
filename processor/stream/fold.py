"""`PartitionFold`: one partition of a log, folded from its newest checkpoint on; both stages use it.

The position is the checkpoint's, never the consumer group's: a group's offset can pass records whose
effect never happened (a signal during an await, an exception, a hole of one record).
"""

import asyncio
import logging
import random
from typing import Protocol

from processor.errors import LogMismatchError
from processor.stream.log import LogReader

logger = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 30.0


class Stage(Protocol):
    """What is folded; its state is a function of the log before ``next offset``."""

    async def load(self, begin: int, end: int) -> int:
        """Take the newest checkpoint there is; the offset to read from. ``begin`` and ``end``
        bound what the log holds now."""
        ...

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Take in one record, appended at ``timestamp`` (ns). After an exception the state is
        undefined, and `load` is called next."""
        ...

    async def emit(self) -> None:
        """Hand on what folding made; may wait for room, never for an acknowledgement."""
        ...


class PartitionFold:
    """Keeps a stage in step with its log: opening, repeats, jumps and failures."""

    def __init__(self, stage: Stage, reader: LogReader, name: str) -> None:
        self.stage = stage
        self.name = name
        self.next_offset = 0
        self.opened = asyncio.Event()
        self.end_at_opening = 0
        self._reader = reader
        # All the concurrency control there is: opening and delivering exclude each other.
        self._lock = asyncio.Lock()
        self._broken = False

    async def open(self) -> None:
        """Load the newest checkpoint and read the log to the end that it has now."""
        async with self._lock:
            await self._rebuild(None)
            self.opened.set()

    async def deliver(self, offset: int, timestamp: int, value: bytes) -> bool:
        """Take a record from the stream; False if it was folded before. Fills a jump by reading the
        log; a record that fails is never tried again on the same memory, and never left out."""
        async with self._lock:
            if not self.opened.is_set():
                await self._rebuild(None)
                self.opened.set()
            if offset < self.next_offset:
                return False
            try:
                if offset > self.next_offset:
                    await self._read(self.next_offset, offset)
                self._fold(offset, timestamp, value)
            except LogMismatchError:
                raise
            except Exception:
                logger.exception("%s: record %d failed; starting over", self.name, offset)
                await self._rebuild(offset + 1)
            await self.stage.emit()
            return True

    async def _rebuild(self, end: int | None) -> None:
        """Throw the memory away and fold up to ``end`` (None: the log's), however often it takes."""
        delay = _BACKOFF_FIRST
        while True:
            self._broken = True
            try:
                begin, last = await self._reader.bounds()
                self.end_at_opening = last if end is None else max(end, self.next_offset)
                start = await self.stage.load(begin, last)
                self.next_offset = start
                await self._read(max(start, begin), self.end_at_opening)
                self._broken = False
                return
            except LogMismatchError:
                raise
            except Exception:
                logger.exception("%s: opening failed; next try in %.1f s", self.name, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, _BACKOFF_MOST)

    async def _read(self, start: int, end: int) -> None:
        async for messages in self._reader.read(start, end):
            for message in messages:
                self._fold(message.offset, message.timestamp * 1_000_000, message.value)
            await self.stage.emit()
            # Others have a turn: opening can take long.
            await asyncio.sleep(0)
        self.next_offset = max(self.next_offset, end)

    def _fold(self, offset: int, timestamp: int, value: bytes) -> None:
        self.stage.fold(offset, timestamp, value)
        self.next_offset = offset + 1
