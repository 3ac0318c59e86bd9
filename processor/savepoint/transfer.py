"""From a source of state into a file, and from a file into a sink, block by block."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from processor.domain.join.state import JoinState
from processor.domain.log import schema2
from processor.domain.savepoint.contents import Block, End, Header, Requests
from processor.domain.savepoint.loading import LoadRecord, StateLoader
from processor.domain.savepoint.saving import StateSaver
from processor.domain.tally.bucket_counts import ALL, LABELS
from processor.domain.tally.tally import Tally
from processor.errors import SavepointError
from processor.savepoint.file import SavepointReader, SavepointWriter

#: Is called with the requests that were saved or loaded so far.
Progress = Callable[[int], None]


class StateSource(Protocol):
    """An app whose state is saved. The states of the join are read one after another, each as of its own
    moment; afterwards the tallies have the deltas of each partition up to that moment, and no later
    ones."""

    async def open(self) -> Header:
        """Open the source, and return what the savepoint begins with: nothing that it names may come
        later than the states."""
        ...

    def log_times(self) -> Sequence[int]:
        """The log times (ns) of the tallies as they are now, by partition of the deltas."""
        ...

    def joins(self) -> AsyncIterator[tuple[int, JoinState]]:
        """Yield each partition of the join with its state."""
        ...

    def tallies(self) -> Sequence[Tally]:
        """The tallies, by partition of the deltas; they belong to the caller."""
        ...

    async def evicted(self) -> int:
        """The time (ns) before which requests may have left memory by now."""
        ...


class StateSink(Protocol):
    """A new app into which a savepoint is loaded."""

    @property
    def log_id(self) -> str:
        """The id of the new app's log."""
        ...

    @property
    def partitions(self) -> int:
        """The number of partitions of its topics."""
        ...

    async def send(self, records: Iterable[LoadRecord]) -> None:
        """Send records; those of one partition stay in their order."""
        ...

    async def finish(self, header: Header, end: End, size: int) -> None:
        """Wait until all records are durable, and make the app ready to run. ``size`` is that of the
        savepoint in bytes."""
        ...


async def save(source: StateSource, writer: SavepointWriter, progress: Progress) -> End:
    """Write the state of an app as a savepoint. Returns its last block."""
    header = await source.open()
    writer.write(header)
    saver = StateSaver(source.log_times(), LABELS if header.schema == schema2.VERSION else ALL)
    async for number, state in source.joins():
        for block in saver.partition(number, state):
            writer.write(block)
            progress(saver.requests)
            await asyncio.sleep(0)
        progress(saver.requests)
    for counts in saver.counts(source.tallies()):
        writer.write(counts)
        await asyncio.sleep(0)
    end = saver.end(await source.evicted())
    writer.write(end)
    return end


async def load(reader: SavepointReader, sink: StateSink, progress: Progress) -> End:
    """Send a savepoint to a new app. Returns its last block. `SavepointError` if the file is damaged."""
    loader = StateLoader(reader.header, sink.log_id, sink.partitions)
    requests, last = 0, None
    for block in reader.blocks():
        try:
            await sink.send(loader.records(block))
        except ValueError as error:
            raise SavepointError(f"the savepoint is damaged: {error}; save anew") from None
        requests += block.count if isinstance(block, Requests) else 0
        progress(requests)
        last = block
    assert isinstance(last, End)
    await sink.finish(reader.header, last, reader.bytes)
    return last


def checked(reader: SavepointReader) -> tuple[End, int]:
    """Read a savepoint to its end. Returns its last block and the number of its buckets;
    `SavepointError` if it is damaged."""
    block: Block | None = None
    buckets = 0
    for block in reader.blocks():
        buckets += len(getattr(block, "buckets", ()))
    assert isinstance(block, End)
    return block, buckets
