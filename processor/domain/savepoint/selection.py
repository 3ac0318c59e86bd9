"""The requests of a state in blocks, in an order in which they compress well, with little memory."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Protocol
from zlib import crc32

from processor.domain.join.requests.codec import RequestParts
from processor.domain.join.requests.ids import pack_id
from processor.domain.join.requests.python_table import packed_requests
from processor.domain.join.state import JoinState
from processor.domain.native import native, use_native
from processor.domain.savepoint.columns import Entry, order, pack_requests
from processor.domain.savepoint.contents import Requests
from processor.domain.timestamps import MINUTE

#: The most requests of a block, and of those that are in memory beside the state.
MAX_BLOCK, _MAX_HELD = 1 << 16, 1 << 20
#: Buckets that are read at a time.
_SLICE = 1024


#: The slots of an hour, and that of its first minute.
_SLOTS, _FIRST = 128, 64


def slot(hour: int, time: int) -> int:
    """Where a request stands that was first seen in a log hour, by the minute of its first time (ns):
    a greater time has a greater slot or the same one.

    An hour has slots for the hour before and for its own minutes; what is outside has the nearest one.
    """
    minute = time // MINUTE - hour * 60 + _FIRST
    return hour * _SLOTS + min(max(minute, 0), _SLOTS - 1)


class Share(NamedTuple):
    """A share of the requests: those with slots from ``first`` to before ``end``, and one of so many
    ``parts`` of these."""

    first: int
    end: int
    part: int = 0
    parts: int = 1


class Sorter(Protocol):
    """Takes the requests of a share from all of a table, and sorts them."""

    def add(self, content: bytes) -> None:
        """Add those in the content of buckets (`RequestTable.copy`)."""
        ...

    def add_other(self, request_id: str, packed: bytes) -> None:
        """Add one that stands beside the buckets, if it is of the share."""
        ...

    def blocks(self, size: int) -> Iterator[Requests]:
        """Make blocks of at most so many requests."""
        ...


def request_blocks(
    state: JoinState, size: int = MAX_BLOCK, held: int = _MAX_HELD
) -> Iterator[Requests]:
    """Yield all requests of a state, which must not change meanwhile: minute by minute, so that a block
    has the requests of a short time, and at most ``held`` are in memory."""
    for share in _shares(_slots(state), held):
        sorter = _sorter(share)
        for content in _contents(state):
            sorter.add(content)
        for request_id, packed in _others(state):
            sorter.add_other(request_id, packed)
        yield from sorter.blocks(size)


def _shares(slots: Counter[int], held: int) -> Iterator[Share]:
    first, count = None, 0
    for number in sorted(slots):
        if first is not None and count + slots[number] > held:
            yield Share(first, number)
            first, count = None, 0
        if slots[number] > held:
            parts = -(-slots[number] // held)
            yield from (Share(number, number + 1, part, parts) for part in range(parts))
            continue
        first, count = number if first is None else first, count + slots[number]
    if first is not None:
        yield Share(first, max(slots) + 1)


def _contents(state: JoinState) -> Iterator[bytes]:
    table = state.requests
    table.begin_copy()
    while (copied := table.copy(_SLICE)) is not None:
        yield copied[0]


def _others(state: JoinState) -> Iterator[tuple[str, bytes]]:
    for _, others in state.requests.outline():
        yield from others


def _slots(state: JoinState) -> Counter[int]:
    """The number of requests by their slots."""
    slots = Counter[int]()
    for content in _contents(state):
        if use_native:
            slots.update(native.count_slots(content))
        else:
            slots.update(_slot(RequestParts.of(packed)) for _, packed in packed_requests(content))
    slots.update(_slot(RequestParts.of(packed)) for _, packed in _others(state))
    return slots


def _slot(parts: RequestParts) -> int:
    return slot(parts.hour, parts.times[0])


def _sorter(share: Share) -> Sorter:
    return NativeSorter(share) if use_native else PythonSorter(share)


class PythonSorter:
    """A `Sorter` without the native extension."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._groups: dict[tuple[int, bool], list[Entry]] = {}

    def add(self, content: bytes) -> None:
        """See `Sorter`."""
        for request_id, packed in packed_requests(content):
            self.add_other(request_id, packed)

    def add_other(self, request_id: str, packed: bytes) -> None:
        """See `Sorter`."""
        share, parts = self._share, RequestParts.of(packed)
        code = crc32(pack_id(request_id) or request_id.encode("utf-8", "surrogatepass"))
        if share.first <= _slot(parts) < share.end and code % share.parts == share.part:
            self._groups.setdefault((parts.hour, parts.restored), []).append((request_id, parts))

    def blocks(self, size: int) -> Iterator[Requests]:
        """See `Sorter`."""
        for (hour, restored), entries in sorted(self._groups.items(), key=lambda each: each[0]):
            entries.sort(key=order)
            for start in range(0, len(entries), size):
                yield pack_requests(hour, restored, entries[start : start + size])


class NativeSorter:
    """A `Sorter` of the native extension."""

    def __init__(self, share: Share) -> None:
        self._sorter = native.RequestSorter(*share)
        self.add, self.add_other = self._sorter.add, self._sorter.add_other

    def blocks(self, size: int) -> Iterator[Requests]:
        """See `Sorter`."""
        while (block := self._sorter.next_block(size)) is not None:
            yield Requests(*block)
