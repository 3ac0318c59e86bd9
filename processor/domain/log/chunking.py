"""Split delta batches that are larger than a record may be, and assemble them again.

Batches are small as a rule, but a sender can exhaust all limits of a message at once, and one feedback
can judge several predictors. The deltas of any message must fit on the log: if they did not, no worker
could get past that message.
"""

from processor.domain.log.deltas import DeltaBatch, PackedDeltas
from processor.domain.log.loaded import LoadedCounts
from processor.domain.log.records import RecordChunk, decode_delta, encode, split_record


def delta_records(batch: DeltaBatch | PackedDeltas | LoadedCounts) -> list[bytes]:
    """The encoded records of a batch: one, or its chunks. Equal batches are split equally."""
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
    """Assembles batches from chunks. If a sender is killed half-way, its successor sends all chunks
    again, and both may write at once; chunks are equal whichever sender wrote them."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[int, int], dict[int, bytes]] = {}

    @property
    def is_incomplete(self) -> bool:
        """Whether there are chunks of a batch that is not complete yet."""
        return bool(self._chunks)

    def add(self, chunk: RecordChunk) -> DeltaBatch | LoadedCounts | None:
        """Add a chunk; the batch, if this completes it."""
        chunks = self._chunks.setdefault((chunk.source, chunk.offset), {})
        chunks[chunk.number] = chunk.data
        if len(chunks) < chunk.count:
            return None
        del self._chunks[chunk.source, chunk.offset]
        batch = decode_delta(b"".join(chunks[number] for number in range(chunk.count)))
        assert isinstance(batch, DeltaBatch | LoadedCounts)
        return batch
