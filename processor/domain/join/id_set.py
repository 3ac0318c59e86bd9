"""A compact set of 64-bit request identities."""

import hashlib

import msgspec

#: The table grows when so many of eight slots are used.
_MAX_USED_OF_8 = 5


class IdSet(msgspec.Struct, array_like=True):
    """A set of numbers from 1 to 2**64 - 1 in an open-addressed table. A number takes 13 to 26 bytes,
    against 90 in a Python set.

    >>> seen = IdSet()
    >>> seen.add(identity("seldon", "iris", "r1")), seen.add(identity("seldon", "iris", "r1"))
    (True, False)
    >>> identity("seldon", "iris", "r2") in seen, len(seen)
    (False, 1)
    """

    count: int = 0
    table: bytearray = bytearray()

    def __len__(self) -> int:
        return self.count

    def __contains__(self, number: int) -> bool:
        return bool(self.count) and self._find(number)[1]

    def add(self, number: int) -> bool:
        """Add a number. Returns whether it is new."""
        if self.count * 8 >= len(self.table) // 8 * _MAX_USED_OF_8:
            self.grow()
        position, known = self._find(number)
        if not known:
            memoryview(self.table).cast("Q")[position] = number
            self.count += 1
        return not known

    def _find(self, number: int) -> tuple[int, bool]:
        """The slot of a number, or the free slot where it belongs, and whether the set has it."""
        slots = memoryview(self.table).cast("Q")
        mask = len(slots) - 1
        position = number & mask
        while current := slots[position]:
            if current == number:
                return position, True
            position = (position + 1) & mask
        return position, False

    def grow(self) -> None:
        """Double the table."""
        old = memoryview(self.table).cast("Q")
        self.table = bytearray(max(len(old) * 16, 1024))
        slots = memoryview(self.table).cast("Q")
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


def identity(namespace: str, deployment: str, request_id: str) -> int:
    """A request as a number from 1 to 2**64 - 1: the first 8 bytes of a BLAKE2b hash. Among 100 million
    requests any two share a number with a probability of 0.0003."""
    text = prefix(namespace, deployment) + request_id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1
