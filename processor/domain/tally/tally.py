"""The tally: a fold of deltas into confusion counts per model and bucket of time.

Its checkpoint consists of blocks: the buckets of one model, tier and range of time. Each block records
which deltas it includes, so blocks of different ages can be combined (see `Tally.restore`).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from processor.domain.log.deltas import (
    DeltaBatch,
    pack_cells,
    unpack,
    unpack_cells,
)
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, Counts, Totals
from processor.domain.tally.bucket_counts import BucketCounts
from processor.domain.tally.model_tally import Floors, ModelTally, retention_floors
from processor.domain.tally.windows import ALL, MINUTES, TIERS, Window
from processor.domain.timestamps import SECOND

#: Buckets per block, by tier: a flush rewrites whole blocks, and most changes are recent.
#: A block is one record: 24 hours of 100 classes with every cell in use are 2.5 MB.
BLOCK_BUCKETS = (120, 24, 8, 1)


#: How long (ns of log time) an expired block is kept: a former owner's late manifest may still list it.
_GRACE = 3600 * SECOND


class BlockKey(NamedTuple):
    """The key of a block; ``block`` is its first bucket's number divided by the tier's
    `BLOCK_BUCKETS`."""

    model: ModelKey
    tier: int
    block: int


class BucketBlock(msgspec.Struct, array_like=True):
    """A range of buckets with all deltas before ``offset``. ``last`` is the newest source offset among
    these deltas, by source partition. A bucket is its basis, number, totals, flat cells and packed sums
    (see `pack_cells` and `BucketCounts.packed`). The labels of cells are positions in ``labels``."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    labels: list[str]
    buckets: list[tuple[int, int, Totals, list[int], bytes]]


class CheckpointManifest(msgspec.Struct, array_like=True):
    """The last record of each flush: the partition's progress, and the offset of every block's newest
    value, by which an older value in its place is noticed."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    log_time: int
    blocks: list[tuple[ModelKey, list[tuple[int, int, int]]]]


class Flush(NamedTuple):
    """The values that a flush writes, in this order, and then the keys of values to remove."""

    blocks: list[tuple[BlockKey, BucketBlock]]
    manifest: CheckpointManifest
    expired: list[BlockKey]


class Tally:
    """Folds the deltas of one partition; ``version`` and ``log_id`` are those of its checkpoints."""

    def __init__(self, version: int, log_id: str, windows: tuple[Window, ...]) -> None:
        self.version = version
        self.log_id = log_id
        self.windows = windows
        self._reset()

    def _reset(self) -> None:
        self.models: dict[ModelKey, ModelTally] = {}
        self.offset = 0
        self.last: dict[int, int] = {}
        self.log_time = 0
        #: How many batches are held because an earlier batch is missing, by source partition. The
        #: number stays until the newest of them was sent again.
        self.held: dict[int, int] = {}
        self._newest_held: dict[int, int] = {}
        #: The offset of each saved block's newest value.
        self._saved: dict[BlockKey, int] = {}
        self._dirty: set[BlockKey] = set()
        #: The offset before which a block includes all deltas; only while catching up.
        self._includes: dict[BlockKey, int] = {}
        self._complete_at = 0
        #: The first minute that has the sums of statistics.
        self._sums_floor = 0

    def apply(self, offset: int, timestamp: int, batch: DeltaBatch) -> bool:
        """Fold the batch at ``offset``, appended at ``timestamp`` (ns). False if it is held, since an
        earlier batch of its source is missing; duplicates are ignored."""
        if self._includes and offset >= self._complete_at:
            self._includes.clear()
        self.advance(offset, timestamp)
        last = self.last.get(batch.source, -1)
        if batch.offset <= last:
            return True
        if batch.prev > last:
            if batch.offset > self._newest_held.get(batch.source, -1):
                self.held[batch.source] = self.held.get(batch.source, 0) + 1
                self._newest_held[batch.source] = batch.offset
            return False
        self.last[batch.source] = batch.offset
        # The sender sends the missing batch, and all batches after it again.
        if self.held and batch.offset >= self._newest_held.get(batch.source, -1):
            self.held.pop(batch.source, None)
            self._newest_held.pop(batch.source, None)
        labels = batch.labels
        tallies = [self._tally(model) for model in batch.models]
        for delta in batch.deltas:
            counts = unpack(delta, labels)
            if self._includes:
                self._apply_partly(
                    offset, batch.models[delta.model], delta.basis, delta.minute, counts
                )
                continue
            fresh = tallies[delta.model].fresh[delta.basis]
            total = fresh.get(delta.minute)
            if total is None:
                fresh[delta.minute] = counts
            else:
                total.add(counts)
        return True

    def advance(self, offset: int, timestamp: int) -> None:
        """Record that the log was read up to and with ``offset``, appended at ``timestamp`` (ns)."""
        self.offset = offset + 1
        self.log_time = max(self.log_time, timestamp)

    def window_counts(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """The model, window name, basis and counts of every model's windows at ``now`` (seconds since
        1970). The counts change with later calls: copy them to keep them."""
        self._apply_fresh()
        for key, tally in self.models.items():
            for rolling in tally.sums:
                rolling.advance(now)
                for basis, counts in zip(BASES, rolling.counts, strict=True):
                    yield key, rolling.window.name, basis, counts

    def buckets(self, tier: int, basis: str) -> Iterator[tuple[ModelKey, Mapping[int, Counts]]]:
        """Every model with its buckets in a tier, by number, on the basis "request" or "feedback"."""
        self._apply_fresh()
        for key, tally in self.models.items():
            yield key, tally.tiers[tier][BASES.index(basis)]

    def flush(self) -> Flush:
        """The blocks that have changed since the last flush, and the manifest of the checkpoint."""
        self._apply_fresh()
        expired = self._expire()
        written = []
        for key in self._dirty:
            self._saved[key] = self.offset
            written.append((key, self._block(key)))
        self._dirty.clear()
        for tally in self.models.values():
            tally.close_buckets()
        listed: dict[ModelKey, list[tuple[int, int, int]]] = {}
        for key, offset in self._saved.items():
            listed.setdefault(key.model, []).append((key.tier, key.block, offset))
        manifest = CheckpointManifest(
            self.version,
            self.log_id,
            self.offset,
            dict(self.last),
            self.log_time,
            list(listed.items()),
        )
        return Flush(written, manifest, expired)

    def restore(
        self, manifest: CheckpointManifest | None, blocks: Mapping[BlockKey, BucketBlock]
    ) -> int:
        """Load a checkpoint; returns the offset from which to read the deltas.

        - A block that is newer than the manifest, since a flush was interrupted, skips the deltas that
          it includes.
        - A block that is older than the manifest says, after a late write of a former owner, makes
          reading begin at the block's own offset.
        - If a listed block or the manifest is missing, reading begins at the start of the log.
        """
        self._reset()
        if manifest is None:
            return 0
        listed = {
            BlockKey(model, tier, block): offset
            for model, entries in manifest.blocks
            for tier, block, offset in entries
        }
        if any(key not in blocks for key in listed):
            return 0
        floors = retention_floors(manifest.log_time - _GRACE)
        start, last = manifest.offset, manifest.last
        for key, block in blocks.items():
            if key not in listed and block.offset <= manifest.offset:
                continue  # expired, but a former owner wrote it again
            if _is_expired(key, floors):
                continue
            self._load(key, block)
            if block.offset < listed.get(key, block.offset):
                self._includes[key] = block.offset
                if block.offset < start:
                    start, last = block.offset, block.last
            else:
                # The block is the listed value or newer, so it includes all deltas of the manifest.
                self._includes[key] = max(block.offset, manifest.offset)
        self._complete_at = max(self._includes.values(), default=0)
        self.offset, self.last = start, dict(last)
        self.log_time = manifest.log_time
        return start

    def _tally(self, model: ModelKey) -> ModelTally:
        tally = self.models.get(model)
        if tally is None:
            tally = self.models[model] = ModelTally(self.windows)
        return tally

    def _apply_fresh(self) -> None:
        floors = self._move_floors()
        dirty = self._dirty
        for key, tally in self.models.items():
            if tally.fresh[0] or tally.fresh[1]:
                for tier, bucket in tally.apply_fresh(floors):
                    dirty.add(BlockKey(key, tier, bucket // BLOCK_BUCKETS[tier]))

    def _move_floors(self) -> Floors:
        """The floors at the log time; drops the sums of the minutes that fell below them."""
        floors = retention_floors(self.log_time)
        start = max(self._sums_floor, floors.tiers[MINUTES])
        if start < floors.sums:
            minutes = range(start, floors.sums)
            for tally in self.models.values():
                tally.drop_sums(minutes)
        self._sums_floor = floors.sums
        return floors

    def _apply_partly(
        self, offset: int, model: ModelKey, basis: int, minute: int, counts: Counts
    ) -> None:
        """Apply a change to the blocks that do not include it yet."""
        floors = retention_floors(self.log_time)
        tally = self._tally(model)
        for tier, (_, size, _) in enumerate(TIERS):
            bucket = minute * 60 // size if size else 0
            key = BlockKey(model, tier, bucket // BLOCK_BUCKETS[tier])
            if offset < self._includes.get(key, 0) or (size and bucket < floors.tiers[tier]):
                continue
            tally.change(tier, basis, bucket, counts, floors)
            self._dirty.add(key)

    def _load(self, key: BlockKey, block: BucketBlock) -> None:
        tally = self._tally(key.model)
        labels = block.labels
        for basis, bucket, totals, cells, sums in block.buckets:
            counts = BucketCounts.from_packed(totals, unpack_cells(cells, labels), sums)
            tally.tiers[key.tier][basis][bucket] = counts
            for rolling in tally.sums:
                rolling.change(key.tier, basis, bucket, counts)
        self._saved[key] = block.offset

    def _block(self, key: BlockKey) -> BucketBlock:
        tally = self.models[key.model]
        length = BLOCK_BUCKETS[key.tier]
        first = key.block * length
        buckets = []
        labels: dict[str, int] = {}
        for basis in range(len(BASES)):
            in_tier = tally.tiers[key.tier][basis]
            for bucket in range(first, first + length):
                counts = in_tier.get(bucket)
                if counts is not None and not counts.is_empty():
                    cells = pack_cells(counts.cells, labels)
                    buckets.append((basis, bucket, counts.totals(), cells, counts.packed()))
        return BucketBlock(
            self.version, self.log_id, self.offset, dict(self.last), list(labels), buckets
        )

    def _expire(self) -> list[BlockKey]:
        """Drop expired blocks from memory; returns the keys of those that were saved."""
        floors = retention_floors(self.log_time - _GRACE)
        gone = {key for key in self._saved.keys() | self._dirty if _is_expired(key, floors)}
        self._dirty -= gone
        expired = [key for key in gone if self._saved.pop(key, None) is not None]
        for key in gone:
            first = key.block * BLOCK_BUCKETS[key.tier]
            tally = self.models[key.model]
            for basis, buckets in enumerate(tally.tiers[key.tier]):
                for bucket in range(first, first + BLOCK_BUCKETS[key.tier]):
                    counts = buckets.pop(bucket, None)
                    if counts is None:
                        continue
                    # A window that was not read for long can still include the bucket.
                    for rolling in tally.sums:
                        rolling.change(key.tier, basis, bucket, counts, -1)
        return expired


def _is_expired(key: BlockKey, floors: Floors) -> bool:
    return key.tier != ALL and (key.block + 1) * BLOCK_BUCKETS[key.tier] <= floors.tiers[key.tier]
