"""The tally: a fold of deltas into confusion counts per model and bucket of time.

Its checkpoint consists of blocks: the buckets of one model, tier and range of time. Each block records
which deltas it includes, so blocks of different ages can be combined (see `Tally.restore`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.log.deltas import DeltaBatch, RawDeltaBatch, read_deltas, unpack
from processor.domain.log.loaded import LoadedCounts
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, Counts, Totals
from processor.domain.tally.bucket_counts import BucketCounts, BucketFactory, Fresh
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.model_tally import (
    BLOCK_BUCKETS,
    ModelTally,
    is_expired,
    retention_floors,
)
from processor.domain.tally.recent import RecentCounts
from processor.domain.tally.walk import Floors
from processor.domain.tally.windows import ALL, HOURS, TIERS, Window
from processor.domain.timestamps import SECOND

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
    these deltas, by source partition. A bucket is its basis, number, and what `BucketCounts.pack`
    returns. The labels of cells are positions in ``labels``."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    labels: list[str]
    buckets: list[tuple[int, int, Totals, list[int], bytes, bytes]]


class PackedBlock(msgspec.Struct, array_like=True):
    """A `BucketBlock` whose labels and buckets are encoded already."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    labels: msgspec.Raw
    buckets: msgspec.Raw


class CheckpointManifest(msgspec.Struct, array_like=True):
    """The last record of each flush: the partition's progress, and the offset of every block's newest
    value, by which an older value in its place is noticed."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    log_time: int
    blocks: list[tuple[ModelKey, list[tuple[int, int, int]]]]


#: A block as a flush writes it.
Written = tuple[BlockKey, PackedBlock]


class Flush:
    """A flush under way: `blocks` makes the values to write, one by one, and deltas can be folded in
    between. Then `manifest` makes them valid, as of the start of the flush. The values of ``expired``
    must be removed last. So a flush can take its time, and be given up at any moment."""

    def __init__(self, tally: "Tally") -> None:
        self.offset = tally.offset
        self.expired: list[BlockKey] = []
        """The blocks that have expired, once all blocks were made."""
        self._tally = tally
        self._last, self._log_time = dict(tally.last), tally.log_time
        self._blocks = tally.changed_blocks(self.expired)

    @property
    def blocks(self) -> Iterator[Written | None]:
        """The blocks that changed before the start of the flush, and None after those of each model.
        Each has all deltas before its own offset, which is not below that of the manifest."""
        return self._blocks

    def manifest(self) -> CheckpointManifest:
        """Return the manifest, once all blocks were made."""
        listed = [
            (key, [(tier, block, offset) for (tier, block), offset in one.saved.items()])
            for key, one in self._tally.models.items()
            if one.saved
        ]
        version, log_id = self._tally.version, self._tally.log_id
        return CheckpointManifest(version, log_id, self.offset, self._last, self._log_time, listed)


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
        #: The block of each tier that the retention floors had reached when blocks expired last.
        self._expired_to: tuple[int, ...] | None = None
        #: The offset before which a block includes all deltas; only while catching up.
        self._includes: dict[BlockKey, int] = {}
        self._complete_at = 0
        self._factory = BucketFactory()
        self._add_record = self._factory.add_record

    def apply(
        self, offset: int, timestamp: int, batch: DeltaBatch | RawDeltaBatch | LoadedCounts
    ) -> bool:
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
        if isinstance(batch, LoadedCounts):
            self.log_time = max(self.log_time, batch.log_time)
            self._apply_loaded(offset, batch)
            return True
        if self._includes:
            models, labels = batch.models, batch.labels
            for delta in read_deltas(batch):
                counts = self._factory.new()
                counts.change_by(unpack(delta, labels))
                self._apply_partly(offset, models[delta.model], delta.basis, delta.minute, counts)
            return True
        self._factory.add_deltas(batch, self._fresh)
        return True

    def apply_encoded(self, offset: int, timestamp: int, record: bytes) -> bool:
        """Fold the record at ``offset``, if it is a batch that is the next one of its source. False if
        it is anything else: then nothing was done."""
        if self._includes or self.held:
            return False
        if not self._add_record(record, self.version, self.log_id, self.last, self._fresh):
            return False
        self.advance(offset, timestamp)
        return True

    def _fresh(self, model: Sequence[str]) -> Fresh:
        return self.model(ModelKey(*model)).fresh

    def advance(self, offset: int, timestamp: int) -> None:
        """Record that the log was read up to and with ``offset``, appended at ``timestamp`` (ns)."""
        self.offset = offset + 1
        self.log_time = max(self.log_time, timestamp)

    def window_counts(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        """The model, window name, basis and counts of every model's windows at ``now`` (seconds since
        1970). The counts change with later calls: copy them to keep them. Deltas may be folded between
        two models."""
        for key, tally in list(self.models.items()):
            tally.apply_fresh(retention_floors(self.log_time))
            tally.advance(now)
            for rolling in tally.sums:
                for basis, counts in zip(BASES, rolling.counts, strict=True):
                    yield key, rolling.window.name, basis, counts

    def recent_counts(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """Every model with its counts of recent windows at ``now`` (seconds since 1970). They change as
        those of `window_counts` do."""
        floors = retention_floors(self.log_time)
        for key, tally in list(self.models.items()):
            tally.apply_fresh(floors)
            tally.advance_recent(now)
            windows = {rolling.window.name: rolling.counts for rolling in tally.recent}
            yield (
                key,
                RecentCounts(
                    windows, tally.tiers[ALL][1].get(0), *tally.rhythm.at(now, tally.tiers)
                ),
            )

    def buckets(self, tier: int, basis: str) -> Iterator[tuple[ModelKey, Mapping[int, Counts]]]:
        """Every model with its buckets in a tier, by number, on the basis "request" or "feedback"."""
        floors = retention_floors(self.log_time)
        for key, tally in self.models.items():
            tally.apply_fresh(floors)
            yield key, tally.tiers[tier][BASES.index(basis)]

    def cohorts(self) -> Iterator[tuple[ModelKey, Cohorts]]:
        """Every model with its cohorts of predictions, for the estimates while labels are late."""
        floors = retention_floors(self.log_time)
        for key, tally in list(self.models.items()):
            tally.apply_fresh(floors)
            hours, whole = tally.tiers[HOURS][0], tally.tiers[ALL][0].get(0)
            yield key, Cohorts(hours, whole)

    def flush(self) -> Flush:
        """Begin a flush of what has changed since the last one. There must be no other under way, except
        one that was given up: then `restore` comes first."""
        return Flush(self)

    def flush_all(self) -> Flush:
        """Begin a flush of all blocks, changed or not: its values are a whole checkpoint."""
        for one in self.models.values():
            # In place, since the walk holds the set too.
            one.dirty.update(one.saved)
        return Flush(self)

    def changed_blocks(self, expired: list[BlockKey]) -> Iterator[Written | None]:
        """Yield the blocks that have changed until now, each as it is when it is made, and None after
        each model. Expired blocks are dropped from memory meanwhile; the keys of those that were saved
        are added to ``expired``."""
        floors = retention_floors(self.log_time)
        expiry = retention_floors(self.log_time - _GRACE)
        # Blocks expire only when a floor reaches another block.
        reached = tuple(
            [floor // length for floor, length in zip(expiry.tiers, BLOCK_BUCKETS, strict=True)]
        )
        expires = reached != self._expired_to
        self._expired_to = reached
        models = [
            (key, one) for key, one in self.models.items() if expires or one.is_changed(floors)
        ]
        return self._make_blocks(models, expiry if expires else None, expired)

    def _make_blocks(
        self,
        models: list[tuple[ModelKey, ModelTally]],
        expiry: Floors | None,
        expired: list[BlockKey],
    ) -> Iterator[Written | None]:
        for key, one in models:
            if expiry is not None:
                expired += [BlockKey(key, *each) for each in one.expire(expiry)]
            one.apply_fresh(retention_floors(self.log_time))
            if not self._includes:
                one.dirty.update(one.dropped)
                one.dropped.clear()
            for tier, block in list(one.dirty):
                # A block must have all deltas before its offset, also those that came meanwhile.
                one.apply_fresh(retention_floors(self.log_time))
                one.dirty.discard((tier, block))
                one.saved[tier, block] = self.offset
                yield BlockKey(key, tier, block), self._block(one, tier, block)
            one.close_buckets()
            yield None

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
            if is_expired(key.tier, key.block, floors):
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

    def model(self, model: ModelKey) -> ModelTally:
        """The counts of a model, new ones if there are none."""
        tally = self.models.get(model)
        if tally is None:
            tally = self.models[model] = ModelTally(self.windows, self._factory)
        return tally

    def _apply_loaded(self, offset: int, batch: LoadedCounts) -> None:
        """Add loaded buckets to the blocks that do not include them yet."""
        floors = retention_floors(self.log_time)
        for model, tier, basis, bucket, totals, cells, sums, delays in batch.buckets:
            key = BlockKey(batch.models[model], tier, bucket // BLOCK_BUCKETS[tier])
            if offset >= self._includes.get(key, 0) and (
                tier == ALL or bucket >= floors.tiers[tier]
            ):
                counts = self._factory.new()
                counts.load(totals, cells, batch.labels, sums, delays)
                self.model(key.model).change(tier, basis, bucket, counts, floors)

    def _apply_partly(
        self, offset: int, model: ModelKey, basis: int, minute: int, counts: BucketCounts
    ) -> None:
        """Apply a change to the blocks that do not include it yet."""
        floors = retention_floors(self.log_time)
        tally = self.model(model)
        for tier, (_, size, _) in enumerate(TIERS):
            bucket = minute * 60 // size if size else 0
            key = BlockKey(model, tier, bucket // BLOCK_BUCKETS[tier])
            if offset < self._includes.get(key, 0) or (size and bucket < floors.tiers[tier]):
                continue
            tally.change(tier, basis, bucket, counts, floors)

    def _load(self, key: BlockKey, block: BucketBlock) -> None:
        tally = self.model(key.model)
        for basis, bucket, totals, cells, sums, delays in block.buckets:
            counts = self._factory.new()
            counts.load(totals, cells, block.labels, sums, delays)
            tally.load(key.tier, basis, bucket, counts)
        tally.saved[key.tier, key.block] = block.offset

    def _block(self, tally: ModelTally, tier: int, block: int) -> PackedBlock:
        packed = map(msgspec.Raw, tally.pack_block(tier, block))
        return PackedBlock(self.version, self.log_id, self.offset, dict(self.last), *packed)
