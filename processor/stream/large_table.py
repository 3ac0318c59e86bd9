"""A table of values that may be larger than a record of the table's changelog."""

from collections.abc import Iterator, MutableMapping

import msgspec

from processor.domain.log.records import split_record

Table = MutableMapping[bytes, bytes]
#: A key is a sequence of numbers and names; the first is a number, 0 or more.
Key = tuple[int | str, ...]


class _Part(msgspec.Struct, array_like=True):
    """One of the ``count`` parts of a value that was written as of ``offset``."""

    offset: int
    count: int
    data: bytes


class _Slots:
    """The two slots of a large value: how many parts each has, and which one is written next."""

    def __init__(self) -> None:
        self.counts = [0, 0]
        self.next = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(tuple[int | str, ...]).decode
_decode_part = msgspec.msgpack.Decoder(_Part).decode


class LargeTable:
    """Stores a value that is too large for one record in parts, in two slots in turn.

    If a crash interrupts a write, or a former owner of the partition writes too, the value before it is
    still complete in the other slot.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._slots: dict[Key, _Slots] = {}

    def put(self, key: Key, offset: int, value: bytes) -> None:
        """Write a value as of ``offset``, which must not decrease."""
        parts = split_record(value)
        if len(parts) == 1:
            self.table[table_key(key)] = value
            return
        slots = self._slots.setdefault(key, _Slots())
        slot, slots.next = slots.next, 1 - slots.next
        for number, part in enumerate(parts):
            self.table[_part_key(key, slot, number)] = _encode(_Part(offset, len(parts), part))
        for number in range(len(parts), slots.counts[slot]):
            self.table.pop(_part_key(key, slot, number), None)
        slots.counts[slot] = len(parts)

    def remove(self, key: Key) -> None:
        """Remove a value and its parts."""
        self.table.pop(table_key(key), None)
        slots = self._slots.pop(key, None)
        for slot, count in enumerate(slots.counts if slots else ()):
            for number in range(count):
                self.table.pop(_part_key(key, slot, number), None)

    def read(self, first: int) -> dict[Key, list[bytes]]:
        """Read all complete values of the keys that begin with this number.

        A key can have several values; the caller must use the newest one.
        """
        found: dict[Key, list[bytes]] = {}
        parts: dict[tuple[Key, int], dict[int, _Part]] = {}
        for packed, value in self.table.items():
            key = _decode_key(packed)
            if key[0] == first:
                found.setdefault(key, []).append(value)
            elif key[0] == _marked(first):
                _, slot, number, *rest = key
                numbered = parts.setdefault(((first, *rest), int(slot)), {})
                numbered[int(number)] = _decode_part(value)
        newest: dict[Key, int] = {}
        for (key, slot), numbered in parts.items():
            slots = self._slots.setdefault(key, _Slots())
            slots.counts[slot] = max(numbered) + 1
            offset = numbered[0].offset if 0 in numbered else -1
            data = [part.data for part in _complete(numbered)]
            if data:
                found.setdefault(key, []).append(b"".join(data))
                if offset >= newest.get(key, offset):
                    newest[key], slots.next = offset, 1 - slot
        return found


def table_key(key: Key) -> bytes:
    """Return the table's key of a value that fits in one record."""
    return _encode(key)


def _part_key(key: Key, slot: int, number: int) -> bytes:
    first, *rest = key
    return _encode((_marked(int(first)), slot, number, *rest))


def _marked(first: int) -> int:
    """Return the first number of a part's key: below 0, where no other key begins."""
    return -1 - first


def _complete(numbered: dict[int, _Part]) -> Iterator[_Part]:
    """Yield the parts of a value in order, or none if one is missing or of another offset."""
    first = numbered.get(0)
    if first is None:
        return
    parts = [numbered.get(number) for number in range(first.count)]
    if all(part is not None and part.offset == first.offset for part in parts):
        yield from (part for part in parts if part is not None)
