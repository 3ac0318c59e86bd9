"""The way of changes into the buckets of one model, and into the windows that have these buckets."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.native import native
from processor.domain.tally.bucket_counts import (
    LABELS,
    BucketCounts,
    BucketFactory,
    Fresh,
)
from processor.domain.tally.windows import MINUTES

_encode = msgspec.msgpack.Encoder().encode

#: Counts by the number of the bucket.
Buckets = dict[int, BucketCounts]
#: A tier, and the number of a block of its buckets.
Block = tuple[int, int]


class Floors(NamedTuple):
    """The lowest bucket that is kept, by tier, and the lowest minute that keeps the sums of
    statistics."""

    tiers: tuple[int, ...]
    sums: int


class Slide:
    """The buckets of a window in one tier whose buckets have ``size`` seconds, those above ``start`` up
    to ``end``; ``part`` of them belongs to the ``totals`` by basis. ``length`` is their number."""

    def __init__(
        self,
        tier: int,
        size: int,
        length: int,
        part: int,
        totals: tuple[BucketCounts, BucketCounts],
    ) -> None:
        self.tier = tier
        self.size = size
        self.part = part
        self.totals = totals
        self.start, self.end = -length, 0


class ModelTier(NamedTuple):
    """The buckets of a tier by basis, and the slides of windows over them. ``size`` is the seconds of a
    bucket, 0 for all time; ``block`` the buckets of a block; ``part`` what the tier keeps of changes."""

    size: int
    block: int
    part: int
    buckets: tuple[Buckets, Buckets]
    slides: list[Slide]


class Walk:
    """Adds changes to the tiers of one model, and moves its windows. Buckets that change are added to
    ``open``, by identity, and their blocks to ``dirty``.

    The class of the same name in the native extension has the same methods, and so has `Slide`.
    """

    def __init__(
        self,
        factory: BucketFactory,
        tiers: Sequence[ModelTier],
        open_buckets: dict[int, BucketCounts],
        dirty: set[Block],
    ) -> None:
        self._new = factory.new
        self._tiers = tiers
        self._open = open_buckets
        self._dirty = dirty

    def apply(self, fresh: Fresh, floors: Floors) -> None:
        """Take the fresh changes, and add them to every tier that still keeps their bucket."""
        taken, fresh.changes = fresh.changes, ({}, {})
        for basis, changes in enumerate(taken):
            for minute, counts in changes.items():
                for number, tier in enumerate(self._tiers):
                    bucket = minute * 60 // tier.size if tier.size else 0
                    if not tier.size or bucket >= floors.tiers[number]:
                        self.change(number, basis, bucket, counts, floors)

    def change(
        self, tier: int, basis: int, bucket: int, counts: BucketCounts, floors: Floors
    ) -> None:
        """Add a change to a bucket and to the windows that have it."""
        way = self._tiers[tier]
        part = LABELS if tier == MINUTES and bucket < floors.sums else way.part
        buckets = way.buckets[basis]
        total = buckets.get(bucket)
        if total is None:
            total = buckets[bucket] = self._new()
        total.change(counts, 1, part)
        self._open[id(total)] = total
        self._dirty.add((tier, bucket // way.block))
        self.slide(tier, basis, bucket, counts, 1, part)

    def slide(
        self, tier: int, basis: int, bucket: int, counts: BucketCounts, sign: int, part: int
    ) -> None:
        """Add a part of a bucket's change (subtract it with ``sign`` -1) to the windows that have the
        bucket."""
        for slide in self._tiers[tier].slides:
            if slide.start < bucket <= slide.end and part & slide.part:
                slide.totals[basis].change(counts, sign, part & slide.part)

    def pack_block(self, tier: int, block: int) -> tuple[bytes, bytes]:
        """Return the labels and the buckets of a block, encoded, see `BucketBlock`."""
        way, labels = self._tiers[tier], dict[str, int]()
        numbers = range(block * way.block, (block + 1) * way.block)
        buckets = [
            (basis, bucket, *packed)
            for basis, found in enumerate(way.buckets)
            for bucket in numbers
            if bucket in found and (packed := found[bucket].pack(labels)) is not None
        ]
        return _encode(list(labels)), _encode(buckets)

    def close_buckets(self) -> None:
        """Close the buckets that did not change since the last call."""
        for number, counts in list(self._open.items()):
            if counts.close_unchanged():
                del self._open[number]

    def advance(self, slides: Iterable[Slide], seconds: int) -> None:
        """Move windows to a time in seconds since 1970."""
        for slide in slides:
            self._move(slide, seconds // slide.size)

    def _move(self, slide: Slide, end: int) -> None:
        if end == slide.end:
            return
        start, part = slide.start + end - slide.end, slide.part
        for buckets, total in zip(self._tiers[slide.tier].buckets, slide.totals, strict=True):
            if slide.end < end and start < slide.end:
                for bucket in range(slide.end + 1, end + 1):
                    if bucket in buckets:
                        total.change(buckets[bucket], 1, part)
                for bucket in range(slide.start + 1, start + 1):
                    if bucket in buckets:
                        total.change(buckets[bucket], -1, part)
            else:
                total.reset(part)
                for bucket, counts in buckets.items():
                    if start < bucket <= end:
                        total.change(counts, 1, part)
        slide.start, slide.end = start, end


def new_slide(
    factory: BucketFactory,
    tier: int,
    size: int,
    length: int,
    part: int,
    totals: tuple[BucketCounts, BucketCounts],
) -> Slide:
    """Make a `Slide` of the kind of the factory's counts, which has no bucket yet."""
    kind = Slide if factory.labels is None else native.Slide
    return kind(tier, size, length, part, totals)


def new_walk(
    factory: BucketFactory,
    tiers: list[ModelTier],
    open_buckets: dict[int, BucketCounts],
    dirty: set[Block],
) -> Walk:
    """Make a `Walk` of the kind of the factory's counts."""
    if factory.labels is None:
        return Walk(factory, tiers, open_buckets, dirty)
    return native.Walk(factory.labels, tiers, open_buckets, dirty)
