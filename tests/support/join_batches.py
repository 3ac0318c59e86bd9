"""Observations, batches and stored states for tests of the join."""

import math
import tempfile
from pathlib import Path

from processor.domain.join.state import JoinState
from processor.domain.log.observations import (
    DOCUMENT,
    EVENT,
    BatchBuilder,
    Feedback,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.values import TEXT, Answer, Reading, Schema, digest
from processor.stream.snapshot_file import SnapshotFile
from tests.support.join_model import Observation
from tests.support.snapshot_files import write

LOG_ID, TARGETS = "log", 3

MODEL = ModelKey("seldon", "iris", "default", "a")


def prediction(
    request_id: str, label: str = "x", time: int = 0, provisional: bool = False
) -> Prediction:
    """A prediction of `MODEL` with one item; ``time`` is in ns."""
    answers = (Answer(label, None, TEXT, Schema()),)
    source_rank = DOCUMENT if provisional else EVENT
    return Prediction(MODEL, request_id, time, source_rank, digest(answers), answers, provisional)


def feedback(request_id: str, label: str = "x", time: int = 1) -> Feedback:
    """A feedback for `MODEL` with one truth; ``time`` is in ns."""
    truth = (Reading(TEXT, label),)
    return Feedback(MODEL, request_id, time, EVENT, digest(truth), truth, None)


def on_the_log(batch: ObservationBatch) -> ObservationBatch:
    """The batch as it is read back from the log."""
    record = decode_observation(encode(batch))
    assert isinstance(record, ObservationBatch)
    return record


def pack(*seen: Observation) -> ObservationBatch:
    """A batch of some observations, as it is read back from the log."""
    builder = BatchBuilder()
    for one in seen:
        builder.add(one)
    return on_the_log(builder.build(LOG_ID))


def stored(state: JoinState) -> bytes:
    """The content of a snapshot file of the state."""
    capture = SnapshotFile(Path("unused"), "app", LOG_ID, 0, TARGETS, 0).capture(0, state)
    assert capture.step(math.inf)
    return b"".join(capture.parts)


def restored(content: bytes) -> JoinState:
    """The state in the content of a snapshot file."""
    with tempfile.TemporaryDirectory() as folder:
        file = SnapshotFile(Path(folder), "app", LOG_ID, 0, TARGETS, 0)
        write(file, [content])
        snapshot = file.read()
    assert snapshot is not None
    return snapshot.state
