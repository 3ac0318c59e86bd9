"""Read all documents of an Elasticsearch index pattern, each once, even if they change meanwhile."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from processor.domain.events.documents import Document
from processor.domain.model_rules import ModelRules
from processor.replay.fold import ReplayFold
from processor.replay.journal import Entry, Journal, JournalHeader
from processor.replay.progress import CommandProgress

if TYPE_CHECKING:  # Elasticsearch's client takes 0.3 s to import
    from processor.archive.elasticsearch.archive import ElasticsearchArchive, Shard

#: Shards read at once: enough to keep a cluster busy, few enough to hold their pages in memory.
_SHARDS = 4


class DocumentSink(Protocol):
    """Receives documents; ``read`` counts them."""

    read: int

    def add_documents(self, documents: Sequence[Document]) -> None:
        """Add some documents of an archive."""

    async def wait_for_room(self) -> None:
        """Wait until the sink can take more documents; called after each page."""


class Resume:
    """Continues a fold from the journal of an earlier process."""

    def __init__(self, journal: Journal, fold: ReplayFold, rules: ModelRules) -> None:
        self._journal = journal
        self._fold = fold
        self._rules = rules
        self._adding = False

    def restore(self, archive: "ElasticsearchArchive") -> int:
        """Fold the journal's entries for the archive; returns how many documents they hold."""
        before = self._fold.read
        as_of = self._fold.selection.as_of
        header = JournalHeader.of(archive.address, archive.pattern, as_of, self._rules)
        for entry in self._journal.entries(header):
            self._fold.restore(entry.folded)
        return self._fold.read - before

    def positions(self, shards: "Sequence[Shard]") -> dict[tuple[str, int], int]:
        """The sequence number up to which each shard was read, by index uuid and shard number."""
        self._journal.check_indices({shard.uuid for shard in shards})
        return dict(self._journal.positions)

    def add(self, shard: "Shard", documents: Sequence[Document], position: int) -> None:
        """Fold a page of documents and write it to the journal.

        Raises `asyncio.CancelledError` after an earlier call was interrupted (Ctrl-C while other shards
        are still read): the entry of this page would also hold observations left over from the
        interrupted one.
        """
        if self._adding:
            raise asyncio.CancelledError
        self._adding = True
        folded = self._fold.fold_documents(documents)
        self._journal.add(Entry(shard.index, shard.uuid, shard.number, position, folded))
        self._adding = False


async def read_elasticsearch(
    archive: "ElasticsearchArchive", sink: DocumentSink, resume: Resume | None
) -> None:
    """Read the whole archive into ``sink``, then close the archive. ``resume`` holds the same fold as
    ``sink``."""
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
                progress.report(f"continues after {restored:,} documents that were read before")
            reading = _Reading(archive, sink, resume, positions, progress)
            await reading.read(shards)
            # Documents that changed meanwhile have sequence numbers past the checkpoints just read;
            # one more pass is enough unless they change again.
            while not await reading.read(await archive.shards(), to_the_end=True):
                pass
    finally:
        await archive.close()


class _Reading:
    """Reads shards from ``positions`` on, and advances these."""

    def __init__(
        self,
        archive: "ElasticsearchArchive",
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

    async def read(self, shards: "Sequence[Shard]", to_the_end: bool = False) -> bool:
        """Read the shards up to their checkpoints or, with ``to_the_end``, to their last document.
        Returns False if the end of a shard was not reached."""
        remaining = list(shards)
        workers = min(_SHARDS, len(remaining))
        at_end = True

        async def read_shards() -> None:
            nonlocal at_end
            while remaining:
                shard = remaining.pop()
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

    async def _pages(self, shard: "Shard", ahead: int) -> None:
        after = self._positions.get((shard.uuid, shard.number), -1)
        async with aclosing(self._archive.pages(shard, after, ahead=ahead)) as pages:
            async for page in pages:
                await self._add(shard, page.documents, page.last_seq_no)

    async def _rest(self, shard: "Shard") -> bool:
        documents = await self._archive.rest(shard)
        if documents:
            await self._add(shard, documents, shard.checkpoint)
        return documents is not None

    async def _add(self, shard: "Shard", documents: Sequence[Document], position: int) -> None:
        if self._resume is None:
            self._sink.add_documents(documents)
        else:
            self._resume.add(shard, documents, position)
        self._positions[shard.uuid, shard.number] = position
        await self._sink.wait_for_room()
        done = self._sink.read - self._before
        self._progress.update(done, done)
