"""A table whose values may be larger than a record of its changelog."""

from collections.abc import Iterator, MutableMapping

import msgspec

from processor.domain.log.records import split_record

Table = MutableMapping[bytes, bytes]
#: Numbers and names; the first is a number, 0 or more.
Key = tuple[int | str, ...]


class _Part(msgspec.Struct, array_like=True):
    """A part of a value as of ``offset`` that has ``count`` of them."""

    offset: int
    count: int
    data: bytes


class _Places:
    """Where the parts of a value stand: how many at each of two places, and which is the next."""

    def __init__(self) -> None:
        self.counts = [0, 0]
        self.next = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(tuple[int | str, ...]).decode
_decode_part = msgspec.msgpack.Decoder(_Part).decode


class LargeTable:
    """Values that are too large stand in parts, at two places in turn: one that a crash has cut
    short, or a former owner has written into, leaves the one before it whole at the other place."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._places: dict[Key, _Places] = {}

    def put(self, key: Key, offset: int, value: bytes) -> None:
        """Write a value as of ``offset``, which only goes up."""
        parts = split_record(value)
        if len(parts) == 1:
            self.table[table_key(key)] = value
            return
        positions = self._places.setdefault(key, _Places())
        place, positions.next = positions.next, 1 - positions.next
        for number, part in enumerate(parts):
            self.table[_part_key(key, place, number)] = _encode(_Part(offset, len(parts), part))
        for number in range(len(parts), positions.counts[place]):
            self.table.pop(_part_key(key, place, number), None)
        positions.counts[place] = len(parts)

    def remove(self, key: Key) -> None:
        """Remove a value, however it is kept."""
        self.table.pop(table_key(key), None)
        positions = self._places.pop(key, None)
        for place, count in enumerate(positions.counts if positions else ()):
            for number in range(count):
                self.table.pop(_part_key(key, place, number), None)

    def read(self, first: int) -> dict[Key, list[bytes]]:
        """Every whole value of the keys that begin with this number; of one key there can be several,
        and the newest counts."""
        found: dict[Key, list[bytes]] = {}
        parts: dict[tuple[Key, int], dict[int, _Part]] = {}
        for packed, value in self.table.items():
            key = _decode_key(packed)
            if key[0] == first:
                found.setdefault(key, []).append(value)
            elif key[0] == _marked(first):
                _, place, number, *rest = key
                parts.setdefault(((first, *rest), int(place)), {})[int(number)] = _decode_part(
                    value
                )
        newest: dict[Key, int] = {}
        for (key, place), numbered in parts.items():
            positions = self._places.setdefault(key, _Places())
            positions.counts[place] = max(numbered) + 1
            offset = numbered[0].offset if 0 in numbered else -1
            data = [part.data for part in _whole(numbered)]
            if data:
                found.setdefault(key, []).append(b"".join(data))
                if offset >= newest.get(key, offset):
                    newest[key], positions.next = offset, 1 - place
        return found


def table_key(key: Key) -> bytes:
    """What a value in one piece stands under."""
    return _encode(key)


def _part_key(key: Key, place: int, number: int) -> bytes:
    first, *rest = key
    return _encode((_marked(int(first)), place, number, *rest))


def _marked(first: int) -> int:
    """Below 0, where no other key begins."""
    return -1 - first


def _whole(numbered: dict[int, _Part]) -> Iterator[_Part]:
    """The parts of a value in their order, none if one is missing or of another time."""
    first = numbered.get(0)
    if first is None:
        return
    parts = [numbered.get(number) for number in range(first.count)]
    if all(part is not None and part.offset == first.offset for part in parts):
        yield from (part for part in parts if part is not None)
