"""An events file played at a pace: reading goes ahead in a thread, the events come one by one."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import CancelledError
from typing import NamedTuple

from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError
from processor.replay.files import STDIN, Chunk, read_events

#: Seconds that a player behind its rate catches up at most: a stall must not end in a flood.
_CATCH_UP = 1.0


class Played(NamedTuple):
    """An event whose time has come, and the bytes of the file that are read with it."""

    event: RawEvent
    position: int


async def play(
    path: str, rate: float | None, loop: bool, stop: asyncio.Event
) -> AsyncGenerator[Played, None]:
    """Events in the file's order, ``rate`` a second (None = as fast as they are taken).

    With ``loop`` again and again until ``stop`` is set.
    """
    if loop and path == STDIN:
        raise EventsFileError("standard input can't be played in a loop: name a file")
    pace = _Pace(rate, stop)
    while not stop.is_set():
        position, is_empty = 0, True
        # The time of an event without one is set by whoever takes it.
        async for chunk in _read_ahead(read_events(path, 0)):
            step = (chunk.consumed - position) / max(len(chunk.events), 1)
            for index, event in enumerate(chunk.events, 1):
                await pace.wait()
                if stop.is_set():
                    return
                yield Played(event, position + int(step * index))
                is_empty = False
            position = chunk.consumed
        if not loop or is_empty:
            return


class _Pace:
    """Keeps to a schedule instead of waiting between events, so that no time is lost."""

    def __init__(self, rate: float | None, stop: asyncio.Event) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._stop = stop
        self._next = 0.0

    async def wait(self) -> None:
        """Until the next event is due, or stopped."""
        if not self._interval:
            return
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - _CATCH_UP) if self._next else now
        if self._next > now:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._next - now)
        self._next += self._interval


async def _read_ahead(chunks: Iterator[Chunk]) -> AsyncIterator[Chunk]:
    """Chunks read by a thread of its own: a pool's thread that waits for standard input would hold
    up the end of the program."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue(2)

    def put(item: Chunk | Exception | None) -> None:
        putting = queue.put(item)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except (RuntimeError, CancelledError):
            putting.close()
            raise _LoopGone from None

    def read() -> None:
        end = None
        try:
            for chunk in chunks:
                put(chunk)
        except _LoopGone:
            return
        except Exception as error:  # whatever it is, the other side must hear of it
            end = error
        with contextlib.suppress(_LoopGone):
            put(end)

    threading.Thread(target=read, name="events-file", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


class _LoopGone(Exception):
    """Nobody waits for more."""
