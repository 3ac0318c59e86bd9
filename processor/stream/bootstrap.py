"""Reading the archive onto the log: once at the first start, then what has changed.

The leader does it. It resumes at the cursors on the control topic, so a new leader repeats one page
of each shard at most, and what is repeated counts once.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from processor.domain.observations import Feedback, Prediction
from processor.domain.telemetry import Telemetry
from processor.domain.times import format_time
from processor.errors import ArchiveError
from processor.stream.control import ControlLog, ControlRecord
from processor.stream.packer import Packer

logger = logging.getLogger(__name__)

#: Shards read at once.
_AT_ONCE = 4
#: Seconds between looks for new indices, and of the longest pause after a fault.
_LOOK_AGAIN, _BACKOFF_MOST = 300.0, 60.0
#: Seconds between lines of progress.
_SAY_EVERY = 10.0

Observations = Sequence[Prediction | Feedback]


class Shard(Protocol):
    """A part of the archive that has an order of its own."""

    @property
    def source(self) -> str:
        """A name that no other shard ever has."""
        ...

    @property
    def checkpoint(self) -> int:
        """The last position that can be read completely now; -1 if it is empty."""
        ...


class Page(Protocol):
    """Some documents of a shard, in order."""

    @property
    def last(self) -> int:
        """The position of the last one."""
        ...

    @property
    def documents(self) -> Sequence[Observations]:
        """What each document says."""
        ...


class Archive(Protocol):
    """Where documents are kept."""

    async def shards(self) -> Sequence[Shard]:
        """The shards there are, with what can be read of them now."""
        ...

    def pages(self, shard: Shard, after: int, upto: int) -> AsyncIterator[Page]:
        """The documents at positions above ``after``, up to and with ``upto``."""
        ...


class Bootstrap:
    """``newest_kept`` (ns) gives the time before which a changed document was counted and left
    memory; ``since`` (ns) leaves older documents out altogether."""

    def __init__(
        self,
        archive: Archive,
        control: ControlLog,
        packer: Callable[[], Packer],
        telemetry: Telemetry,
        newest_kept: Callable[[], int],
        since: int | None,
    ) -> None:
        self.trouble = ""
        """Why the archive can't be read at the moment."""
        self.total: int | None = None
        """Documents to read in this pass, about; None before it has begun."""
        self._archive = archive
        self._control = control
        self._packer = packer
        self._telemetry = telemetry
        self._newest_kept = newest_kept
        self._since = since
        self._read = 0

    async def run(self) -> None:
        """As the leader, until cancelled: all of the archive, then new indices now and then."""
        await self._control.refresh()
        known: frozenset[str] = frozenset()
        while True:
            await self._until_it_works(known)
            if not self._control.done:
                await self._control.write(ControlRecord("done"))
                logger.info("bootstrap: complete, %d documents", self._read)
            known = frozenset(self._control.cursors)
            await asyncio.sleep(_LOOK_AGAIN)

    async def _until_it_works(self, known: frozenset[str]) -> None:
        delay = 1.0
        while True:
            try:
                await self._pass(known)
                self.trouble = ""
                return
            except ArchiveError as error:
                self.trouble = str(error)
                logger.warning("bootstrap: %s; next try in %.0f s", error, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, _BACKOFF_MOST)

    async def _pass(self, known: frozenset[str]) -> None:
        """Read every shard from its cursor on, but for those in ``known``."""
        shards = [shard for shard in await self._archive.shards() if shard.source not in known]
        cursors = self._control.cursors
        ahead = {shard.source: cursors.get(shard.source, -1) for shard in shards}
        self.total = sum(max(0, shard.checkpoint - ahead[shard.source]) for shard in shards)
        # Only a first start counts what is old: later, old documents have been counted.
        cutoff = self._newest_kept() if self._control.done else None
        if self.total:
            logger.info(
                "%s: %d shards, about %d documents%s",
                "catch-up" if self._control.done else "bootstrap",
                len(shards),
                self.total,
                "" if cutoff is None else f", new ones from {format_time(max(cutoff, 0))}",
            )
        gate = asyncio.Semaphore(_AT_ONCE)
        progress = _Progress(self.total, self._read)

        async def read(shard: Shard) -> None:
            async with gate:
                await self._shard(shard, ahead[shard.source], cutoff, progress)

        try:
            async with asyncio.TaskGroup() as group:
                for shard in shards:
                    if shard.checkpoint > ahead[shard.source]:
                        group.create_task(read(shard))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _shard(
        self, shard: Shard, after: int, cutoff: int | None, progress: "_Progress"
    ) -> None:
        fresh, old = self._packer(), self._packer()
        async for page in self._archive.pages(shard, after, shard.checkpoint):
            for observations in page.documents:
                newest = max((observation.time for observation in observations), default=0)
                if self._since is not None and newest < self._since:
                    continue
                packer = fresh if cutoff is None or newest >= cutoff else old
                for observation in observations:
                    packer.add_observation(observation)
            futures = [*await fresh.send(), *await old.send(known_only=True)]
            await asyncio.gather(*futures)
            await self._control.write(
                ControlRecord("cursor", source=shard.source, position=page.last)
            )
            self._read += len(page.documents)
            self._telemetry.bootstrap_documents += len(page.documents)
            progress.say(self._read)


class _Progress:
    """Lines of progress, not too many."""

    def __init__(self, total: int, before: int) -> None:
        self._total = total
        self._before = before
        self._start = self._said = time.monotonic()

    def say(self, read: int) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY:
            return
        self._said = now
        done = read - self._before
        rate = done / (now - self._start)
        left = max(0, self._total - done) / rate if rate else 0.0
        logger.info(
            "bootstrap: %d of about %d documents, %.0f/s, %.0f s left",
            done,
            self._total,
            rate,
            left,
        )
