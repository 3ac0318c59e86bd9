"""Read records of schema 2, that of release 0.1.0, as records of today.

Rows had labels alone: neither values nor sums of statistics. Only what differs stands here.
"""

import msgspec

from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import AnswerRow, ObservationBatch
from processor.domain.log.records import Heartbeat, RecordChunk
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Totals
from processor.domain.values import SCORES, Reading, Schema

#: The schema that this module reads.
VERSION = 2


class _AnswerRow(msgspec.Struct, array_like=True):
    label: str | None
    reason: str | None
    mode: int
    schema: int


class _ObservationBatch(msgspec.Struct, array_like=True, tag="o"):
    version: int
    log_id: str
    models: list[ModelKey]
    schemas: list[Schema]
    answers: list[_AnswerRow]
    truths: list[Reading]
    predictions: msgspec.Raw
    feedbacks: msgspec.Raw
    mode: int = 0


class BucketBlock(msgspec.Struct, array_like=True):
    """A block of the tally's checkpoint: as today, but a bucket is its basis, number, totals and cells
    alone."""

    version: int
    log_id: str
    offset: int
    last: dict[int, int]
    labels: list[str]
    buckets: list[tuple[int, int, Totals, list[int]]]


_decode = msgspec.msgpack.Decoder(_ObservationBatch | Heartbeat).decode
_decode_delta = msgspec.msgpack.Decoder(DeltaBatch | Heartbeat | RecordChunk).decode
decode_block = msgspec.msgpack.Decoder(BucketBlock).decode


def decode_observation(value: bytes) -> ObservationBatch | Heartbeat:
    """Decode a record of the observations. Its ``version`` stays that of the record."""
    record = _decode(value)
    if isinstance(record, Heartbeat):
        return record
    answers = [
        AnswerRow(row.label, row.reason, row.mode, row.schema, _width(row, record.schemas), ())
        for row in record.answers
    ]
    return ObservationBatch(
        record.version,
        record.log_id,
        record.models,
        record.schemas,
        answers,
        record.truths,
        record.predictions,
        record.feedbacks,
        record.mode,
    )


def _width(row: _AnswerRow, schemas: list[Schema]) -> int:
    """The number of scores of an answer, which schema 2 knew only of those with names."""
    names = schemas[row.schema].names
    return len(names) if row.mode == SCORES and names else 0


def decode_delta(value: bytes) -> DeltaBatch | Heartbeat | RecordChunk:
    """Decode a record of the deltas, which have no sums of statistics."""
    record: DeltaBatch | Heartbeat | RecordChunk = _decode_delta(value)
    return record
