"""A load that is packed once and sent over and over, each time about other requests.

What a sender costs is then a copy: the digits of the ids are changed in place, so that a long run at a
high rate leaves its cores to those who are measured.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from .pace import Sending

#: Ids are told apart by four digits of sixteen.
ROUNDS = 1 << 16
_DIGITS = b"0123456789abcdef"
_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Where in an id the four digits are.
_PLACE = 9
#: Of a batch, version 2: the checksum is of all behind it; the times of the first and the last record.
_CRC, _AFTER_CRC, _FIRST, _LAST, _END = 17, 21, 27, 35, 43


def _changed_digits() -> NDArray[np.uint8]:
    """By a number below 16 and a byte: the byte, or the digit that it becomes."""
    table = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    for number in range(16):
        for value, digit in enumerate(_DIGITS):
            table[number, digit] = _DIGITS[value ^ number]
    return table


_CHANGED = _changed_digits()


class Ready:
    """A batch that is packed already, as the producer takes it."""

    def __init__(self, content: bytes, records: int) -> None:
        self._content = content
        self._records = records

    def size(self) -> int:
        return len(self._content)

    def record_count(self) -> int:
        return self._records

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def _build(self) -> bytes:
        return self._content


class _Batch(NamedTuple):
    partition: int
    content: NDArray[np.uint8]
    ids: NDArray[np.int64]
    records: int

    def again(self, number: int, timestamp: int) -> Ready:
        content = self.content.copy()
        for place in range(4):
            at = self.ids + _PLACE + place
            content[at] = _CHANGED[number >> 4 * place & 15][content[at]]
        buffer = bytearray(content)
        first, last = (int.from_bytes(buffer[at : at + 8]) for at in (_FIRST, _LAST))
        buffer[_FIRST:_LAST] = (timestamp - (last - first)).to_bytes(8)
        buffer[_LAST:_END] = timestamp.to_bytes(8)
        crc: int = calc_crc32c(memoryview(buffer)[_AFTER_CRC:])
        buffer[_CRC:_AFTER_CRC] = crc.to_bytes(4)
        return Ready(bytes(buffer), self.records)


class PackedLoad:
    """Sendings of batches, kept as bytes."""

    def __init__(self, sendings: Iterable[Sending]) -> None:
        self._sendings = [[_template(*each) for each in sending] for sending in sendings]

    def again(self, number: int, timestamp: int) -> Iterator[tuple[int, Sending]]:
        """The events of each sending, and its batches, in the ``number``-th of `ROUNDS`; records get
        the timestamp (ms) and those just before it."""
        if not 0 <= number < ROUNDS:
            raise ValueError(f"round {number}: there are {ROUNDS}")
        for sending in self._sendings:
            batches: Sending = [(one.partition, one.again(number, timestamp)) for one in sending]
            yield sum(one.records for one in sending), batches


def _template(partition: int, batch: Any) -> _Batch:
    records, content = batch.record_count(), bytes(batch._build())
    ids = np.fromiter((found.start() for found in _ID.finditer(content)), np.int64)
    return _Batch(partition, np.frombuffer(content, np.uint8), ids, records)
