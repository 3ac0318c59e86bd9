"""Requests of the usual kind in 44 bytes each: buckets of fixed rows, found by a search for the key.

A bucket is a short bytearray, so a search through it is one call that runs in C; buckets split one
at a time as the table grows (linear hashing), so no insert ever stops to move them all.
"""

from collections.abc import Iterator
from itertools import compress
from operator import not_
from struct import Struct as Layout
from typing import NamedTuple
from zlib import crc32

import msgspec

#: Rows of a bucket on average when the table splits the next one, and at most: only chosen ids can
#: crowd a bucket, and those are kept elsewhere.
ROWS_PER_BUCKET, MAX_ROWS_PER_BUCKET = 16, 512

#: Key, log hour of birth, what was predicted and when (ns), what was said of it and when.
ROW = Layout("<16sIIqIq")
#: Bytes of a bucket from which on nothing is added to it.
MAX_BUCKET_BYTES = MAX_ROWS_PER_BUCKET * ROW.size
_WHOLE = Layout(f"{ROW.size}s")
_KEY = Layout(f"16s{ROW.size - 16}x")
_BORN = Layout("<I").unpack_from
CONTENT = Layout("<IqIq")
FEEDBACK = Layout("<Iq")
_BORN_AT, CONTENT_AT, FEEDBACK_AT = 16, 20, 32


class PackedRow(NamedTuple):
    """A request with one prediction: numbers of contents in tables of others, ``said`` 0 = none."""

    key: bytes
    first_seen_hour: int
    prediction_id: int
    predicted_at: int
    feedback_id: int
    feedback_at: int


class CopyOnWrite(msgspec.Struct):
    """Buckets as they were when a snapshot began, of those that have changed since and are still to be
    taken: from ``start`` on, and below ``stop``."""

    start: int
    stop: int
    preserved: dict[int, bytes] = msgspec.field(default_factory=dict)

    def take(self, buckets: list[bytearray], most: int) -> list[bytes | bytearray]:
        """The next ones, at most so many, as they were."""
        first, self.start = self.start, min(self.start + most, self.stop)
        numbers = range(first, self.start)
        if not self.preserved:
            return list(buckets[first : self.start])
        return [self.preserved.pop(number, buckets[number]) for number in numbers]


class PackedTable(msgspec.Struct, array_like=True):
    """Rows by key. The rows of a bucket are in the order of birth."""

    count: int = 0
    buckets: list[bytearray] = msgspec.field(default_factory=lambda: [bytearray()])
    mask: int = 0
    """Of the bits of a hash that every key has used; `split` buckets use one more."""
    split: int = 0
    grow_at: int = ROWS_PER_BUCKET
    """Rows from which on the table is to grow."""
    copy_on_write: CopyOnWrite | None = None
    """While a snapshot is made."""

    def preserve(self, number: int) -> None:
        """Copy a bucket that is about to change, while a snapshot is made and has yet to take it."""
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
        """The bucket where a key belongs, which is about to change."""
        number = self._number(key)
        if self.copy_on_write is not None:
            self.preserve(number)
        return self.buckets[number]

    def get(self, key: bytes) -> PackedRow | None:
        """The row of a key."""
        bucket = self.buckets[self._number(key)]
        at = position(bucket, key)
        return None if at < 0 else PackedRow._make(ROW.unpack_from(bucket, at))

    def put(self, row: PackedRow) -> bool:
        """Add or replace a row, whenever it was born; False if there is no room for it."""
        bucket, packed = self._changing(row.key), ROW.pack(*row)
        at = position(bucket, row.key)
        if at >= 0:
            bucket[at : at + ROW.size] = packed
            return True
        if len(bucket) >= MAX_BUCKET_BYTES:
            return False
        at = len(bucket)
        while at and _BORN(bucket, at - ROW.size + _BORN_AT)[0] > row.first_seen_hour:
            at -= ROW.size
        bucket[at:at] = packed
        self.count += 1
        if self.count > self.grow_at:
            self.grow()
        return True

    def remove(self, key: bytes) -> None:
        """Remove the row of a key that is here."""
        bucket = self._changing(key)
        at = position(bucket, key)
        del bucket[at : at + ROW.size]
        self.count -= 1

    def rows(self) -> Iterator[PackedRow]:
        """All rows; of those that come, move or leave meanwhile some may be told twice or not."""
        number = 0
        while number < len(self.buckets):
            yield from map(PackedRow._make, ROW.iter_unpack(bytes(self.buckets[number])))
            number += 1

    def oldest(self) -> int | None:
        """The hour of the first birth."""
        return min((_BORN(b, _BORN_AT)[0] for b in self.buckets if b), default=None)

    def expire(self, before: int) -> tuple[int, int]:
        """Drop what was born before an hour; how many rows, and how many of them had no feedback."""
        dropped = waiting = 0
        for number, bucket in enumerate(self.buckets):
            if not bucket or _BORN(bucket, _BORN_AT)[0] >= before:
                continue
            if self.copy_on_write is not None:
                self.preserve(number)
            rows = 0
            for _, first_seen_hour, _, _, feedback_id, _ in ROW.iter_unpack(bytes(bucket)):
                if first_seen_hour >= before:
                    break
                rows += 1
                waiting += not feedback_id
            del bucket[: rows * ROW.size]
            dropped += rows
        self.count -= dropped
        return dropped, waiting

    def grow(self) -> None:
        """Deal the rows of the next bucket out to it and to a new one."""
        if self.copy_on_write is not None:
            self.preserve(self.split)
        old, bit = self.buckets[self.split], self.mask + 1
        rows = [row for (row,) in _WHOLE.iter_unpack(old)]
        goes = [crc32(key) & bit for (key,) in _KEY.iter_unpack(old)]
        self.buckets[self.split] = bytearray().join(compress(rows, map(not_, goes)))
        self.buckets.append(bytearray().join(compress(rows, goes)))
        self.grow_at += ROWS_PER_BUCKET
        self.split += 1
        if self.split == bit:
            self.mask, self.split = self.mask << 1 | 1, 0


def position(bucket: bytearray, key: bytes) -> int:
    """Where the row of a key starts, -1 if it is not in the bucket."""
    at = bucket.find(key)
    while at > 0 and at % ROW.size:  # found across other fields: can be, hardly ever is
        at = bucket.find(key, at + 1)
    return at
