"""Long computations in short pieces, since publishing shares the event loop with the stream."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

#: Seconds of work after which other tasks get a turn. Counts are live objects, so the work can't move
#: to a thread; a scrape of 50,000 series in one piece would stop the stream for 0.15 s.
TIME_SLICE = 0.01


async def yielding(items: Iterable[T], time_slice: float = TIME_SLICE) -> AsyncIterator[T]:
    """Yield the items; whenever ``time_slice`` seconds have passed, let other tasks run first."""
    until = perf_counter() + time_slice
    for item in items:
        yield item
        if perf_counter() >= until:
            await asyncio.sleep(0)
            until = perf_counter() + time_slice
