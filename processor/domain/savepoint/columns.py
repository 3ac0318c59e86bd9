"""Requests as columns, which compress far better than requests one after another.

The columns of a block, each over all its requests in the order of their first times:

- ``ids``: the first byte of each packed id (`pack_id`), then the rest of each; `_LONG` stands for an
  id that is not packed, which follows as its length in LEB128 and its text;
- ``shapes``: the numbers of predictions and feedbacks, and the bytes of the registers, in LEB128;
- ``times``: for each request its first time less that of the request before it, then its other times
  less its first, all in units. A number is n * 2, or -n * 2 - 1 below 0, in 8 bytes; of all numbers the
  lowest bytes come first, then the next ones, and so on;
- ``registers``: the registers as they are packed (`RequestCodec`), by the positions of the tables.
"""

from array import array
from collections.abc import Iterator
from math import gcd

from processor.domain.join.request_store import RequestStore
from processor.domain.join.requests.codec import RequestParts
from processor.domain.join.requests.ids import pack_id, packed_length, unpack_id
from processor.domain.join.state import JoinState
from processor.domain.savepoint.contents import Requests

#: The most requests of a block, and the most that are held until their blocks are full.
_MAX_BLOCK, _MAX_HELD = 4096, 1 << 18
#: The first byte of an id that is too long to be packed.
_LONG = 255
_SECOND = 10**9
#: Times have 64 bits and a sign.
_HALF = 1 << 63

#: A request of a block: its id and its parts.
Entry = tuple[str, RequestParts]


def request_blocks(state: JoinState) -> Iterator[Requests]:
    """Yield all requests of a state, which must not change meanwhile."""
    groups: dict[tuple[int, bool], list[Entry]] = {}
    held = 0
    for (_, request_id), packed in RequestStore(state).packed():
        parts = RequestParts.of(packed)
        key = parts.hour, parts.restored
        group = groups.setdefault(key, [])
        group.append((request_id, parts))
        held += 1
        if len(group) < _MAX_BLOCK and held < _MAX_HELD:
            continue
        if len(group) < _MAX_BLOCK:
            key = max(groups, key=lambda each: len(groups[each]))
        held -= len(groups[key])
        yield pack_requests(*key, groups.pop(key))
    for key in sorted(groups):
        yield pack_requests(*key, groups[key])


def pack_requests(hour: int, restored: bool, entries: list[Entry]) -> Requests:
    """Pack requests of one hour as columns; sorts them."""
    entries.sort(key=lambda entry: (entry[1].times[0], entry[0]))
    forms, rests, shapes, registers = bytearray(), bytearray(), bytearray(), bytearray()
    times: list[int] = []
    before = 0
    for request_id, parts in entries:
        packed = pack_id(request_id)
        if packed is None:
            text = request_id.encode("utf-8", "surrogatepass")
            forms.append(_LONG)
            _add(rests, len(text))
            rests += text
        else:
            forms.append(packed[0])
            rests += packed[1:]
        shapes += parts.numbers
        _add(shapes, len(parts.registers))
        registers += parts.registers
        first = parts.times[0]
        times.append(first - before)
        times += [each - first for each in parts.times[1:]]
        before = first
    # Between the ends of all times a difference takes 65 bits: then it is stored modulo 2**64.
    wraps = max(map(abs, times)) >= _HALF
    unit = 1 if wraps else gcd(_SECOND, *times)
    numbers = array("Q", [_zigzag(_wrapped(each // unit)) for each in times]).tobytes()
    planes = b"".join(numbers[place::8] for place in range(8))
    return Requests(
        hour, restored, len(entries), unit, bytes(forms + rests), bytes(shapes), planes,
        bytes(registers),
    )  # fmt: skip


def unpack_requests(block: Requests) -> Iterator[Entry]:
    """Yield the requests of a block. `ValueError` if it is malformed."""
    try:
        yield from _unpack(block)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"a block of requests: {error}") from None


def _unpack(block: Requests) -> Iterator[Entry]:
    ids, shapes, registers, unit = block.ids, block.shapes, block.registers, block.unit
    numbers = bytearray(len(block.times))
    for place in range(8):
        count = len(block.times) // 8
        numbers[place::8] = block.times[place * count : (place + 1) * count]
    times = [_unzigzag(each) * unit for each in array("Q", bytes(numbers))]
    at, shape, time, register, before = block.count, 0, 0, 0, 0
    for number in range(block.count):
        request_id, at = _id(ids, ids[number], at)
        start = shape
        predictions, shape = _read(shapes, shape)
        feedbacks, shape = _read(shapes, shape)
        head = shapes[start:shape]
        length, shape = _read(shapes, shape)
        first, *others = times[time : time + predictions + feedbacks]
        time += predictions + feedbacks
        before = _wrapped(before + first)
        found = (before, *[_wrapped(before + each) for each in others])
        content = registers[register : register + length]
        register += length
        yield request_id, RequestParts(block.hour, head, found, content)
    ends = (at, shape, time, register)
    if ends != (len(ids), len(shapes), len(times), len(registers)):
        raise ValueError("a block of requests whose columns differ in length")


def _id(ids: bytes, form: int, at: int) -> tuple[str, int]:
    """The id at a position, and the next position."""
    if form == _LONG:
        length, at = _read(ids, at)
        return ids[at : at + length].decode("utf-8", "surrogatepass"), at + length
    length = packed_length(form) - 1
    return unpack_id(bytes((form,)) + ids[at : at + length]), at + length


def _wrapped(number: int) -> int:
    return (number + _HALF) % (2 * _HALF) - _HALF


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _unzigzag(number: int) -> int:
    return -(number // 2) - 1 if number & 1 else number // 2


def _add(to: bytearray, number: int) -> None:
    while number > 127:
        to.append(number & 127 | 128)
        number >>= 7
    to.append(number)


def _read(content: bytes, at: int) -> tuple[int, int]:
    """The LEB128 number at a position, and the next position."""
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
