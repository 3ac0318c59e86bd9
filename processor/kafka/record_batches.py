"""Batches of a source's records as the broker sent them, for a reader that needs no object per record.

The client makes one of each record, which costs as much as all that is done with it after. The
client's version is pinned: what is replaced here has no public name.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

#: Of version 2, the only one whose records have headers: where its attributes and records are.
_ATTRIBUTES, _VERSION, _RECORDS = slice(21, 23), 16, 61
_CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


class RecordBatch(NamedTuple):
    """Records from ``start`` to before ``end``; ``content`` begins before ``start`` where the position
    was in the middle of a batch. Not compressed."""

    content: bytes
    start: int
    end: int


def record_batches(_: Any) -> None:
    """As the ``value_deserializer`` of a consumer: it is to get `RecordBatch`es in place of records."""
    raise NotImplementedError("no record is made")


def deliver_record_batches() -> None:
    """From now on, to consumers of this process that ask for them."""
    fetcher.PartitionRecords = _PartitionRecords


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """What a fetch of one partition brought."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        if self._value_deserializer is record_batches:
            return self._unpack_batches()
        return super()._unpack_records()  # type: ignore[no-any-return]

    def _unpack_batches(self) -> Iterator[RecordBatch]:
        records = self._records
        while records.has_next():
            batch = records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            start, end = self.next_fetch_offset, batch.next_offset
            self.next_fetch_offset = end
            if not batch.is_control_batch and end > start:
                yield RecordBatch(_plain(bytes(batch.raw)), start, end)


def _plain(content: bytes) -> bytes:
    """A batch with its records not compressed."""
    if content[_VERSION] != 2:
        raise CorruptRecordException("a batch of a version that has no headers")
    codec = int.from_bytes(content[_ATTRIBUTES], "big") & 7
    if not codec:
        return content
    return content[:_RECORDS] + _CODECS[codec](content[_RECORDS:])
