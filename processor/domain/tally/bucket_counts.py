"""The counts of one bucket, whose sums of statistics are packed while they do not change.

A model with probabilities has hundreds of sums in each bucket, and thousands of buckets: as a dict they
would take 30 times the memory, and each checkpoint would encode all of them again.
"""

import msgspec

from processor.domain.log.deltas import pack_sums, unpack_sums
from processor.domain.statistics.counts import Cell, Counts, Totals
from processor.domain.statistics.sums import Sums

_encode = msgspec.msgpack.Encoder().encode
#: Labels, and sums that refer to them by position.
_decode = msgspec.msgpack.Decoder(tuple[list[str], list[int | str]]).decode


class BucketCounts(Counts):
    """Counts that are open, with their sums in a dict, or closed, with their sums as bytes."""

    __slots__ = ("_open", "_packed", "changed")

    _open: Sums | None
    #: The packed sums; None while they are not known.
    _packed: bytes | None
    changed: bool
    """Whether the counts changed since `close_unchanged`."""

    @classmethod
    def of(cls, counts: Counts) -> "BucketCounts":
        """Return an independent copy of some counts."""
        return cls(*counts.totals(), dict(counts.cells), dict(counts.sums))

    @classmethod
    def from_packed(cls, totals: Totals, cells: dict[Cell, int], sums: bytes) -> "BucketCounts":
        """Return closed counts; ``sums`` are by `packed`."""
        counts = cls(*totals, cells)
        if sums:
            counts._open, counts._packed = None, sums
        counts.changed = False
        return counts

    @property
    def sums(self) -> Sums:
        """The sums; those of closed counts are a copy, which must not be changed."""
        return unpack(self._packed or b"") if self._open is None else self._open

    @sums.setter
    def sums(self, sums: Sums) -> None:
        self._open, self._packed, self.changed = sums, None, True

    def change(self, counts: Counts) -> None:
        """Add some counts."""
        self.changed = True
        self.add_labels(counts)
        if counts.sums:
            if self._open is None:
                self._open = self.sums
            self._packed = None
            self.add_sums(counts)

    def packed(self) -> bytes:
        """Return the packed sums, empty if there are none."""
        if self._packed is None:
            labels: dict[str, int] = {}
            flat = pack_sums(self._open or {}, labels)
            self._packed = _encode((list(labels), flat)) if flat else b""
        return self._packed

    def close_unchanged(self) -> bool:
        """Close the counts if they did not change since the last call. Returns whether they are
        closed."""
        if self.changed:
            self.changed = False
            return False
        if self._open:
            self.packed()
            self._open = None
        return True

    def is_empty(self) -> bool:
        """Whether all counts are zero."""
        return not (self.cells or self._open or self._packed or any(self.totals()))


def unpack(packed: bytes) -> Sums:
    """Return the sums of `BucketCounts.packed`."""
    if not packed:
        return {}
    labels, flat = _decode(packed)
    return unpack_sums(flat, labels)
