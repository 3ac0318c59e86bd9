"""Rows of the log as `rows` has them, many at a time from columns: bytes, as they are on the log."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from processor.domain.log.observations import FeedbackRow, PackedBatch, PredictionRow
from processor.domain.log.records import encode
from processor.domain.model_key import ModelKey

from .rows import LABELS, batch, feedback_row, prediction_row, request_ids

Ints = NDArray[np.int64]

_ANY = request_ids(bytes(16))[0]
#: Of a row's bytes: the digits of its id, the model, the time.
_ID, _MODEL, _TIME = 3, 39, slice(41, 49)
_DIGITS = np.array([_ID + at for at, digit in enumerate(_ANY) if digit != "-"])
_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)
#: Any time that takes as many bytes as all others of the traffic.
_LATE = 1 << 60


class EncodedRows(NamedTuple):
    """One after another, and where each of them ends."""

    content: bytes
    ends: Ints

    def part(self, start: int, end: int) -> msgspec.Raw:
        """Some of them, as a list."""
        first, last = (int(self.ends[at - 1]) if at else 0 for at in (start, end))
        return msgspec.Raw(b"\xdd" + (end - start).to_bytes(4, "big") + self.content[first:last])


class _Kinds:
    """Rows that differ in their id, model and time alone, by kind."""

    def __init__(self, rows: Sequence[PredictionRow | FeedbackRow]) -> None:
        encoded = [encode(row) for row in rows]
        self._lengths = np.array([len(each) for each in encoded])
        padded = [list(each.ljust(self._lengths.max(), b"\0")) for each in encoded]
        self._rows = np.array(padded, np.uint8)

    def rows(self, kinds: Ints, ids: NDArray[np.void], model: Ints, time: Ints) -> EncodedRows:
        """One for each place of the columns."""
        rows = self._rows[kinds]
        plain = np.ascontiguousarray(ids).view(np.uint8).reshape(-1, 16)
        rows[:, _DIGITS] = _HEX[plain].reshape(-1, 32)
        rows[:, _MODEL] = model
        rows[:, _TIME] = time.astype(">u8").view(np.uint8).reshape(-1, 8)
        lengths = self._lengths[kinds]
        used = np.arange(rows.shape[1]) < lengths[:, None]
        return EncodedRows(rows[used].tobytes(), np.cumsum(lengths))


_MADE = _Kinds([prediction_row(_ANY, 0, _LATE, label) for label in range(len(LABELS))])
_FORMS = 3
_SAID = _Kinds([
    feedback_row(_ANY, 0, _LATE, label, form)
    for label in range(len(LABELS)) for form in range(_FORMS)
])  # fmt: skip


def prediction_rows(ids: NDArray[np.void], model: Ints, time: Ints, label: Ints) -> EncodedRows:
    """As `rows.prediction_row`; ``ids`` are 16 bytes each, there may be 128 models."""
    return _MADE.rows(label, ids, model, time)


def feedback_rows(
    ids: NDArray[np.void], model: Ints, time: Ints, actual: Ints, form: Ints
) -> EncodedRows:
    """As `rows.feedback_row`."""
    return _SAID.rows(actual * _FORMS + form, ids, model, time)


def packed_batch(
    models: list[ModelKey], predictions: msgspec.Raw, feedbacks: msgspec.Raw
) -> PackedBatch:
    """One record of the log."""
    plain = batch(models, [], [])
    return PackedBatch(
        plain.version, plain.log_id, plain.models, plain.schemas, plain.answers, plain.truths,
        predictions, feedbacks,
    )  # fmt: skip
