"""Deltas: changes of counts, as the join sends them to the tally."""

from collections.abc import Mapping
from zlib import crc32

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts, Totals


class Delta(msgspec.Struct, array_like=True, gc=False):
    """The change of one model's counts in one minute. ``basis`` is a position in `BASES`, ``minute``
    is minutes since 1970, ``totals`` are those of `Counts`, and ``cells`` is a flat list: actual,
    predicted, n, actual, ... Models and labels are positions in the batch's dictionaries."""

    model: int
    basis: int
    minute: int
    totals: Totals
    cells: list[int]


class DeltaBatch(msgspec.Struct, array_like=True, tag="d"):
    """All deltas that one observation record sends to one partition of the deltas topic.

    ``source`` and ``offset`` are the partition and offset of that record. ``prev`` is the offset of
    the previous record of the same source that sent a batch to this partition, -1 if there is none:
    so a lost batch is noticed.
    """

    version: int
    log_id: str
    source: int
    offset: int
    prev: int
    models: list[ModelKey]
    labels: list[str]
    deltas: list[Delta]


class PackedDeltas(msgspec.Struct, array_like=True, tag="d"):
    """A `DeltaBatch` whose dictionaries and deltas are encoded already, field by field."""

    version: int
    log_id: str
    source: int
    offset: int
    prev: int
    models: msgspec.Raw
    labels: msgspec.Raw
    deltas: msgspec.Raw


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 modulo ``partitions``, so the same in every release."""
    return crc32(key.encode("utf-8", "surrogatepass")) % partitions


class Changes:
    """Sums changes until they are packed; what cancels out is left out."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int, int], Counts] = {}

    def add(self, model: int, basis: int, minute: int, counts: Counts, times: int) -> None:
        """Count ``counts`` ``times`` times (below 0: take back) in a minute of a model."""
        key = (model, basis, minute)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = Counts()
        sums.add(counts, times)

    def batches(
        self,
        models: list[ModelKey],
        targets: list[int],
        head: tuple[int, str, int, int],
    ) -> dict[int, DeltaBatch]:
        """A batch for every partition that has changes; ``prev`` is still to be set. ``targets`` are
        the partitions of the models, ``head`` is version, epoch, source and offset."""
        packers: dict[int, _Packer] = {}
        for (model, basis, minute), counts in self._sums.items():
            if counts.is_empty():
                continue
            packer = packers.get(targets[model])
            if packer is None:
                packer = packers[targets[model]] = _Packer()
            packer.add(models[model], basis, minute, counts)
        return {
            partition: DeltaBatch(
                *head, -1, list(packer.models), list(packer.labels), packer.deltas
            )
            for partition, packer in packers.items()
        }


class _Packer:
    __slots__ = ("deltas", "labels", "models")

    def __init__(self) -> None:
        self.models: dict[ModelKey, int] = {}
        self.labels: dict[str, int] = {}
        self.deltas: list[Delta] = []

    def add(self, model: ModelKey, basis: int, minute: int, counts: Counts) -> None:
        cells = pack_cells(counts.cells, self.labels)
        position = self.models.setdefault(model, len(self.models))
        self.deltas.append(Delta(position, basis, minute, counts.totals(), cells))


def unpack(delta: Delta, labels: list[str]) -> Counts:
    """The counts of a delta."""
    return Counts(*delta.totals, cells=unpack_cells(delta.cells, labels))


def pack_cells(cells: Mapping[Cell, int], labels: dict[str, int]) -> list[int]:
    """Cells as a flat list: actual, predicted, n, actual, ... Labels are positions in ``labels``, to
    which new ones are added."""
    flat: list[int] = []
    for (actual, predicted), n in cells.items():
        flat += (
            labels.setdefault(actual, len(labels)),
            labels.setdefault(predicted, len(labels)),
            n,
        )
    return flat


def unpack_cells(flat: list[int], labels: list[str]) -> dict[Cell, int]:
    """The cells of a flat list by `pack_cells`."""
    return {Cell(labels[flat[i]], labels[flat[i + 1]]): flat[i + 2] for i in range(0, len(flat), 3)}
