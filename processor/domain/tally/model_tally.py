"""The counts of one model by bucket of time, and the running sums of its windows."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from processor.domain.tally.bucket_counts import ALL as ALL_PARTS
from processor.domain.tally.bucket_counts import LABELS, SUMMED, SUMS, BucketCounts, BucketFactory
from processor.domain.tally.recent import Rhythm
from processor.domain.tally.walk import (
    Block,
    Buckets,
    Floors,
    ModelTier,
    Slide,
    new_slide,
    new_walk,
)
from processor.domain.tally.windows import ALL, HOURS, MINUTES, RECENT, SUMS_KEEP, TIERS, Window
from processor.domain.timestamps import SECOND

#: Buckets per block, by tier: a flush rewrites whole blocks, and most changes are recent.
#: A block is one record: 24 hours of 100 classes with every cell in use are 2.5 MB.
BLOCK_BUCKETS = (120, 24, 8, 1)


class ModelTally:
    """The buckets of one model, and the running sums of its windows; ``factory`` makes empty counts."""

    def __init__(self, windows: tuple[Window, ...], factory: BucketFactory) -> None:
        #: Counts by [tier][basis][number of the bucket].
        self.tiers: tuple[tuple[Buckets, Buckets], ...] = tuple(({}, {}) for _ in TIERS)
        #: Changes that are not in the tiers yet.
        self.fresh = factory.new_fresh()
        #: The offset of each saved block's newest value, and the blocks that changed since, by tier and
        #: number of the block.
        self.saved: dict[Block, int] = {}
        self.dirty: set[Block] = set()
        #: Saved blocks of minutes whose sums were all dropped: without them their values are short.
        self.dropped: set[Block] = set()
        #: Buckets that may be open, by identity.
        self._open: dict[int, BucketCounts] = {}
        #: The lowest minute that keeps its sums; None while minutes below it may have some.
        self._sums_floor: int | None = None
        self.sums = [RollingSum(window, self, factory) for window in windows]
        #: The running sums of `RECENT`; those that are not among the windows have no sums of statistics.
        self.recent = [
            next((one for one in self.sums if one.window == window), None)
            or RollingSum(window, self, factory, LABELS)
            for window in RECENT
        ]
        self.new_counts = factory.new
        self.rhythm = Rhythm()
        rolling = {id(one): one for one in (*self.sums, *self.recent)}
        slides = [each for one in rolling.values() for each in one.slides]
        tiers = [
            ModelTier(
                size,
                BLOCK_BUCKETS[tier],
                ALL_PARTS if tier in (HOURS, ALL) else SUMMED,
                self.tiers[tier],
                [slide for at, slide in slides if at == tier],
            )
            for tier, (_, size, _) in enumerate(TIERS)
        ]
        self._walk = new_walk(factory, tiers, self._open, self.dirty)
        self.change = self._walk.change
        self.pack_block = self._walk.pack_block
        self.close_buckets = self._walk.close_buckets
        self._moved = [slide for one in self.sums for _, slide in one.slides]
        self._moved_recent = [slide for one in self.recent for _, slide in one.slides]

    def is_changed(self, floors: Floors) -> bool:
        """Whether anything changed since the last flush, or will by `apply_fresh`."""
        return bool(self.fresh or self.dirty or self.dropped or self._open) or (
            self._sums_floor != floors.sums
        )

    def apply_fresh(self, floors: Floors) -> None:
        """Add the fresh changes to the tiers, and drop the sums of minutes below their floor. Changes of
        a bucket below its tier's retention floor are dropped, since the bucket has expired."""
        if self._sums_floor != floors.sums:
            self._drop_sums(floors.sums)
        if self.fresh:
            self._walk.apply(self.fresh, floors)

    def advance(self, now: float) -> None:
        """Move the windows to ``now`` (seconds since 1970)."""
        self._walk.advance(self._moved, int(now // 1))

    def advance_recent(self, now: float) -> None:
        """Move the windows of `RECENT` to ``now`` (seconds since 1970)."""
        self._walk.advance(self._moved_recent, int(now // 1))

    def load(self, tier: int, basis: int, bucket: int, counts: BucketCounts) -> None:
        """Set the counts of a bucket from a checkpoint."""
        self.tiers[tier][basis][bucket] = counts
        self._walk.slide(tier, basis, bucket, counts, 1, SUMMED)

    def block(self, tier: int, block: int) -> Iterator[tuple[int, int, BucketCounts]]:
        """Yield the basis, number and counts of the buckets of a block."""
        length = BLOCK_BUCKETS[tier]
        for basis, buckets in enumerate(self.tiers[tier]):
            for bucket in range(block * length, (block + 1) * length):
                counts = buckets.get(bucket)
                if counts is not None:
                    yield basis, bucket, counts

    def expire(self, floors: Floors) -> Iterator[Block]:
        """Drop expired blocks; yields those that were saved."""
        for each in [each for each in self.saved.keys() | self.dirty if is_expired(*each, floors)]:
            self.dirty.discard(each)
            self.dropped.discard(each)
            if self.saved.pop(each, None) is not None:
                yield each
            tier, block = each
            for basis, bucket, counts in list(self.block(tier, block)):
                del self.tiers[tier][basis][bucket]
                self._open.pop(id(counts), None)
                # A window that was not read for long can still include the bucket.
                self._walk.slide(tier, basis, bucket, counts, -1, SUMMED)

    def _drop_sums(self, floor: int) -> None:
        """Drop the sums of statistics of the minutes below a floor."""
        before, self._sums_floor = self._sums_floor, floor
        for basis, buckets in enumerate(self.tiers[MINUTES]):
            minutes: Iterable[int] = range(before or 0, floor)
            if before is None or floor - before > len(buckets):
                minutes = [minute for minute in buckets if minute < floor]
            for minute in minutes:
                counts = buckets.get(minute)
                taken = counts.take_sums() if counts is not None else None
                if counts is None or taken is None:
                    continue
                self._open[id(counts)] = counts
                # A window that was not read for long can still include the minute.
                self._walk.slide(MINUTES, basis, minute, taken, -1, SUMS)
        length = BLOCK_BUCKETS[MINUTES]
        first = floor if before is None else before
        self.dropped |= {(MINUTES, block) for block in range(first // length, floor // length)} & (
            self.saved.keys()
        )


class RollingSum:
    """The running sum of a window's buckets. Changes are added and buckets that leave the window are
    subtracted, so the cost of reading it does not depend on the window's length. ``part`` says what is
    summed."""

    def __init__(
        self,
        window: Window,
        tally: ModelTally,
        factory: BucketFactory,
        part: int = SUMMED,
    ) -> None:
        self.window = window
        self._tally = tally
        self._totals = (factory.new(), factory.new())
        if not window.seconds:
            parts = {}  # its only bucket is the sum
        elif part != SUMMED or window.sums_tier == window.tier:
            parts = {window.tier: part}
        else:
            parts = {window.tier: LABELS, window.sums_tier: SUMS}
        self.slides: list[tuple[int, Slide]] = [
            (
                tier,
                new_slide(factory, tier, TIERS[tier].size, window.length(tier), part, self._totals),
            )
            for tier, part in parts.items()
        ]
        """The slides over the buckets, with their tiers."""

    @property
    def counts(self) -> tuple[BucketCounts, BucketCounts]:
        """The sum on each basis."""
        if self.slides:
            return self._totals
        request, feedback = self._tally.tiers[ALL]
        return request.get(0, self._totals[0]), feedback.get(0, self._totals[1])


def retention_floors(log_time: int) -> Floors:
    """The lowest buckets that are kept at a log time (ns). They never decrease, since log time does
    not."""
    return _floors(log_time // SECOND)


@lru_cache(maxsize=8)  # it is asked for each model of a partition, mostly at one log time
def _floors(seconds: int) -> Floors:
    return Floors(
        tuple([(seconds - keep) // size if keep else 0 for _, size, keep in TIERS]),
        (seconds - SUMS_KEEP) // TIERS[MINUTES].size,
    )


def is_expired(tier: int, block: int, floors: Floors) -> bool:
    """Whether all buckets of a block are below their retention floor."""
    return tier != ALL and (block + 1) * BLOCK_BUCKETS[tier] <= floors.tiers[tier]
