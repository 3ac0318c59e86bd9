"""The counts of one bucket or window, whose sums of statistics are packed while they do not change.

A model with probabilities has hundreds of sums in each bucket, and thousands of buckets: as a dict they
would take 30 times the memory, and each checkpoint would encode all of them again.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from processor.domain.log.deltas import (
    DeltaBatch,
    RawDeltaBatch,
    pack_cells,
    pack_sums,
    read_deltas,
    unpack_cells,
    unpack_sums,
)
from processor.domain.log.deltas import unpack as unpack_delta
from processor.domain.native import native, use_native
from processor.domain.statistics.counts import Counts, Totals
from processor.domain.statistics.sums import DELAYS as KINDS
from processor.domain.statistics.sums import Sums, add

#: The parts of counts: all but the sums, the sums without those of delays, and these.
LABELS, SUMS, DELAYS = 1, 2, 4
#: The parts that windows sum up, and all parts.
SUMMED = LABELS | SUMS
ALL = SUMMED | DELAYS

_encode = msgspec.msgpack.Encoder().encode
#: Labels, and sums that refer to them by position.
_decode = msgspec.msgpack.Decoder(tuple[list[str], list[int | str]]).decode


class BucketCounts(Counts):
    """Counts that are open, with their sums in a dict, or closed, with their sums as bytes.

    The class of the same name in the native extension has the same methods, and closes the cells too.
    Counts of both kinds can't be added to each other: see `BucketFactory`.
    """

    __slots__ = ("_delays", "_open", "_packed", "changed")

    _open: Sums | None
    #: The packed sums; None while they are not known.
    _packed: bytes | None
    #: The sums of delays, packed or not.
    _delays: Sums | bytes
    changed: bool
    """Whether the counts changed since `close_unchanged`."""

    @property
    def sums(self) -> Sums:
        """The sums; those of closed counts are a copy, which must not be changed."""
        return unpack(self._packed or b"") if self._open is None else self._open

    @sums.setter
    def sums(self, sums: Sums) -> None:
        self._delays = {key: n for key, n in sums.items() if key[0] in KINDS}
        if self._delays:
            sums = {key: n for key, n in sums.items() if key[0] not in KINDS}
        self._open, self._packed, self.changed = sums, None, True

    @property
    def delays(self) -> Sums:
        """The sums of delays; they must not be changed."""
        return unpack(self._delays) if isinstance(self._delays, bytes) else self._delays

    def delay_sum(self, kind: int, label: str) -> int:
        """Return the sum of delays of a kind and a label in bin 0."""
        return self.delays.get((kind, label, 0), 0)

    @property
    def has_sums(self) -> bool:
        """Whether there are sums."""
        return bool(self._packed if self._open is None else self._open)

    def change(self, other: Counts, sign: int = 1, part: int = ALL) -> None:
        """Add a part of other counts, or with ``sign`` -1 subtract it."""
        self.changed = True
        if part & LABELS:
            self.add_labels(other, sign)
        if part & SUMS and other.has_sums:
            if self._open is None:
                self._open = self.sums
            self._packed = None
            self.add_sums(other, sign)
        if part & DELAYS and isinstance(other, BucketCounts) and (delays := other.delays):
            if isinstance(self._delays, bytes):
                self._delays = self.delays
            for (kind, label, bucket), n in delays.items():
                add(self._delays, kind, sign * n, label, bucket)

    def change_by(self, counts: Counts) -> None:
        """Add plain counts."""
        self.change(BucketCounts(*counts.totals(), counts.cells, counts.sums))

    def reset(self, part: int = ALL) -> None:
        """Forget a part of the counts."""
        self.changed = True
        if part & LABELS:
            self.predictions = self.judged = self.correct = self.unknown_actual = 0
            self.rewards = self.reward_sum = self.disagreements = 0
            self.cells = {}
        if part & SUMS:
            self._open, self._packed = {}, None
        if part & DELAYS:
            self._delays = {}

    def take_sums(self) -> "BucketCounts | None":
        """Take the sums out. Returns counts with these alone, or None if there are none."""
        if not self.has_sums:
            return None
        taken = BucketCounts(sums=self.sums)
        self.reset(SUMS)
        return taken

    def load(
        self, totals: Totals, cells: list[int], labels: list[str], sums: bytes, delays: bytes
    ) -> None:
        """Set all from a checkpoint; the counts are closed. The arguments are those of `pack`."""
        Counts.__init__(self, *totals, unpack_cells(cells, labels))
        self._delays = delays
        if sums:
            self._open, self._packed = None, sums
        self.changed = False

    def packed(self) -> bytes:
        """Return the packed sums, empty if there are none."""
        if self._packed is None:
            self._packed = _pack(self._open or {})
        return self._packed

    def pack(self, labels: dict[str, int]) -> tuple[Totals, list[int], bytes, bytes] | None:
        """Return the totals, the cells by `pack_cells`, the packed sums and those of delays, or None if
        all are zero."""
        if self.is_empty():
            return None
        delays = self._delays if isinstance(self._delays, bytes) else _pack(self._delays)
        return self.totals(), pack_cells(self.cells, labels), self.packed(), delays

    def close_unchanged(self) -> bool:
        """Close the counts if they did not change since the last call. Returns whether they are
        closed."""
        if self.changed:
            self.changed = False
            return False
        if self._open:
            self.packed()
            self._open = None
        if not isinstance(self._delays, bytes):
            self._delays = _pack(self._delays)
        return True

    def is_empty(self) -> bool:
        """Whether all counts are zero."""
        return not (self.cells or self.has_sums or self._delays or any(self.totals()))


#: Changes of a model's counts by [basis][minute].
Changes = tuple[dict[int, BucketCounts], dict[int, BucketCounts]]


class Fresh:
    """The changes of a model that are not in its buckets yet.

    The class of the same name in the native extension has the same methods.
    """

    def __init__(self) -> None:
        self.changes: Changes = ({}, {})
        """The changes; those of native code are a copy."""

    def __bool__(self) -> bool:
        return bool(self.changes[0] or self.changes[1])


class BucketFactory:
    """Makes empty counts; those of one factory can be added to each other."""

    def __init__(self) -> None:
        self.labels = native.Labels() if use_native else None
        """The labels of native counts; None if the counts are those of Python."""
        self._reader = None if self.labels is None else native.DeltaReader(self.labels)
        self.new: Callable[[], BucketCounts] = (
            BucketCounts if self.labels is None else partial(native.BucketCounts, self.labels)
        )
        self.add_record: Callable[..., bool] = (
            _add_no_record if self._reader is None else self._reader.add_record
        )
        """Adds the batch of an encoded record as `add_deltas` does, if it has the version and the log
        id, and is the next one of its source after ``last``, which has the newest offset of each source.
        Returns whether it was, always False without native code; then nothing was done."""

    def new_fresh(self) -> Fresh:
        """Make the changes of a model, of which there are none yet."""
        return Fresh() if self.labels is None else native.Fresh(self.labels)

    def add_deltas(
        self, batch: DeltaBatch | RawDeltaBatch, find: Callable[[Sequence[str]], Fresh]
    ) -> None:
        """Add the deltas of a batch to the changes of its models, which ``find`` returns by the parts of
        a model's key. It must return the same ones for a key each time."""
        if self._reader is not None:
            fields: tuple[object, object, object]
            if isinstance(batch, DeltaBatch):
                fields = (batch.models, batch.labels, batch.deltas)
                models, labels, deltas = map(_encode, fields)
            else:
                fields = (batch.raw_models, batch.raw_labels, batch.deltas)
                models, labels, deltas = map(bytes, fields)
            self._reader.add(models, labels, deltas, find)
            return
        changes = [find(model).changes for model in batch.models]
        texts = batch.labels
        for delta in read_deltas(batch):
            by_minute = changes[delta.model][delta.basis]
            total = by_minute.get(delta.minute)
            if total is None:
                total = by_minute[delta.minute] = self.new()
            total.change_by(unpack_delta(delta, texts))


def _add_no_record(
    record: bytes,
    version: int,
    log_id: str,
    last: dict[int, int],
    find: Callable[[Sequence[str]], Fresh],
) -> bool:
    return False


def _pack(sums: Sums) -> bytes:
    labels: dict[str, int] = {}
    flat = pack_sums(sums, labels)
    return _encode((list(labels), flat)) if flat else b""


def unpack(packed: bytes) -> Sums:
    """Return the sums of `BucketCounts.packed`."""
    if not packed:
        return {}
    labels, flat = _decode(packed)
    return unpack_sums(flat, labels)
