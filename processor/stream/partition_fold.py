"""`PartitionFold`: one partition of a log, folded from its newest checkpoint on; both stages use it.

The position is the checkpoint's, never the consumer group's: a group's offset can pass records whose
effect never happened (a signal during an await, an exception, a hole of one record).
"""

import asyncio
import logging
import random
import time
from typing import Protocol

from processor.errors import BrokerError, LogMismatchError
from processor.kafka.clients import FAULTS
from processor.kafka.log_reader import LogReader

logger = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 30.0
#: A jump of more records is read beside the stream: others must not wait for it.
_NEAR = 500


class FoldStage(Protocol):
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
    """Keeps a stage in step with its log: opening, repeats, jumps and failures.

    While ``opened`` is not set the state is old or undone, and `open` must be running or be called.
    """

    def __init__(self, stage: FoldStage, reader: LogReader, name: str) -> None:
        self.stage = stage
        self.name = name
        self.next_offset = 0
        self.opened = asyncio.Event()
        self.end_at_opening = 0
        self._reader = reader
        # All the concurrency control there is: opening and delivering exclude each other.
        self._lock = asyncio.Lock()
        self._loaded = False
        self.failures = 0
        """How often in a row a record failed to fold; 0 once it is up to date."""
        self._fell_behind = time.monotonic()
        self._caught_up: float | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """Changes with every record that is read or folded."""
        return self.next_offset, self._reader.records

    @property
    def recovery_seconds(self) -> float:
        """How long it took to come up to date the last time, or takes by now."""
        return (self._caught_up or time.monotonic()) - self._fell_behind

    async def open(self) -> None:
        """Load the newest checkpoint, if memory holds no state, and read the log to its end, however
        often it takes."""
        delay = _BACKOFF_FIRST
        async with self._lock:
            while not self.opened.is_set():
                try:
                    await self._catch_up()
                    continue
                except LogMismatchError:
                    raise
                except (*FAULTS, BrokerError) as error:
                    # What was folded is whole: only reading failed.
                    logger.warning(
                        "%s: %s: %s; next try in %.1f s",
                        self.name,
                        type(error).__name__,
                        error,
                        delay,
                    )
                except Exception:
                    self._loaded = False
                    self.failures += 1
                    logger.exception("%s: opening failed; next try in %.1f s", self.name, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, _BACKOFF_MOST)

    async def deliver(self, offset: int, timestamp: int, value: bytes) -> bool:
        """Take a record from the stream; False if it was folded before, or is left to `open`: this
        never waits for opening, since the stream has other partitions too.

        Fills a jump by reading the log; a record that fails is never tried again on the same
        memory, and never left out.
        """
        if not self.opened.is_set():
            return False
        async with self._lock:
            if offset < self.next_offset:
                return False
            if offset - self.next_offset > _NEAR:
                self._fall_behind()
                return False
            try:
                if offset > self.next_offset:
                    await self._read(self.next_offset, offset)
                self._fold(offset, timestamp, value)
            except LogMismatchError:
                raise
            except (*FAULTS, BrokerError) as error:
                logger.warning(
                    "%s: no records from %d to %d: %s: %s",
                    self.name,
                    self.next_offset,
                    offset,
                    type(error).__name__,
                    error,
                )
                self._fall_behind()
                return False
            except Exception:
                logger.exception("%s: record %d failed; starting over", self.name, offset)
                self._fall_behind()
                self._loaded = False
                self.failures += 1
                return False
            await self.stage.emit()
            return True

    async def _catch_up(self) -> None:
        begin, end = await self._reader.bounds()
        self.end_at_opening = end
        if not self._loaded or self.next_offset < begin:
            self._loaded = False
            self.next_offset = await self.stage.load(begin, end)
            self._loaded = True
        while True:
            await self._read(max(self.next_offset, begin), end)
            _, end = await self._reader.bounds()
            # What came meanwhile is read here too, unless it is little: the stream delivers that.
            if end - self.next_offset <= _NEAR:
                break
            self.end_at_opening = end
        self._caught_up = time.monotonic()
        self.failures = 0
        self.opened.set()

    def _fall_behind(self) -> None:
        self._fell_behind, self._caught_up = time.monotonic(), None
        self.opened.clear()

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
