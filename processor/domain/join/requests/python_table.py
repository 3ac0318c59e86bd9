"""A `RequestTable` in Python, for an installation without the native extension.

A table is a list of buckets, each a run of records one after another: length, packed id, packed request.
Buckets split one at a time as the table grows (linear hashing), so no insert ever has to move all
records. Requests that a bucket has no room for stand beside them.
"""

from collections.abc import Iterator
from struct import Struct as Layout
from struct import error as struct_error
from zlib import crc32

from processor.domain.join.requests.codec import counts, first_seen_hour, renumber
from processor.domain.join.requests.ids import pack_id, packed_length, unpack_id

#: Average records of a bucket when the table splits the next one.
RECORDS_PER_BUCKET = 16
#: The largest record and the largest bucket, in bytes. Only ids that somebody chose, or large messages,
#: can fill a bucket.
MAX_RECORD, MAX_BUCKET = 1024, 1 << 15
#: Approximate bytes of memory of a bucket, and of a request beside the buckets.
_BUCKET_BYTES, _OTHER_BYTES = 96, 200

_LENGTH = Layout("<H")

#: A table without the content of its buckets: how many it has, and the requests beside them by id.
TableOutline = tuple[int, list[tuple[str, bytes]]]
#: A deployment and the number of a bucket of its table.
_Bucket = tuple[int, int]


class _Table:
    """The requests of one deployment."""

    def __init__(self, buckets: int = 1) -> None:
        self.buckets = [bytearray() for _ in range(buckets)]
        self.count = 0
        """The records in the buckets."""
        self.others: dict[str, bytes] = {}

    def number(self, packed_id: bytes) -> int:
        """The bucket of a packed id."""
        buckets = len(self.buckets)
        mask = (1 << buckets.bit_length() - 1) - 1
        code = crc32(packed_id)
        number = code & mask
        return code & (mask << 1 | 1) if number < buckets - mask - 1 else number


def _records(bucket: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """The start, the start of the packed request, and the end of each record."""
    at = 0
    while at < len(bucket):
        end = at + _LENGTH.unpack_from(bucket, at)[0]
        yield at, at + 2 + packed_length(bucket[at + 2]), end
        at = end


def packed_requests(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The id and the packed request of each record in the content of buckets."""
    for start, request, end in _records(content):
        yield unpack_id(content[start + _LENGTH.size : request]), content[request:end]


def _is_complete(bucket: bytearray) -> bool:
    """Whether a bucket consists of records with packed requests."""
    end = 0
    try:
        for start, request, stop in _records(bucket):
            if not start + 3 <= request < stop:
                return False
            content = bytes(bucket[request:stop])
            if renumber(content, int, int, int) != content:
                return False
            end = stop
    except (IndexError, ValueError, struct_error):
        return False
    return end == len(bucket)


def _find(bucket: bytearray, packed_id: bytes) -> int:
    """The start of the record of an id, -1 if there is none."""
    found, start = bucket.find(packed_id), 0
    while found >= 0:
        # The bytes may stand across other fields too.
        while start < found - 2:
            start += bucket[start] | bucket[start + 1] << 8
        if start == found - 2:
            return start
        found = bucket.find(packed_id, start + 2)
    return -1


def _length(bucket: bytearray, start: int) -> int:
    return bucket[start] | bucket[start + 1] << 8


class PythonRequestTable:
    """A `RequestTable` in Python, without the native extension."""

    def __init__(self, outline: list[TableOutline]) -> None:
        self._tables: list[_Table] = []
        self._bytes = 0
        self._filled: _Bucket = 0, 0
        for buckets, others in outline:
            self._tables.append(_Table(buckets))
            self._tables[-1].others = dict(others)
            self._bytes += sum(len(request) for _, request in others)
        self._latest_hour = 0
        """The latest hour in which a request was first seen."""
        self._stops: list[int] | None = None
        """While a copy is made: how many buckets of each table belong to it."""
        self._copied: _Bucket = 0, 0
        """The next bucket to be copied."""
        self._preserved: dict[_Bucket, bytes] = {}
        """Buckets as they were before a change, still to be copied."""

    def __len__(self) -> int:
        return sum(table.count + len(table.others) for table in self._tables)

    def add_deployment(self) -> None:
        """Add an empty table for the next deployment."""
        self._tables.append(_Table())

    def get(self, deployment: int, request_id: str) -> bytes | None:
        """A packed request, None if there is none."""
        table, packed_id = self._tables[deployment], pack_id(request_id)
        if packed_id is not None:
            bucket = table.buckets[table.number(packed_id)]
            start = _find(bucket, packed_id)
            if start >= 0:
                end = start + _length(bucket, start)
                return bytes(bucket[start + 2 + len(packed_id) : end])
        return table.others.get(request_id)

    def put(self, deployment: int, request_id: str, request: bytes) -> None:
        """Add or replace a packed request."""
        table, packed_id = self._tables[deployment], pack_id(request_id)
        if packed_id is None:
            self._put_other(table, request_id, request)
            return
        number = table.number(packed_id)
        bucket = table.buckets[number]
        start = _find(bucket, packed_id)
        old = _length(bucket, start) if start >= 0 else 0
        length = 2 + len(packed_id) + len(request)
        fits = length - 2 < MAX_RECORD and len(bucket) - old + length <= MAX_BUCKET
        if not fits and start < 0:
            self._put_other(table, request_id, request)
            return
        self._preserve(deployment, number)
        record = b"".join((_LENGTH.pack(length), packed_id, request)) if fits else b""
        if start < 0:
            self._bytes -= len(table.others.pop(request_id, b"")) if table.others else 0
            table.count += 1
            start = self._place(bucket, first_seen_hour(request))
        bucket[start : start + old] = record
        self._bytes += len(record) - old
        if not fits:
            table.count -= 1
            self._put_other(table, request_id, request)
        elif table.count > RECORDS_PER_BUCKET * len(table.buckets):
            self._grow(deployment)

    def _put_other(self, table: _Table, request_id: str, request: bytes) -> None:
        """Put a request beside the buckets."""
        self._bytes += len(request) - len(table.others.get(request_id, b""))
        table.others[request_id] = request

    def _place(self, bucket: bytearray, hour: int) -> int:
        """Where a new record belongs: the records of a bucket are in the order of their hours."""
        if hour >= self._latest_hour:
            self._latest_hour = hour
            return len(bucket)
        later = (start for start, at, _ in _records(bucket) if first_seen_hour(bucket, at) > hour)
        return next(later, len(bucket))

    def remove(self, deployment: int, request_id: str) -> None:
        """Remove a request that is there."""
        table, packed_id = self._tables[deployment], pack_id(request_id)
        if request_id in table.others:
            self._bytes -= len(table.others.pop(request_id))
            return
        assert packed_id is not None
        number = table.number(packed_id)
        bucket = table.buckets[number]
        start = _find(bucket, packed_id)
        assert start >= 0
        self._preserve(deployment, number)
        length = _length(bucket, start)
        del bucket[start : start + length]
        table.count -= 1
        self._bytes -= length

    def _grow(self, deployment: int) -> None:
        """Split the next bucket: some of its records move to a new one."""
        table = self._tables[deployment]
        bit = 1 << len(table.buckets).bit_length() - 1
        split = len(table.buckets) - bit
        self._preserve(deployment, split)
        old, staying, moving = table.buckets[split], bytearray(), bytearray()
        for start, request, end in _records(old):
            target = moving if crc32(old[start + 2 : request]) & bit else staying
            target += old[start:end]
        table.buckets[split] = staying
        table.buckets.append(moving)

    def parts(self, deployment: int) -> int:
        """The number of parts in which a deployment's requests can be read."""
        return 1 + len(self._tables[deployment].buckets)

    def part(self, deployment: int, number: int) -> list[tuple[str, bytes]]:
        """The requests of one part. A request that is added, changed or removed between two parts may
        come twice or not at all."""
        table = self._tables[deployment]
        if not number:
            return sorted(table.others.items())
        bucket = bytes(table.buckets[number - 1])
        return [
            (unpack_id(bucket[start + 2 : request]), bucket[request:end])
            for start, request, end in _records(bucket)
        ]

    def _all(self) -> Iterator[tuple[int, str, bytes]]:
        for deployment in range(len(self._tables)):
            for number in range(self.parts(deployment)):
                for request_id, request in self.part(deployment, number):
                    yield deployment, request_id, request

    def unmatched(self) -> list[tuple[int, str]]:
        """Every request that has feedback and no prediction."""
        return [(number, name) for number, name, one in self._all() if not counts(one)[0]]

    def oldest(self) -> int | None:
        """The log hour in which the oldest request was first seen, None if there is none."""
        hours = [
            first_seen_hour(bucket, 2 + packed_length(bucket[2]))
            for table in self._tables
            for bucket in table.buckets
            if bucket
        ]
        hours += [first_seen_hour(one) for table in self._tables for one in table.others.values()]
        return min(hours, default=None)

    def expire(self, before: int) -> tuple[int, int, int]:
        """Drop requests first seen before a log hour. Returns how many, how many of them had only
        predictions, and how many only feedback."""
        dropped: list[tuple[int, int]] = []
        for deployment, table in enumerate(self._tables):
            for number, bucket in enumerate(table.buckets):
                old, end = [], 0
                for _, at, stop in _records(bucket):
                    if first_seen_hour(bucket, at) >= before:
                        break
                    old.append(counts(bucket, at))
                    end = stop
                if old:
                    self._preserve(deployment, number)
                    del bucket[:end]
                    table.count -= len(old)
                    self._bytes -= end
                    dropped += old
            for name, one in list(table.others.items()):
                if first_seen_hour(one) < before:
                    dropped.append(counts(one))
                    self._bytes -= len(table.others.pop(name))
        waiting = sum(not feedbacks for _, feedbacks in dropped)
        return len(dropped), waiting, sum(not predictions for predictions, _ in dropped)

    def approx_bytes(self) -> int:
        """About how many bytes of memory the requests take."""
        tables = self._tables
        buckets = sum(len(table.buckets) for table in tables)
        others = sum(len(table.others) for table in tables)
        return self._bytes + buckets * _BUCKET_BYTES + others * _OTHER_BYTES

    def used(self) -> tuple[set[int], set[int], set[int], set[int]]:
        """The positions of models, answers, truths and deployments that requests refer to."""
        models, answers, truths, deployments = set[int](), set[int](), set[int](), set[int]()

        def note(positions: set[int], position: int) -> int:
            positions.add(position)
            return position

        for deployment, _, request in self._all():
            deployments.add(deployment)
            renumber(
                request,
                lambda position: note(models, position),
                lambda position: note(answers, position),
                lambda position: note(truths, position),
            )
        return models, answers, truths, deployments

    def renumber(
        self,
        models: dict[int, int],
        answers: dict[int, int],
        truths: dict[int, int],
        deployments: dict[int, int],
    ) -> None:
        """Replace all positions by new ones, and drop the tables of other deployments."""
        for deployment, name, request in list(self._all()):
            moved = renumber(request, models.__getitem__, answers.__getitem__, truths.__getitem__)
            if moved != request:
                self.put(deployment, name, moved)
        self._tables = [self._tables[number] for number in sorted(deployments)]

    def outline(self) -> list[TableOutline]:
        """The tables without the content of their buckets."""
        return [(len(one.buckets), sorted(one.others.items())) for one in self._tables]

    def fill(self, content: bytes, sizes: list[int]) -> None:
        """Fill the next buckets of an outline. `ValueError` if the content is malformed."""
        at = 0
        for size in sizes:
            deployment, number = self._next(self._filled)
            self._filled = deployment, number + 1
            table, bucket = self._tables[deployment], bytearray(content[at : at + size])
            at += size
            if len(bucket) != size or not _is_complete(bucket):
                raise ValueError(f"a malformed bucket of {size} bytes")
            for _, request, _ in _records(bucket):
                table.count += 1
                self._latest_hour = max(self._latest_hour, first_seen_hour(bucket, request))
            table.buckets[number] = bucket
            self._bytes += size

    def _next(self, position: _Bucket) -> _Bucket:
        """The first position from this one on at which there is a bucket."""
        deployment, number = position
        while number >= len(self._tables[deployment].buckets):
            deployment, number = deployment + 1, 0
        return deployment, number

    def begin_copy(self) -> None:
        """Begin to copy the buckets as they are now; an earlier copy becomes void."""
        self.end_copy()
        self._stops = [len(table.buckets) for table in self._tables]
        self._copied = 0, 0

    def copy(self, count: int) -> tuple[bytes, list[int]] | None:
        """Copy up to ``count`` further buckets of one table, as they were at the beginning: their
        content and their sizes. None after the last one."""
        stops, (deployment, start) = self._stops or [], self._copied
        while deployment < len(stops) and start >= stops[deployment]:
            deployment, start = deployment + 1, 0
        if deployment >= len(stops):
            self.end_copy()
            return None
        end = min(start + count, stops[deployment])
        buckets = self._tables[deployment].buckets
        copies = [
            self._preserved.pop((deployment, number), buckets[number])
            for number in range(start, end)
        ]
        self._copied = deployment, end
        return b"".join(copies), list(map(len, copies))

    def end_copy(self) -> None:
        """Give up a copy: buckets that change need not be kept any more."""
        self._stops = None
        self._preserved.clear()

    def copy_progress(self) -> tuple[int, int] | None:
        """How many buckets were copied of the table whose turn it is, and how many buckets were kept
        because they changed; None if no copy is made."""
        return None if self._stops is None else (self._copied[1], len(self._preserved))

    def _preserve(self, deployment: int, number: int) -> None:
        """Keep a bucket that is about to change, if it is still to be copied."""
        stops, bucket = self._stops, (deployment, number)
        if (
            stops is not None
            and deployment < len(stops)
            and number < stops[deployment]
            and bucket >= self._copied
        ):
            self._preserved.setdefault(bucket, bytes(self._tables[deployment].buckets[number]))
