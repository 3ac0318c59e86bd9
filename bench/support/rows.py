"""Observations of a classifier with three labels as they stand on the log, made without events.

They are made one by one, or many at a time from columns as encoded bytes. A batch of them is equal
to the one that `BatchBuilder` makes of the same observations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from processor.domain.log.observations import (
    EVENT,
    SCHEMA_VERSION,
    AnswerRow,
    FeedbackRow,
    ObservationBatch,
    PredictionRow,
)
from processor.domain.log.records import encode
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import MICRO
from processor.domain.values import SCORES, Answer, Reading, Schema, content_digest, digest

from .load import NAMES, NAMESPACE, deployment

#: The epoch of the log in its records.
EPOCH = "bench"
LABELS = NAMES

Ints = NDArray[np.int64]

#: Forms of feedback: a reward of 1 alone, the prediction was right; a truth that differs from the
#: prediction and a reward of 0; a truth alone.
RIGHT, WRONG, TRUTH = range(3)
_FORMS = 3

_SCHEMAS = [Schema(names=LABELS)]
_ANSWERS = [AnswerRow(label, None, SCORES, 0, len(LABELS), ()) for label in LABELS]
_TRUTHS = [Reading(SCORES, position, len(LABELS)) for position in range(len(LABELS))]
_REWARDS = (MICRO, 0, None)
_PREDICTED = [
    content_digest(Answer(label, None, SCORES, _SCHEMAS[0], len(LABELS))) for label in LABELS
]
_JUDGED = [
    [digest(None if form == RIGHT else (truth,), _REWARDS[form]) for form in range(_FORMS)]
    for truth in _TRUTHS
]


def model_keys(number: int) -> list[ModelKey]:
    """Keys of that many models, each of a deployment of its own."""
    return [ModelKey(NAMESPACE, deployment(i), "default", "classifier") for i in range(number)]


def request_ids(data: bytes) -> list[str]:
    """A UUID for every 16 bytes."""
    digits = data.hex()
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-{digits[i + 12 : i + 16]}"
        f"-{digits[i + 16 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in range(0, len(digits), 32)
    ]


def prediction_row(request_id: str, model: int, time: int, label: int) -> PredictionRow:
    """A prediction: `model` and `label` by position, `time` in ns."""
    return PredictionRow(request_id, model, time, EVENT, _PREDICTED[label], label, False)


def feedback_row(request_id: str, model: int, time: int, actual: int, form: int) -> FeedbackRow:
    """A feedback: `model`, `actual` by position, `time` in ns, `form` RIGHT, WRONG or TRUTH."""
    truth = None if form == RIGHT else actual
    return FeedbackRow(
        request_id, model, time, EVENT, _JUDGED[actual][form], truth, _REWARDS[form]
    )  # fmt: skip


def batch(
    models: list[ModelKey],
    predictions: Sequence[PredictionRow],
    feedbacks: Sequence[FeedbackRow],
    log_id: str = EPOCH,
) -> ObservationBatch:
    """A record of the log."""
    return ObservationBatch(
        SCHEMA_VERSION, log_id, models, _SCHEMAS, _ANSWERS, _TRUTHS, _raw(predictions),
        _raw(feedbacks),
    )  # fmt: skip


def _raw(rows: Sequence[PredictionRow | FeedbackRow]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(rows))


_ANY = request_ids(bytes(16))[0]
#: Positions in the bytes of a row: the start of its id, the model, the time.
_ID, _MODEL, _TIME = 3, 39, slice(41, 49)
_DIGITS = np.array([_ID + at for at, digit in enumerate(_ANY) if digit != "-"])
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)
#: A time (ns) whose encoding is as long as that of all times of the loads.
_LATE = 1 << 60


class EncodedRows(NamedTuple):
    """Rows one after another, and the position at which each of them ends."""

    content: bytes
    ends: Ints

    def part(self, start: int, end: int) -> msgspec.Raw:
        """The rows from `start` to before `end`, as a MessagePack list."""
        first, last = (int(self.ends[at - 1]) if at else 0 for at in (start, end))
        return msgspec.Raw(b"\xdd" + (end - start).to_bytes(4, "big") + self.content[first:last])


class _Templates:
    """Rows that differ in their id, model and time alone, by kind: other columns choose the kind."""

    def __init__(self, rows: Sequence[PredictionRow | FeedbackRow]) -> None:
        encoded = [encode(row) for row in rows]
        self._lengths = np.array([len(each) for each in encoded])
        padded = [list(each.ljust(self._lengths.max(), b"\0")) for each in encoded]
        self._rows = np.array(padded, np.uint8)

    def rows(self, kinds: Ints, ids: NDArray[np.void], model: Ints, time: Ints) -> EncodedRows:
        """One row for each position of the columns; `ids` of 16 bytes, `time` in ns."""
        rows = self._rows[kinds]
        plain = np.ascontiguousarray(ids).view(np.uint8).reshape(-1, 16)
        rows[:, _DIGITS] = _HEX[plain].reshape(-1, 32)
        rows[:, _MODEL] = model
        rows[:, _TIME] = time.astype(">u8").view(np.uint8).reshape(-1, 8)
        lengths = self._lengths[kinds]
        used = np.arange(rows.shape[1]) < lengths[:, None]
        return EncodedRows(rows[used].tobytes(), np.cumsum(lengths))


_PREDICTIONS = _Templates([prediction_row(_ANY, 0, _LATE, label) for label in range(len(LABELS))])
_FEEDBACKS = _Templates([
    feedback_row(_ANY, 0, _LATE, label, form)
    for label in range(len(LABELS)) for form in range(_FORMS)
])  # fmt: skip


def prediction_rows(ids: NDArray[np.void], model: Ints, time: Ints, label: Ints) -> EncodedRows:
    """As `prediction_row`, a row for each position; `ids` are of 16 bytes, `model` is below 128."""
    return _PREDICTIONS.rows(label, ids, model, time)


def feedback_rows(
    ids: NDArray[np.void], model: Ints, time: Ints, actual: Ints, form: Ints
) -> EncodedRows:
    """As `feedback_row`, a row for each position; `ids` are of 16 bytes, `model` is below 128."""
    return _FEEDBACKS.rows(actual * _FORMS + form, ids, model, time)


def packed_batch(
    models: list[ModelKey],
    predictions: msgspec.Raw,
    feedbacks: msgspec.Raw,
    log_id: str = EPOCH,
) -> ObservationBatch:
    """A record of the log with encoded rows."""
    plain = batch(models, [], [], log_id)
    return ObservationBatch(
        plain.version, plain.log_id, plain.models, plain.schemas, plain.answers, plain.truths,
        predictions, feedbacks,
    )  # fmt: skip
