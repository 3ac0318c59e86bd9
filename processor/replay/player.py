"""Play an events file at a given rate; a thread reads ahead."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import CancelledError
from typing import NamedTuple

from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError
from processor.replay.files import STDIN, EventBlock, read_events

#: Maximum delay in seconds that a player makes up for: a stall must not end in a flood.
_CATCH_UP = 1.0


class PlayedEvent(NamedTuple):
    """An event that is due, and how many bytes of the file have been read with it."""

    event: RawEvent
    position: int


async def play(
    path: str, rate: float | None, loop: bool, stop: asyncio.Event
) -> AsyncGenerator[PlayedEvent, None]:
    """Yield the events of a file in its order, ``rate`` of them a second (None: without a pause).

    With ``loop`` the file is repeated until ``stop`` is set. `EventsFileError` if it can't be read.
    """
    if loop and path == STDIN:
        raise EventsFileError("standard input can't be played in a loop: name a file")
    schedule = _Schedule(rate, stop)
    while not stop.is_set():
        position, is_empty = 0, True
        # The receiver sets the time of an event without one.
        async for block in _read_ahead(read_events(path, 0)):
            step = (block.consumed - position) / max(len(block.events), 1)
            for index, event in enumerate(block.events, 1):
                await schedule.wait()
                if stop.is_set():
                    return
                yield PlayedEvent(event, position + int(step * index))
                is_empty = False
            position = block.consumed
        if not loop or is_empty:
            return


class _Schedule:
    """Delays events until they are due: each at a fixed interval after the one before, so that the time
    spent on sending does not lower the rate."""

    def __init__(self, rate: float | None, stop: asyncio.Event) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._stop = stop
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the next event is due, or ``stop`` is set."""
        if not self._interval:
            return
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - _CATCH_UP) if self._next else now
        if self._next > now:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._next - now)
        self._next += self._interval


async def _read_ahead(blocks: Iterator[EventBlock]) -> AsyncIterator[EventBlock]:
    """Read blocks in a daemon thread. A thread of a pool that waits for standard input would keep the
    program from ending."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[EventBlock | Exception | None] = asyncio.Queue(2)

    def put(item: EventBlock | Exception | None) -> None:
        putting = queue.put(item)
        try:
            asyncio.run_coroutine_threadsafe(putting, loop).result()
        except (RuntimeError, CancelledError):
            putting.close()
            raise _LoopGone from None

    def read() -> None:
        end = None
        try:
            for block in blocks:
                put(block)
        except _LoopGone:
            return
        except Exception as error:  # any error is raised in the event loop
            end = error
        with contextlib.suppress(_LoopGone):
            put(end)

    threading.Thread(target=read, name="events-file", daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


class _LoopGone(Exception):
    """The event loop has ended, so no block is needed any more."""
