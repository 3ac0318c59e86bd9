"""The packed records of the internal topics; each carries its schema version and the log's epoch."""

import msgspec

from processor.domain.log.deltas import DeltaBatch
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
    "encode",
    "split_record",
]


class Heartbeat(msgspec.Struct, array_like=True, tag="t"):
    """Written by a partition's owner now and then, so that log time moves on when the input is
    silent. On the observations, ``acked`` says that all deltas of records below that offset are on
    the log, whoever wrote it; on the deltas it is 0. ``evict_before``: requests that were born before
    this log hour leave here, 0 = none."""

    version: int
    log_id: str
    sent_below: int
    evict_before: int = 0


class RecordChunk(msgspec.Struct, array_like=True, tag="p"):
    """One of the ``count`` pieces of a packed delta batch that is too large for one record."""

    version: int
    log_id: str
    source: int
    offset: int
    number: int
    count: int
    data: bytes


ObservationRecord = ObservationBatch | Heartbeat
DeltaRecord = DeltaBatch | Heartbeat | RecordChunk

#: Bytes of a piece; half of what a record may have.
CHUNK_BYTES = 8 << 20

encode = msgspec.msgpack.Encoder().encode
decode_observation = msgspec.msgpack.Decoder(ObservationRecord).decode
decode_delta = msgspec.msgpack.Decoder(DeltaRecord).decode


def split_record(value: bytes) -> list[bytes]:
    """A value in pieces that fit in a record each; mostly it is its only one."""
    return [value[start : start + CHUNK_BYTES] for start in range(0, len(value), CHUNK_BYTES)]


def check(record: ObservationRecord | DeltaRecord, log_id: str, topic: str) -> None:
    """Refuse a record of another log or another schema: counting on would be wrong for ever."""
    if record.version != SCHEMA_VERSION:
        raise LogMismatchError(
            f"topic {topic} has records of schema {record.version}, this release reads "
            f"{SCHEMA_VERSION}: run this release under a new PROCESSOR_APP_ID beside the old one"
        )
    if record.log_id != log_id:
        raise LogMismatchError(
            f"topic {topic} has records of another log ({record.log_id}, not {log_id}): it was "
            "recreated; use a new PROCESSOR_APP_ID"
        )
