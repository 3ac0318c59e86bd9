"""Rows that are made by columns are those that are made one by one."""

import numpy as np

from bench.support.rows import (
    batch,
    feedback_row,
    feedback_rows,
    model_keys,
    packed_batch,
    prediction_row,
    prediction_rows,
    request_ids,
)
from bench.week.traffic import START
from processor.domain.log.observations import ObservationBatch
from processor.domain.log.records import decode_observation, encode


def _tables(batch: ObservationBatch) -> tuple[object, ...]:
    return batch.log_id, batch.models, batch.schemas, batch.answers, batch.truths, batch.mode


def test_they_are_the_same_on_the_log() -> None:
    n = 500
    rng = np.random.default_rng(3)
    ids = np.frombuffer(rng.bytes(16 * n), "V16")
    model, label, form = (rng.integers(0, most, n) for most in (128, 3, 3))
    time = START + rng.integers(0, 1 << 50, n)
    models = model_keys(128)
    columns = (column.tolist() for column in (model, time, label, form))
    rows = list(zip(request_ids(ids.tobytes()), *columns, strict=True))
    made = [prediction_row(*row[:4]) for row in rows]
    said = [feedback_row(*row) for row in rows]
    packed_made = prediction_rows(ids, model, time, label)
    packed_said = feedback_rows(ids, model, time, label, form)
    for start, end in ((0, 500), (0, 1), (7, 7), (120, 400), (499, 500)):
        packed = packed_batch(models, packed_made.part(start, end), packed_said.part(start, end))
        found = decode_observation(encode(packed))
        wanted = decode_observation(encode(batch(models, made[start:end], said[start:end])))
        assert isinstance(found, ObservationBatch)
        assert isinstance(wanted, ObservationBatch)
        assert found.prediction_rows() == wanted.prediction_rows()
        assert found.feedback_rows() == wanted.feedback_rows()
        assert _tables(found) == _tables(wanted)
