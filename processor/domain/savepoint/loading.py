"""The blocks of a savepoint as the records of a new app's topics."""

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

from processor.domain.log.chunking import delta_records
from processor.domain.log.deltas import partition_of
from processor.domain.log.loaded import (
    LOADED,
    LoadedBucket,
    LoadedCounts,
    LoadedRequests,
    LoadedState,
)
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import encode
from processor.domain.savepoint.contents import (
    BaseCounts,
    Block,
    End,
    Fingerprints,
    Header,
    Requests,
    Tables,
)
from processor.domain.savepoint.rows import RequestReader


class LoadRecord(NamedTuple):
    """A record for a partition of the deltas, or else of the observations."""

    deltas: bool
    partition: int
    value: bytes


class StateLoader:
    """Makes the records of an app with ``partitions`` partitions. The same blocks give the same records,
    and a fold takes each once, so a load can begin again."""

    def __init__(self, header: Header, log_id: str, partitions: int) -> None:
        self._log_id = log_id
        self._partitions = partitions
        # A fingerprint does not tell its request id, but its partition was the id's hash modulo the old
        # number, so this many partitions apart it can be in each of the new ones.
        self._step = gcd(header.partitions, partitions)
        self._positions = [0] * partitions
        self._offsets = [-1] * partitions
        self._reader: RequestReader | None = None

    def records(self, block: Block) -> Iterator[LoadRecord]:
        """Yield the records of the next block. `ValueError` if the block is malformed."""
        if isinstance(block, Tables):
            self._reader = RequestReader(block, self._partitions)
        elif isinstance(block, Requests):
            yield from self._requests(block)
        elif isinstance(block, Fingerprints):
            state = (block.ids, block.completed_hour, block.completed_until)
            for partition in range(block.partition % self._step, self._partitions, self._step):
                yield self._state(partition, *state)
        elif isinstance(block, BaseCounts):
            yield from self._counts(block)
        elif isinstance(block, End):
            yield self._state(0, b"", 0, -1, block)

    def _requests(self, block: Requests) -> Iterator[LoadRecord]:
        if self._reader is None:
            raise ValueError("a block of requests before any tables")
        for partition, batches in self._reader.batches(block, self._log_id):
            position = self._next(partition)
            record = LoadedRequests(SCHEMA_VERSION, self._log_id, position, block.hour, batches)
            yield LoadRecord(False, partition, encode(record))

    def _state(
        self, partition: int, ids: bytes, hour: int, until: int, end: End | None = None
    ) -> LoadRecord:
        diagnostics = (end.rows_differ, end.ambiguous, end.not_scorable) if end else (0, 0, {})
        position = self._next(partition)
        record = LoadedState(SCHEMA_VERSION, self._log_id, position, ids, hour, until, *diagnostics)
        return LoadRecord(False, partition, encode(record))

    def _next(self, partition: int) -> int:
        self._positions[partition] += 1
        return self._positions[partition]

    def _counts(self, block: BaseCounts) -> Iterator[LoadRecord]:
        targets = [partition_of("\0".join(model), self._partitions) for model in block.models]
        found: dict[int, list[LoadedBucket]] = {}
        for bucket in block.buckets:
            found.setdefault(targets[bucket[0]], []).append(bucket)
        for partition, buckets in sorted(found.items()):
            before = self._offsets[partition]
            self._offsets[partition] = offset = before + 1
            counts = LoadedCounts(
                SCHEMA_VERSION,
                self._log_id,
                LOADED,
                offset,
                before,
                block.log_time,
                block.models,
                block.labels,
                buckets,
            )
            for value in delta_records(counts):
                yield LoadRecord(True, partition, value)
