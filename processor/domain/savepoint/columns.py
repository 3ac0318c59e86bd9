"""Requests as columns, which compress far better than requests one after another.

The columns of a block, each over all its requests in the order of their first times, as planes:

- the form of each id, which is the first byte of its packed form (`pack_id`); `LONG` stands for an id
  that is not packed, and is in ``long_ids``;
- the rest of each packed id;
- the position of each request's kind in ``kinds``: its numbers and registers (`RequestCodec`) without
  digests and values, which most requests have in common with others;
- the steps: the first time of each request less that of the request before, in units;
- the other times of each request less its first, in units; a number is n * 2, or -n * 2 - 1 below 0;
- the digests and values of each request that its kind has no room for, one after the other.
"""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import gcd

from processor.domain.join.requests.codec import RequestParts, counts, holes
from processor.domain.join.requests.ids import pack_id, packed_length, unpack_id
from processor.domain.savepoint.contents import Requests
from processor.domain.savepoint.planes import PlaneReader, number_planes, string_planes

#: The form of an id that is too long to be packed.
LONG = 255
_SECOND = 10**9
#: Times have 64 bits and a sign.
_HALF = 1 << 63

#: A request of a block: its id and its parts.
Entry = tuple[str, RequestParts]


def order(entry: Entry) -> tuple[int, bytes]:
    """Return the key by which the requests of a block are sorted."""
    request_id, parts = entry
    packed = pack_id(request_id)
    if packed is None:
        packed = bytes((LONG,)) + request_id.encode("utf-8", "surrogatepass")
    return parts.times[0], packed


def pack_requests(hour: int, restored: bool, entries: list[Entry]) -> Requests:
    """Pack requests of one hour, sorted by `order`, as columns."""
    forms, rests, long_ids = bytearray(), [], []
    kinds: dict[bytes, int] = {}
    positions, contents = [], []
    steps: list[int] = []
    others: list[int] = []
    before = start = entries[0][1].times[0]
    for request_id, parts in entries:
        packed = pack_id(request_id)
        if packed is None:
            forms.append(LONG)
            long_ids.append(request_id)
        else:
            forms.append(packed[0])
            rests.append(packed[1:])
        kind, content = _cut(parts.numbers + parts.registers)
        positions.append(kinds.setdefault(kind, len(kinds)))
        contents.append(content)
        first = parts.times[0]
        steps.append(first - before)
        others += [each - first for each in parts.times[1:]]
        before = first
    # Between the ends of all times a difference takes 65 bits: then it is stored modulo 2**64.
    wraps = max(map(abs, (*steps, *others))) >= _HALF
    unit = 1 if wraps else gcd(_SECOND, *steps, *others)
    columns = [
        number_planes(positions),
        number_planes([each // unit for each in steps]),
        number_planes([_zigzag(_wrapped(each // unit)) for each in others]),
    ]
    kind_width, step_width, other_width = map(len, columns)
    planes = [bytes(forms), *string_planes(rests)]
    for column in columns:
        planes += column
    planes += string_planes(contents)
    return Requests(
        hour, restored, len(entries), start, unit, (kind_width, step_width, other_width),
        list(kinds), long_ids, planes,
    )  # fmt: skip


def unpack_requests(block: Requests) -> Iterator[Entry]:
    """Yield the requests of a block. `ValueError` if it is malformed."""
    count, unit, planes = block.count, block.unit, PlaneReader(block.planes)
    kind_width, step_width, other_width = block.widths
    forms = planes.strings([1] * count)
    rests = planes.strings([packed_length(form[0]) - 1 for form in forms if form[0] != LONG])
    try:
        kinds = [_Kind(kind) for kind in block.kinds]
        of = [kinds[position] for position in planes.numbers(count, kind_width)]
    except IndexError:
        raise ValueError("a block of requests with a kind that it does not have") from None
    steps = planes.numbers(count, step_width)
    others = iter(planes.numbers(sum(kind.times - 1 for kind in of), other_width))
    contents = planes.strings([kind.length for kind in of])
    planes.end()
    short, long_ids, first = iter(rests), iter(block.long_ids), block.start
    for form, kind, step, content in zip(forms, of, steps, contents, strict=True):
        if form[0] == LONG:
            request_id = next(long_ids, "")
        else:
            request_id = unpack_id(form + next(short))
        first = _wrapped(first + step * unit)
        times = [_wrapped(first + _unzigzag(next(others)) * unit) for _ in range(kind.times - 1)]
        registers = kind.filled(content)
        yield request_id, RequestParts(block.hour, kind.numbers, (first, *times), registers)


def _cut(shape: bytes) -> tuple[bytes, bytes]:
    """Divide the numbers and registers of a request into its kind and the rest."""
    found = holes(shape, is_cut=False)
    if not found:
        return shape, b""
    ends = [0, *(at + length for at, length in found)]
    kept = [shape[end:at] for end, (at, _) in zip(ends, found, strict=False)]
    cut = [shape[at : at + length] for at, length in found]
    return b"".join((*kept, shape[ends[-1] :])), b"".join(cut)


class _Kind:
    """A kind: the ``numbers`` of its predictions and feedbacks as they are packed, how many ``times``
    it has, and the ``length`` of what was cut out of a request."""

    def __init__(self, kind: bytes) -> None:
        found = holes(kind, is_cut=True)
        end = next(at for at in range(len(kind)) if kind[at] < 128) + 1
        end = next(at for at in range(end, len(kind)) if kind[at] < 128) + 1
        self.numbers = kind[:end]
        self.times = sum(counts(bytes(4) + kind))
        self.length = sum(length for _, length in found)
        self._kind = kind
        self._holes = found

    def filled(self, content: bytes) -> bytes:
        """The registers of a request of this kind, with what was cut out of it."""
        if not self._holes:
            return self._kind[len(self.numbers) :]
        starts = [len(self.numbers), *(at for at, _ in self._holes), len(self._kind)]
        kept = [self._kind[start:end] for start, end in pairwise(starts)]
        ends = list(accumulate((length for _, length in self._holes), initial=0))
        cut = [content[start:end] for start, end in pairwise(ends)]
        return b"".join(part for pair in zip(kept, [*cut, b""], strict=True) for part in pair)


def _wrapped(number: int) -> int:
    return (number + _HALF) % (2 * _HALF) - _HALF


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _unzigzag(number: int) -> int:
    return -(number // 2) - 1 if number & 1 else number // 2
