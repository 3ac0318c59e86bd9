"""`PartitionFold` folds one partition of a log, from its newest checkpoint on; both stages use it.

The position is the checkpoint's, never the consumer group's: a group's offset can pass records that
were never folded (a signal during an await, an exception, a gap of one record).
"""

import asyncio
import logging
import time
from typing import Protocol

from processor.backoff import LONGEST, Backoff
from processor.errors import BrokerError, LogMismatchError
from processor.kafka.clients import FAULTS
from processor.kafka.log_reader import LogReader
from processor.kafka.reading import broker_trouble

logger = logging.getLogger(__name__)

#: The most records that are read while the stream waits. A larger gap is read beside the stream, since
#: other partitions must not wait for it.
_MAX_GAP = 500


class FoldStage(Protocol):
    """A stage that folds a partition: its state is a function of the log before its next offset."""

    async def load(self, begin: int, end: int) -> int:
        """Load the newest checkpoint, and return the offset to read from. The log now holds the
        offsets from ``begin`` to before ``end``."""
        ...

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        """Apply one record, which was appended at ``timestamp`` (ns). After an exception the state is
        undefined, and `load` is called next."""
        ...

    async def emit(self) -> None:
        """Send the deltas produced so far. May wait for space in the producer's buffer, never for
        acknowledgements."""
        ...


class PartitionFold:
    """Keeps a stage in step with its log: opening, repeated records, gaps and failures.

    While ``opened`` is not set the state is old or undefined, and `open` must be running or be called.
    ``name`` is used in log lines.
    """

    def __init__(self, stage: FoldStage, reader: LogReader, name: str) -> None:
        self.stage = stage
        self.name = name
        self.next_offset = 0
        self.opened = asyncio.Event()
        self.end_at_opening = 0
        """The offset that opening has to reach."""
        self._reader = reader
        # The only concurrency control: opening and delivering exclude each other.
        self._lock = asyncio.Lock()
        self._loaded = False
        self.failures = 0
        """How often in a row a record failed to fold; 0 once the state is up to date."""
        self.current_at = 0.0
        """The monotonic time when the state last included all of the log that was known."""
        self._fell_behind = time.monotonic()
        self._caught_up: float | None = None

    @property
    def steps(self) -> tuple[int, int]:
        """A mark of progress, which changes with every record that is read or folded."""
        return self.next_offset, self._reader.records

    @property
    def recovery_seconds(self) -> float:
        """Seconds that the last catch-up took, or that the running one has taken so far."""
        return (self._caught_up or time.monotonic()) - self._fell_behind

    async def open(self) -> None:
        """Load the newest checkpoint if memory holds no state, and read the log to its end; try again
        until this succeeds."""
        backoff = Backoff(0.2, LONGEST)
        level = logging.WARNING
        async with self._lock:
            while not self.opened.is_set():
                try:
                    await self._catch_up()
                    continue
                except LogMismatchError:
                    raise
                except (*FAULTS, BrokerError) as error:
                    # The state is good: only reading failed.
                    what = str(error) if isinstance(error, BrokerError) else broker_trouble(error)
                    logger.log(level, "%s: %s; trying again", self.name, what)
                    level = logging.DEBUG  # once is enough
                except Exception:
                    self._loaded = False
                    self.failures += 1
                    logger.exception(
                        "%s: opening failed; next try in %.1f s", self.name, backoff.delay
                    )
                await backoff.sleep()

    async def deliver(self, offset: int, timestamp: int, value: bytes) -> bool:
        """Fold a record from the stream; False if it was folded before, or if `open` will fold it.

        This never waits for opening, since the stream has other partitions too. A gap before the record
        is read from the log. A record that fails is never tried again on the same state, and never
        skipped.
        """
        if not self.opened.is_set():
            return False
        async with self._lock:
            if offset < self.next_offset:
                return False
            if offset - self.next_offset > _MAX_GAP:
                self.fall_behind()
                return False
            try:
                if offset > self.next_offset:
                    await self._read(self.next_offset, offset)
                self._fold(offset, timestamp, value)
            except LogMismatchError:
                raise
            except (*FAULTS, BrokerError) as error:
                what = str(error) if isinstance(error, BrokerError) else broker_trouble(error)
                logger.warning(
                    "%s: no records from %d to %d: %s", self.name, self.next_offset, offset, what
                )
                self.fall_behind()
                return False
            except Exception:
                logger.exception("%s: record %d failed; starting over", self.name, offset)
                self.fall_behind()
                self._loaded = False
                self.failures += 1
                return False
            await self.stage.emit()
            self.current_at = time.monotonic()
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
            # Records that came meanwhile are read here too, unless they are few: then the stream
            # delivers them.
            if end - self.next_offset <= _MAX_GAP:
                break
            self.end_at_opening = end
        self._caught_up = self.current_at = time.monotonic()
        self.failures = 0
        self.opened.set()

    def fall_behind(self) -> None:
        """Take the state for old: `open` reads what is missing."""
        self._fell_behind, self._caught_up = time.monotonic(), None
        self.opened.clear()

    async def _read(self, start: int, end: int) -> None:
        async for messages in self._reader.read(start, end):
            for message in messages:
                self._fold(message.offset, message.timestamp * 1_000_000, message.value)
            await self.stage.emit()
            # Other tasks get a turn: opening can take long.
            await asyncio.sleep(0)
        self.next_offset = max(self.next_offset, end)

    def _fold(self, offset: int, timestamp: int, value: bytes) -> None:
        self.stage.fold(offset, timestamp, value)
        self.next_offset = offset + 1
