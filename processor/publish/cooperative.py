"""Long answers in short pieces: publishing shares the event loop with the stream."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

#: Seconds of work after which the event loop gets its turn. Counts are live objects, so the work
#: can't move to a thread; a scrape of 50,000 series in one piece would stop the stream for 0.15 s.
PATIENCE = 0.01


async def yielding(items: Iterable[T], patience: float = PATIENCE) -> AsyncIterator[T]:
    """The items, with a turn for the event loop whenever ``patience`` seconds have been used."""
    until = perf_counter() + patience
    for item in items:
        yield item
        if perf_counter() >= until:
            await asyncio.sleep(0)
            until = perf_counter() + patience
