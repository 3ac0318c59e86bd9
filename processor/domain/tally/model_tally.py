"""The counts of one model by bucket of time, and the running sums of its windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from processor.domain.statistics.counts import Counts
from processor.domain.tally.bucket_counts import BucketCounts
from processor.domain.tally.windows import MINUTES, SUMS_KEEP, TIERS, Window
from processor.domain.timestamps import SECOND

Buckets = dict[int, Counts]
BucketsOfTier = dict[int, BucketCounts]


class Floors(NamedTuple):
    """The lowest bucket that is kept, by tier, and the lowest minute that keeps the sums of
    statistics."""

    tiers: tuple[int, ...]
    sums: int


class ModelTally:
    """The buckets of one model, and the running sums of its windows."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        #: Counts by [tier][basis][number of the bucket].
        self.tiers: tuple[tuple[BucketsOfTier, BucketsOfTier], ...] = tuple(({}, {}) for _ in TIERS)
        #: Buckets with sums of statistics that may be open, by identity.
        self._open: dict[int, BucketCounts] = {}
        #: Changes that are not in the tiers yet, by [basis][minute].
        self.fresh: tuple[Buckets, Buckets] = ({}, {})
        self.sums = [RollingSum(window, self) for window in windows]

    def apply_fresh(self, floors: Floors) -> Iterator[tuple[int, int]]:
        """Add the fresh changes to the tiers; yields the (tier, bucket) that changed. Changes of a
        bucket below its tier's retention floor are dropped, since the bucket has expired."""
        for basis, fresh in enumerate(self.fresh):
            for minute, counts in fresh.items():
                for tier, (_, size, _) in enumerate(TIERS):
                    bucket = minute * 60 // size if size else 0
                    if size and bucket < floors.tiers[tier]:
                        continue
                    self.change(tier, basis, bucket, counts, floors)
                    yield tier, bucket
            fresh.clear()

    def change(self, tier: int, basis: int, bucket: int, counts: Counts, floors: Floors) -> None:
        """Add a change to a bucket and to the windows that have it."""
        if tier == MINUTES and counts.sums and bucket < floors.sums:
            counts = Counts(*counts.totals(), counts.cells)
        buckets = self.tiers[tier][basis]
        total = buckets.get(bucket)
        if total is None:
            total = buckets[bucket] = BucketCounts.of(counts)
        else:
            total.change(counts)
        if counts.sums:
            self._open[id(total)] = total
        for rolling in self.sums:
            rolling.change(tier, basis, bucket, counts)

    def close_buckets(self) -> None:
        """Close the buckets that did not change since the last call."""
        for number, counts in list(self._open.items()):
            if counts.close_unchanged():
                del self._open[number]

    def drop_sums(self, minutes: Iterable[int]) -> None:
        """Drop the sums of statistics of some minutes."""
        for basis, buckets in enumerate(self.tiers[MINUTES]):
            for minute in minutes:
                counts = buckets.get(minute)
                if counts is not None and counts.sums:
                    dropped, counts.sums = Counts(sums=counts.sums), {}
                    # A window that was not read for long can still include the minute.
                    for rolling in self.sums:
                        rolling.change(MINUTES, basis, minute, dropped, -1)


class RollingSum:
    """The running sum of a window's buckets. Changes are added and buckets that leave the window are
    subtracted, so the cost of reading it does not depend on the window's length."""

    def __init__(self, window: Window, tally: ModelTally) -> None:
        self.window = window
        self.counts = (Counts(), Counts())
        if window.sums_tier == window.tier:
            self._slides = [_Slide(window, window.tier, Counts.add)]
        else:
            self._slides = [
                _Slide(window, window.tier, Counts.add_labels),
                _Slide(window, window.sums_tier, Counts.add_sums),
            ]
        self._tally = tally

    def change(self, tier: int, basis: int, bucket: int, counts: Counts, sign: int = 1) -> None:
        """Add the change of a bucket by ``counts`` (subtract it with ``sign`` -1), if the bucket is in
        the window."""
        for slide in self._slides:
            if slide.has(tier, bucket):
                slide.add(self.counts[basis], counts, sign)

    def advance(self, now: float) -> None:
        """Move the window to ``now`` (seconds since 1970)."""
        for slide in self._slides:
            slide.advance(now, self._tally.tiers[slide.tier], self.counts)


class _Slide:
    """The buckets of a window in one tier, and what of them ``add`` adds to the sum."""

    def __init__(
        self, window: Window, tier: int, add: Callable[[Counts, Counts, int], None]
    ) -> None:
        self.tier = tier
        self.add = add
        self._length = window.length(tier)
        self._end = 0

    def has(self, tier: int, bucket: int) -> bool:
        """Whether a bucket of a tier is in the window."""
        return tier == self.tier and (
            not self._length or self._end - self._length < bucket <= self._end
        )

    def advance(self, now: float, tiers: Sequence[BucketsOfTier], totals: Sequence[Counts]) -> None:
        """Move to ``now``, and change the totals by basis."""
        if not self._length:
            return
        end = int(now // TIERS[self.tier].size)
        step, add = end - self._end, self.add
        if not step:
            return
        for buckets, total in zip(tiers, totals, strict=True):
            if 0 < step < self._length:
                for bucket in range(self._end + 1, end + 1):
                    if bucket in buckets:
                        add(total, buckets[bucket], 1)
                for bucket in range(self._end - self._length + 1, end - self._length + 1):
                    if bucket in buckets:
                        add(total, buckets[bucket], -1)
            else:
                add(total, total, -1)
                for bucket, counts in buckets.items():
                    if end - self._length < bucket <= end:
                        add(total, counts, 1)
        self._end = end


def retention_floors(log_time: int) -> Floors:
    """The lowest buckets that are kept at a log time (ns). They never decrease, since log time does
    not."""
    seconds = log_time // SECOND
    return Floors(
        tuple([(seconds - keep) // size if keep else 0 for _, size, keep in TIERS]),
        (seconds - SUMS_KEEP) // TIERS[MINUTES].size,
    )
