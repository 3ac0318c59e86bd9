"""A compact set of 64-bit request identities."""

import hashlib
from typing import Protocol, runtime_checkable

from processor.domain.native import native, use_native

#: The table grows when so many of eight slots are used.
_MAX_USED_OF_8 = 5


@runtime_checkable
class IdSet(Protocol):
    """A set of numbers from 1 to 2**64 - 1 in an open-addressed table. A number takes 13 to 26 bytes,
    against 90 in a Python set.

    >>> seen = new_id_set()
    >>> seen.add(identity("seldon", "iris", "r1")), seen.add(identity("seldon", "iris", "r1"))
    (True, False)
    >>> identity("seldon", "iris", "r2") in seen, len(seen)
    (False, 1)
    """

    def __len__(self) -> int: ...
    def __contains__(self, number: int) -> bool: ...
    def add(self, number: int) -> bool:
        """Add a number. Returns whether it is new."""
        ...

    def content(self) -> bytes:
        """The slots of the table, 8 bytes each, for `new_id_set`."""
        ...


def new_id_set(content: bytes = b"") -> IdSet:
    """An empty set, or one with the content of another; native if possible. `ValueError` if the content
    is malformed."""
    return native.IdSet(content) if use_native else PythonIdSet(content)


class PythonIdSet:
    """An `IdSet` in Python, for an installation without the native extension."""

    def __init__(self, content: bytes) -> None:
        self._table = bytearray(content)
        if len(content) % 8 or (len(content) // 8).bit_count() > 1:
            raise ValueError(f"a set of {len(content)} bytes")
        self._count = sum(map(bool, memoryview(self._table).cast("Q")))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return bool(self._count) and self._find(number)[1]

    def add(self, number: int) -> bool:
        """Add a number. Returns whether it is new."""
        if self._count * 8 >= len(self._table) // 8 * _MAX_USED_OF_8:
            self._grow()
        position, known = self._find(number)
        if not known:
            memoryview(self._table).cast("Q")[position] = number
            self._count += 1
        return not known

    def content(self) -> bytes:
        """The slots of the table, 8 bytes each, for `new_id_set`."""
        return bytes(self._table)

    def _find(self, number: int) -> tuple[int, bool]:
        """The slot of a number, or the free slot where it belongs, and whether the set has it."""
        slots = memoryview(self._table).cast("Q")
        mask = len(slots) - 1
        position = number & mask
        while current := slots[position]:
            if current == number:
                return position, True
            position = (position + 1) & mask
        return position, False

    def _grow(self) -> None:
        """Double the table."""
        old = memoryview(self._table).cast("Q")
        self._table = bytearray(max(len(old) * 16, 1024))
        slots = memoryview(self._table).cast("Q")
        mask = len(slots) - 1
        for number in old:
            if number:
                position = number & mask
                while slots[position]:
                    position = (position + 1) & mask
                slots[position] = number


def prefix(namespace: str, deployment: str) -> bytes:
    """The beginning of the text that `identity` hashes; the request id follows."""
    return f"{namespace}\0{deployment}\0".encode("utf-8", "surrogatepass")


def request_digest(namespace: str, deployment: str, request_id: str) -> int:
    """The `identity` of a request as a signed integer, as SQLite has them."""
    return identity(namespace, deployment, request_id) - (1 << 63)


def identity(namespace: str, deployment: str, request_id: str) -> int:
    """A request as a number from 1 to 2**64 - 1: the first 8 bytes of a BLAKE2b hash. Among 100 million
    requests any two share a number with a probability of 0.0003."""
    text = prefix(namespace, deployment) + request_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1
