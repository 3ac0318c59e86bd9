"""Columns of a block as planes: all lowest bytes first, then all second ones, and so on.

A plane holds bytes of one sort, so an entropy coder takes for each little more than it says: none for a
byte that never changes, half a byte for the one of a UUID that holds its version.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

#: Planes of a column of byte strings; what is longer follows behind them, one string after the other.
MAX_PLANES = 64


def number_planes(numbers: Sequence[int]) -> list[bytes]:
    """The planes of numbers, as many as the greatest of them needs."""
    width = (max(numbers, default=0).bit_length() + 7) // 8
    packed = b"".join(number.to_bytes(width, "little") for number in numbers)
    return [packed[place::width] for place in range(width)]


def string_planes(strings: Sequence[bytes]) -> list[bytes]:
    """The planes of byte strings: each has a byte of all that are long enough."""
    longest = max(map(len, strings), default=0)
    planes = [
        bytes([each[place] for each in strings if len(each) > place])
        for place in range(min(longest, MAX_PLANES))
    ]
    if longest > MAX_PLANES:
        planes.append(b"".join(each[MAX_PLANES:] for each in strings))
    return planes


class PlaneReader:
    """Reads the columns of a block, one after another. `ValueError` if a plane has another length."""

    def __init__(self, planes: Sequence[bytes]) -> None:
        self._planes = iter(planes)

    def _plane(self, length: int) -> bytes:
        plane = next(self._planes, None)
        if plane is None or len(plane) != length:
            raise ValueError(
                "a block of requests with a plane that is missing or of another length"
            )
        return plane

    def numbers(self, count: int, width: int) -> list[int]:
        """A column of ``count`` numbers."""
        packed = bytearray(count * width)
        for place in range(width):
            packed[place::width] = self._plane(count)
        return [
            int.from_bytes(packed[number * width : (number + 1) * width], "little")
            for number in range(count)
        ]

    def strings(self, lengths: Sequence[int]) -> list[bytes]:
        """A column of byte strings of these lengths."""
        strings = [bytearray(length) for length in lengths]
        for place in range(min(max(lengths, default=0), MAX_PLANES)):
            longer = [each for each in strings if len(each) > place]
            for each, byte in zip(longer, self._plane(len(longer)), strict=True):
                each[place] = byte
        ends = list(accumulate((max(0, each - MAX_PLANES) for each in lengths), initial=0))
        if ends[-1]:
            rest = self._plane(ends[-1])
            for each, (start, end) in zip(strings, pairwise(ends), strict=True):
                each[MAX_PLANES:] = rest[start:end]
        return list(map(bytes, strings))

    def end(self) -> None:
        """`ValueError` if there are further planes."""
        if next(self._planes, None) is not None:
            raise ValueError("a block of requests with a plane too many")
