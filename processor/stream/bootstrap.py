"""Reading the archive onto the log: once at the first start, then what has changed.

The leader does it. It resumes at the cursors on the control topic, so a new leader repeats one page
of each shard at most, and what is repeated counts once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing

from processor.archive.elasticsearch import ElasticsearchArchive, Shard
from processor.domain.documents import Document, DocumentReader
from processor.domain.events import DeadLetter, RawEvent
from processor.domain.telemetry import Telemetry
from processor.errors import ArchiveError, BrokerError
from processor.stream.control import ControlLog, ControlRecord
from processor.stream.packer import Packer

logger = logging.getLogger(__name__)

#: Shards read at once.
_AT_ONCE = 4
#: Documents decoded in one turn of the loop.
_TURN = 100
#: Seconds between looks for new indices, and of the longest pause after a fault.
_LOOK_AGAIN, _BACKOFF_MOST = 300.0, 60.0
#: Seconds between lines of progress.
_SAY_EVERY = 10.0


class Bootstrap:
    """``in_memory_from`` gives the time (ns) from which on every request is in memory, if it was ever
    on the log; ``since`` (ns) leaves older documents out altogether."""

    def __init__(
        self,
        archive: ElasticsearchArchive,
        reader: DocumentReader,
        control: ControlLog,
        packer: Callable[[], Packer],
        telemetry: Telemetry,
        in_memory_from: Callable[[], int],
        since: int | None,
    ) -> None:
        self.trouble = ""
        """Why the archive can't be read at the moment."""
        self.total: int | None = None
        """Documents to read in this pass, about; None before it has begun."""
        self._archive = archive
        self._reader = reader
        self._control = control
        self._packer = packer
        self._telemetry = telemetry
        self._in_memory_from = in_memory_from
        self._since = since
        self._read = 0

    async def run(self) -> None:
        """As the leader, until cancelled: all of the archive, then new indices now and then."""
        try:
            await self._run()
        finally:
            self.trouble = ""  # from here on it is the next leader's

    async def _run(self) -> None:
        known: frozenset[str] = frozenset()
        while True:
            await self._until_it_works(known)
            if not self._control.done:
                await self._control.write(ControlRecord("done"))
                logger.info("bootstrap: complete, %d documents", self._read)
            known = frozenset(self._control.cursors)
            await asyncio.sleep(_LOOK_AGAIN)

    def _is_late(self) -> bool:
        """Whether the log has run for so long without this archive that requests which it counted
        have left memory: they can't be told from those that it never saw."""
        late = not self._control.cursors and self._control.made < self._in_memory_from()
        if late:
            logger.warning(
                "bootstrap: this log is older than PROCESSOR_HORIZON, so only recent documents can "
                "be counted once: use a new PROCESSOR_APP_ID to count the whole archive"
            )
        return late

    async def _until_it_works(self, known: frozenset[str]) -> None:
        delay = 1.0
        while True:
            try:
                await self._control.refresh()
                await self._pass(known)
                self.trouble = ""
                return
            except (ArchiveError, BrokerError) as error:
                self.trouble = str(error)
                logger.warning("bootstrap: %s; next try in %.0f s", error, delay)
                await asyncio.sleep(delay * random.uniform(0.8, 1.2))
                delay = min(delay * 2, _BACKOFF_MOST)

    async def _pass(self, known: frozenset[str]) -> None:
        """Read every shard from its cursor on, but for those in ``known``."""
        control = self._control
        shards = {
            f"{shard.uuid}/{shard.number}": shard
            for shard in await self._archive.shards()
            if f"{shard.uuid}/{shard.number}" not in known
        }
        ahead = {
            source: shard
            for source, shard in shards.items()
            if shard.checkpoint > control.cursors.get(source, -1)
        }
        self.total = sum(
            min(shard.documents, shard.checkpoint - control.cursors.get(source, -1))
            for source, shard in ahead.items()
        )
        # Only a first start counts what is old: later, old documents have been counted.
        whole = not control.done and not self._is_late()
        if self.total:
            logger.info(
                "%s: %d shards, about %d documents",
                "catch-up" if control.done else "bootstrap",
                len(ahead),
                self.total,
            )
        gate = asyncio.Semaphore(_AT_ONCE)
        progress = _Progress(self.total, self._read)

        async def read(source: str, shard: Shard) -> None:
            async with gate:
                await self._shard(source, shard, whole, progress)

        try:
            async with asyncio.TaskGroup() as group:
                for source, shard in ahead.items():
                    group.create_task(read(source, shard))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _shard(self, source: str, shard: Shard, whole: bool, progress: "_Progress") -> None:
        fresh, old = self._packer(), self._packer()
        after = self._control.cursors.get(source, -1)
        async with aclosing(self._archive.pages(shard, after, shard.checkpoint)) as pages:
            async for page in pages:
                cutoff = None if whole else self._in_memory_from()
                for number, document in enumerate(page.documents):
                    self._add(document, shard, cutoff, fresh, old)
                    if number % _TURN == 0:
                        await asyncio.sleep(0)
                await asyncio.gather(*await fresh.send(), *await old.send(known_only=True))
                # After the page's acknowledgement: a new leader may repeat a page, never miss one.
                await self._control.write(
                    ControlRecord("cursor", source=source, position=page.last_seq_no)
                )
                self._read += len(page.documents)
                self._telemetry.bootstrap_documents += len(page.documents)
                progress.say(self._read)

    def _add(
        self, document: Document, shard: Shard, cutoff: int | None, fresh: Packer, old: Packer
    ) -> None:
        said = self._reader.read(document)
        times = [one.time for one in said if not isinstance(one, DeadLetter)]
        if times and self._since is not None and max(times) < self._since:
            return
        # By the oldest: with a feedback of yesterday and a prediction that has left memory, both
        # were counted.
        packer = fresh if cutoff is None or min(times, default=0) >= cutoff else old
        for one in said:
            if isinstance(one, DeadLetter):
                origin = (document.index, shard.number, document.seq_no)
                event = RawEvent((), document.source, -1)
                fresh.add_letter(event, one, origin, document.id.encode("utf-8", "replace"))
            else:
                packer.add_observation(one)


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
