"""Deltas: changes of counts, as the join sends them to the tally."""

from collections.abc import Mapping
from zlib import crc32

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts, Totals
from processor.domain.statistics.sums import Sums


class Delta(msgspec.Struct, array_like=True, gc=False):
    """The change of one model's counts in one minute. ``basis`` is a position in `BASES`, ``minute``
    is minutes since 1970, ``totals`` are those of `Counts`, and ``cells`` is a flat list: actual,
    predicted, n, actual, ..., and ``sums`` are by `pack_sums`. Models and labels are positions in the
    batch's dictionaries."""

    model: int
    basis: int
    minute: int
    totals: Totals
    cells: list[int]
    sums: list[int | str] = []


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


class RawDeltaBatch(msgspec.Struct, array_like=True, tag="d"):
    """A `DeltaBatch` whose dictionaries and deltas are not decoded yet; see `read_deltas`."""

    version: int
    log_id: str
    source: int
    offset: int
    prev: int
    raw_models: msgspec.Raw
    raw_labels: msgspec.Raw
    deltas: msgspec.Raw

    @property
    def models(self) -> list[ModelKey]:
        """The models, decoded."""
        return _decode_models(self.raw_models)

    @property
    def labels(self) -> list[str]:
        """The labels, decoded."""
        return _decode_labels(self.raw_labels)


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


_decode_models = msgspec.msgpack.Decoder(list[ModelKey]).decode
_decode_labels = msgspec.msgpack.Decoder(list[str]).decode
_decode_deltas = msgspec.msgpack.Decoder(list[Delta]).decode


def read_deltas(batch: DeltaBatch | RawDeltaBatch) -> list[Delta]:
    """The deltas of a batch."""
    return batch.deltas if isinstance(batch, DeltaBatch) else _decode_deltas(batch.deltas)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key: CRC-32 modulo ``partitions``, so the same in every release."""
    return crc32(key.encode("utf-8", "surrogatepass")) % partitions


def pack_deltas(
    changes: Mapping[tuple[int, int, int], Counts],
    models: list[ModelKey],
    targets: list[int],
    head: tuple[int, str, int, int],
) -> dict[int, DeltaBatch]:
    """The sums by model, basis and minute as a batch for each partition of the deltas; empty sums are
    left out. ``targets`` are the models' partitions; ``head`` is version, log id, source and offset.
    ``prev`` of the batches is still to be set."""
    partitions: dict[int, tuple[dict[ModelKey, int], dict[str, int], list[Delta]]] = {}
    for (model, basis, minute), counts in changes.items():
        counts.remove_zeros()
        if counts.is_empty():
            continue
        names, labels, deltas = partitions.setdefault(targets[model], ({}, {}, []))
        position = names.setdefault(models[model], len(names))
        cells = pack_cells(counts.cells, labels)
        sums = pack_sums(counts.sums, labels) if counts.sums else []
        deltas.append(Delta(position, basis, minute, counts.totals(), cells, sums))
    return {
        partition: DeltaBatch(*head, -1, list(names), list(labels), deltas)
        for partition, (names, labels, deltas) in partitions.items()
    }


def unpack(delta: Delta, labels: list[str]) -> Counts:
    """The counts of a delta, by the labels of its batch."""
    return Counts(*delta.totals, unpack_cells(delta.cells, labels), unpack_sums(delta.sums, labels))


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


#: A sum of this size or more is written as text: MessagePack has no longer integers.
_LARGE = 1 << 62


def pack_sums(sums: Sums, labels: dict[str, int]) -> list[int | str]:
    """Sums as a flat list in the order of their keys: what is summed, its label, its bin, n, ... Labels
    are positions in ``labels``, to which new ones are added; a large n is text."""
    flat: list[int | str] = []
    for (kind, label, number), n in sorted(sums.items()):
        amount = n if -_LARGE < n < _LARGE else str(n)
        flat += (int(kind), labels.setdefault(label, len(labels)), number, amount)
    return flat


def unpack_sums(flat: list[int | str], labels: list[str]) -> Sums:
    """The sums of a flat list by `pack_sums`."""
    if not flat:
        return {}
    kinds, positions, bins, amounts = (flat[start::4] for start in range(4))
    names = map(labels.__getitem__, positions)  # type: ignore[arg-type]
    return dict(zip(zip(kinds, names, bins, strict=True), map(int, amounts), strict=True))  # type: ignore[arg-type]
