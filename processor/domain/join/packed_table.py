"""A table of requests of the common case, in 44 bytes each and their packed values: buckets of rows that
all have one size.

A bucket is a short bytearray, so the search for a key in it is one call that runs in C. Buckets split
one at a time as the table grows (linear hashing), so no insert ever has to move all rows.
"""

from collections.abc import Iterator
from itertools import compress
from operator import not_
from struct import Struct as Layout
from typing import NamedTuple
from zlib import crc32

import msgspec

#: Average rows of a bucket when the table splits the next one, and the maximum. Only ids that somebody
#: chose can fill a bucket; such requests are kept as objects.
ROWS_PER_BUCKET, MAX_ROWS_PER_BUCKET = 16, 512

#: The key, the log hour in which the request was first seen, the prediction's content and time (ns), and
#: the feedback's content and time.
ROW = Layout("<16sIIqIq")
#: The most bytes of values in a row: those of the largest probabilities of many classes.
MAX_WIDTH = 64
_FIRST_SEEN = Layout("<I").unpack_from
CONTENT = Layout("<IqIq")
FEEDBACK = Layout("<Iq")
_FIRST_SEEN_AT, CONTENT_AT, FEEDBACK_AT = 16, 20, 32


class PackedRow(NamedTuple):
    """A request with one prediction and at most one feedback. The ids are positions in the state's
    tables of contents; ``feedback_id`` counts from 1, and is 0 without feedback. Times are in ns.
    ``values`` are the packed values of the prediction and, behind them, of the truth."""

    key: bytes
    first_seen_hour: int
    prediction_id: int
    predicted_at: int
    feedback_id: int
    feedback_at: int
    values: bytes = b""


class CopyOnWrite(msgspec.Struct):
    """Buckets as they were when a snapshot began. The buckets from ``start`` up to ``stop`` are still
    to be copied; ``preserved`` has the changed ones among them, as they were."""

    start: int
    stop: int
    preserved: dict[int, bytes] = msgspec.field(default_factory=dict)

    def take(self, buckets: list[bytearray], count: int) -> list[bytes | bytearray]:
        """The next ``count`` buckets, or fewer at the end, as they were."""
        first, self.start = self.start, min(self.start + count, self.stop)
        numbers = range(first, self.start)
        if not self.preserved:
            return list(buckets[first : self.start])
        return [self.preserved.pop(number, buckets[number]) for number in numbers]


class PackedTable(msgspec.Struct, array_like=True):
    """Rows by key. The rows of a bucket are in the order in which they were first seen."""

    count: int = 0
    buckets: list[bytearray] = msgspec.field(default_factory=lambda: [bytearray()])
    mask: int = 0
    """The bits of a key's hash that give its bucket."""
    split: int = 0
    """The next bucket to split; the buckets below use one more bit."""
    grow_at: int = ROWS_PER_BUCKET
    """The table grows when it has more rows than this."""
    copy_on_write: CopyOnWrite | None = None
    """Set while a snapshot is made."""
    width: int = 0
    """Bytes of values in each row, padded with zeros."""

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return ROW.size + self.width

    def iter_bucket(self, bucket: bytes | bytearray) -> Iterator[PackedRow]:
        """The rows of a bucket, which must not change meanwhile."""
        size = self.size
        for at in range(0, len(bucket), size):
            fields = ROW.unpack_from(bucket, at)
            yield PackedRow._make((*fields, bytes(bucket[at + ROW.size : at + size])))

    def make_room(self, width: int) -> bool:
        """Make room for so many bytes of values in each row. Returns False if there is less."""
        if width > self.width:
            if self.width or width > MAX_WIDTH:
                return False
            self.widen(width)
        return True

    def widen(self, width: int) -> None:
        """Give every row so many bytes of values; the table has none yet."""
        assert not self.width
        padding = bytes(width)
        for number, bucket in enumerate(self.buckets):
            if bucket:
                if self.copy_on_write is not None:
                    self.preserve(number)
                rows = [bucket[at : at + ROW.size] for at in range(0, len(bucket), ROW.size)]
                bucket[:] = padding.join([*rows, b""])
        self.width = width

    def preserve(self, number: int) -> None:
        """Copy a bucket that is about to change, unless the snapshot in progress has copied it."""
        copy_on_write = self.copy_on_write
        assert copy_on_write is not None
        if (
            copy_on_write.start <= number < copy_on_write.stop
            and number not in copy_on_write.preserved
        ):
            copy_on_write.preserved[number] = bytes(self.buckets[number])

    def _number(self, key: bytes) -> int:
        code = crc32(key)
        number = code & self.mask
        return code & (self.mask << 1 | 1) if number < self.split else number

    def _changing(self, key: bytes) -> bytearray:
        """The bucket of a key, which is about to change."""
        number = self._number(key)
        if self.copy_on_write is not None:
            self.preserve(number)
        return self.buckets[number]

    def get(self, key: bytes) -> PackedRow | None:
        """The row of a key, None if there is none."""
        bucket = self.buckets[self._number(key)]
        at = position(bucket, key, self.size)
        if at < 0:
            return None
        values = bytes(bucket[at + ROW.size : at + self.size])
        return PackedRow._make((*ROW.unpack_from(bucket, at), values))

    def put(self, row: PackedRow) -> bool:
        """Add or replace a row. Returns False if its bucket is full, or its values are too long."""
        if not self.make_room(len(row.values)):
            return False
        size = self.size
        bucket, packed = self._changing(row.key), ROW.pack(*row[:6])
        packed += row.values.ljust(self.width, b"\0")
        at = position(bucket, row.key, size)
        if at >= 0:
            bucket[at : at + size] = packed
            return True
        if len(bucket) >= MAX_ROWS_PER_BUCKET * size:
            return False
        at = len(bucket)
        while at and _FIRST_SEEN(bucket, at - size + _FIRST_SEEN_AT)[0] > row.first_seen_hour:
            at -= size
        bucket[at:at] = packed
        self.count += 1
        if self.count > self.grow_at:
            self.grow()
        return True

    def remove(self, key: bytes) -> None:
        """Remove the row of a key that the table has."""
        bucket = self._changing(key)
        at = position(bucket, key, self.size)
        del bucket[at : at + self.size]
        self.count -= 1

    def rows(self) -> Iterator[PackedRow]:
        """All rows. A row that is added, moved or removed meanwhile may come twice or not at all."""
        number = 0
        while number < len(self.buckets):
            yield from self.iter_bucket(bytes(self.buckets[number]))
            number += 1

    def oldest(self) -> int | None:
        """The log hour in which the oldest row was first seen, None if there are no rows."""
        return min((_FIRST_SEEN(b, _FIRST_SEEN_AT)[0] for b in self.buckets if b), default=None)

    def expire(self, before: int) -> tuple[int, int]:
        """Drop rows first seen before a log hour. Returns how many, and how many had no feedback."""
        dropped = waiting = 0
        for number, bucket in enumerate(self.buckets):
            if not bucket or _FIRST_SEEN(bucket, _FIRST_SEEN_AT)[0] >= before:
                continue
            if self.copy_on_write is not None:
                self.preserve(number)
            rows = 0
            for row in self.iter_bucket(bucket):
                if row.first_seen_hour >= before:
                    break
                rows += 1
                waiting += not row.feedback_id
            del bucket[: rows * self.size]
            dropped += rows
        self.count -= dropped
        return dropped, waiting

    def grow(self) -> None:
        """Split the next bucket: some of its rows move to a new one."""
        if self.copy_on_write is not None:
            self.preserve(self.split)
        old, bit = self.buckets[self.split], self.mask + 1
        size = self.size
        rows = [old[at : at + size] for at in range(0, len(old), size)]
        moving = [crc32(row[:16]) & bit for row in rows]
        self.buckets[self.split] = bytearray().join(compress(rows, map(not_, moving)))
        self.buckets.append(bytearray().join(compress(rows, moving)))
        self.grow_at += ROWS_PER_BUCKET
        self.split += 1
        if self.split == bit:
            self.mask, self.split = self.mask << 1 | 1, 0


def position(bucket: bytearray, key: bytes, size: int) -> int:
    """The position of a key's row in a bucket with rows of this size, -1 if the bucket does not have
    it."""
    at = bucket.find(key)
    while at > 0 and at % size:  # found across other fields: rare, but possible
        at = bucket.find(key, at + 1)
    return at
