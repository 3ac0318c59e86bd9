"""Delta batches that are larger than a record may be.

A label is short and a message has few rows, but whoever may send can make the most of every limit at
once, and of several predictors that one feedback judges: what follows from a message must fit on the
log whatever it says, or the log ends there.
"""

from processor.domain.log.deltas import DeltaBatch, PackedDeltas
from processor.domain.log.records import Piece, cut, decode_delta, encode


def delta_records(batch: DeltaBatch | PackedDeltas) -> list[bytes]:
    """The records of a batch: itself, or its pieces. Equal batches are cut the same way."""
    value = encode(batch)
    pieces = cut(value)
    if len(pieces) == 1:
        return [value]
    version, log_id, source, offset = batch.version, batch.log_id, batch.source, batch.offset
    return [
        encode(Piece(version, log_id, source, offset, number, len(pieces), piece))
        for number, piece in enumerate(pieces)
    ]


class ChunkAssembler:
    """Puts batches together again. Whoever follows a sender that was killed half-way sends all pieces
    once more, and both may write at once: a piece counts whoever wrote it."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], dict[int, bytes]] = {}

    @property
    def are_missing(self) -> bool:
        """Whether there are pieces that wait for others."""
        return bool(self._found)

    def add(self, piece: Piece) -> DeltaBatch | None:
        """The batch, if this was the last piece that was missing."""
        found = self._found.setdefault((piece.source, piece.offset), {})
        found[piece.number] = piece.data
        if len(found) < piece.count:
            return None
        del self._found[piece.source, piece.offset]
        batch = decode_delta(b"".join(found[number] for number in range(piece.count)))
        assert isinstance(batch, DeltaBatch)
        return batch
