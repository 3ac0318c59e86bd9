"""The records of the internal topics. Each carries its schema version and the id of its log."""

import msgspec

from processor.domain.log.deltas import DeltaBatch, RawDeltaBatch
from processor.domain.log.loaded import LoadedCounts, LoadedRequests, LoadedState
from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.errors import LogMismatchError

__all__ = [
    "DeltaRecord",
    "Heartbeat",
    "ObservationRecord",
    "RecordChunk",
    "check",
    "decode_delta",
    "decode_observation",
    "decode_raw_delta",
    "encode",
    "split_record",
]


class Heartbeat(msgspec.Struct, array_like=True, tag="t"):
    """A record that the owner of a partition writes regularly, so that log time goes on without input.

    On the observations topic all deltas of records below offset ``sent_below`` are on the log, also
    if another owner wrote the heartbeat; on the deltas topic it is 0. Requests that were first seen
    before log hour ``evict_before`` are evicted at this record; 0 evicts none.
    """

    version: int
    log_id: str
    sent_below: int
    evict_before: int = 0


class RecordChunk(msgspec.Struct, array_like=True, tag="p"):
    """One of ``count`` chunks of an encoded delta batch that is too large for one record. ``number``
    is the chunk's position; ``source`` and ``offset`` are those of the `DeltaBatch`."""

    version: int
    log_id: str
    source: int
    offset: int
    number: int
    count: int
    data: bytes


ObservationRecord = ObservationBatch | Heartbeat | LoadedRequests | LoadedState
DeltaRecord = DeltaBatch | Heartbeat | RecordChunk | LoadedCounts
RawDeltaRecord = RawDeltaBatch | Heartbeat | RecordChunk | LoadedCounts

#: Bytes of a chunk: half of the largest record.
CHUNK_BYTES = 8 << 20

encode = msgspec.msgpack.Encoder().encode
decode_observation = msgspec.msgpack.Decoder(ObservationRecord).decode
decode_delta = msgspec.msgpack.Decoder(DeltaRecord).decode
#: As `decode_delta`, but the deltas of a batch stay encoded.
decode_raw_delta = msgspec.msgpack.Decoder(RawDeltaRecord).decode


def split_record(value: bytes) -> list[bytes]:
    """Split a value into chunks that each fit in a record; almost always it is one chunk."""
    return [value[start : start + CHUNK_BYTES] for start in range(0, len(value), CHUNK_BYTES)]


def check(
    record: ObservationRecord | DeltaRecord | RawDeltaRecord,
    log_id: str,
    topic: str,
    schema: int = SCHEMA_VERSION,
) -> None:
    """Raise `LogMismatchError` if a record belongs to another log or has another schema: counts that
    include it would be wrong for ever."""
    if record.version != schema:
        raise LogMismatchError(
            f"topic {topic} has records of schema {record.version}, this release reads {schema}: run "
            "this release under a new PROCESSOR_APP_ID beside the old one"
        )
    if record.log_id != log_id:
        raise LogMismatchError(
            f"topic {topic} has records of another log ({record.log_id}, not {log_id}): it was "
            "recreated; use a new PROCESSOR_APP_ID"
        )
