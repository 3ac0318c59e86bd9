"""All documents of an index pattern, each once, also where they change meanwhile."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from processor.archive.elasticsearch.archive import ElasticsearchArchive, Shard
from processor.domain.events.documents import Document
from processor.domain.model_rules import ModelRules
from processor.replay.fold import ReplayFold
from processor.replay.journal import Entry, Journal, Origin
from processor.replay.progress import CommandProgress

#: Shards read at once: enough to keep a cluster busy, few enough to hold their pages in memory.
_SHARDS = 4


class DocumentSink(Protocol):
    """What takes the documents."""

    read: int

    def add_documents(self, documents: Sequence[Document]) -> None:
        """Take some documents of an archive."""

    async def settle(self) -> None:
        """Wait for whatever holds up more; called after each piece."""


class Resume:
    """A fold that goes on where the journal of an earlier process ends."""

    def __init__(self, journal: Journal, fold: ReplayFold, rules: ModelRules) -> None:
        self._journal = journal
        self._fold = fold
        self._rules = rules
        self._adding = False

    def restore(self, archive: ElasticsearchArchive) -> int:
        """Fold what the journal holds of the archive; how many documents that were."""
        before = self._fold.read
        as_of = self._fold.selection.as_of
        origin = Origin.of(archive.address, archive.pattern, as_of, self._rules)
        for entry in self._journal.entries(origin):
            self._fold.restore(entry.folded)
        return self._fold.read - before

    def positions(self, shards: Sequence[Shard]) -> dict[tuple[str, int], int]:
        """The sequence numbers up to which shards are read."""
        self._journal.check_indices({shard.uuid for shard in shards})
        return dict(self._journal.positions)

    def add(self, shard: Shard, documents: Sequence[Document], position: int) -> None:
        """Fold and keep a page. Once one broke off (Ctrl-C, while other shards are still read) there is
        no other: it would be kept with what that one has left behind."""
        if self._adding:
            raise asyncio.CancelledError
        self._adding = True
        folded = self._fold.fold_documents(documents)
        self._journal.add(Entry(shard.index, shard.uuid, shard.number, position, folded))
        self._adding = False


async def read_elasticsearch(
    archive: ElasticsearchArchive, sink: DocumentSink, resume: Resume | None
) -> None:
    """Read all of the archive, which is closed then, into ``sink``, whose fold ``resume`` has too."""
    try:
        await archive.check()
        restored = 0 if resume is None else resume.restore(archive)
        shards = await archive.shards()
        positions = {} if resume is None else resume.positions(shards)
        total = sum(
            min(shard.documents, shard.checkpoint - positions.get((shard.uuid, shard.number), -1))
            for shard in shards
        )
        with CommandProgress(f"reading {archive.pattern} of {archive.address}", total) as progress:
            if restored:
                progress.report(f"goes on behind {restored:,} documents that were read before")
            reading = _Reading(archive, sink, resume, positions, progress)
            await reading.read(shards)
            # What has changed since is behind that; hardly ever more than one look is needed.
            while not await reading.read(await archive.shards(), to_the_end=True):
                pass
    finally:
        await archive.close()


class _Reading:
    """Reads on from positions, which it moves."""

    def __init__(
        self,
        archive: ElasticsearchArchive,
        sink: DocumentSink,
        resume: Resume | None,
        positions: dict[tuple[str, int], int],
        progress: CommandProgress,
    ) -> None:
        self._archive = archive
        self._sink = sink
        self._resume = resume
        self._positions = positions
        self._progress = progress
        self._before = sink.read

    async def read(self, shards: Sequence[Shard], to_the_end: bool = False) -> bool:
        """Read the shards up to their checkpoints, or to their end; whether they are at it."""
        left = list(shards)
        workers = min(_SHARDS, len(left))
        at_end = True

        async def read_shards() -> None:
            nonlocal at_end
            while left:
                shard = left.pop()
                await self._pages(shard, max(1, _SHARDS // workers - 1))
                if to_the_end and not await self._rest(shard):
                    at_end = False

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(read_shards())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return at_end

    async def _pages(self, shard: Shard, ahead: int) -> None:
        after = self._positions.get((shard.uuid, shard.number), -1)
        async with aclosing(self._archive.pages(shard, after, ahead=ahead)) as pages:
            async for page in pages:
                await self._take(shard, page.documents, page.last_seq_no)

    async def _rest(self, shard: Shard) -> bool:
        documents = await self._archive.rest(shard)
        if documents:
            await self._take(shard, documents, shard.checkpoint)
        return documents is not None

    async def _take(self, shard: Shard, documents: Sequence[Document], position: int) -> None:
        if self._resume is None:
            self._sink.add_documents(documents)
        else:
            self._resume.add(shard, documents, position)
        self._positions[shard.uuid, shard.number] = position
        await self._sink.settle()
        done = self._sink.read - self._before
        self._progress.update(done, done)
