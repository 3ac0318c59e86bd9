"""Delta batches that are larger than a record may be.

A label is short and a message has few rows, but whoever may send can make the most of every limit at
once, and of several predictors that one feedback judges: what follows from a message must fit on the
log whatever it says, or the log ends there.
"""

from processor.domain.log.deltas import DeltaBatch, PackedDeltas
from processor.domain.log.records import RecordChunk, decode_delta, encode, split_record


def delta_records(batch: DeltaBatch | PackedDeltas) -> list[bytes]:
    """The records of a batch: itself, or its pieces. Equal batches are cut the same way."""
    value = encode(batch)
    chunks = split_record(value)
    if len(chunks) == 1:
        return [value]
    version, log_id, source, offset = batch.version, batch.log_id, batch.source, batch.offset
    return [
        encode(RecordChunk(version, log_id, source, offset, number, len(chunks), chunk))
        for number, chunk in enumerate(chunks)
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

    def add(self, chunk: RecordChunk) -> DeltaBatch | None:
        """The batch, if this was the last piece that was missing."""
        found = self._found.setdefault((chunk.source, chunk.offset), {})
        found[chunk.number] = chunk.data
        if len(found) < chunk.count:
            return None
        del self._found[chunk.source, chunk.offset]
        batch = decode_delta(b"".join(found[number] for number in range(chunk.count)))
        assert isinstance(batch, DeltaBatch)
        return batch
