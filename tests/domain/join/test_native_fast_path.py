"""The native fast path and accumulator give the same deltas and states as their Python counterparts."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.join.delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.fold import JoinFold
from processor.domain.join.packed_table import CopyOnWrite, PackedTable
from processor.domain.log.deltas import DeltaBatch, unpack
from processor.domain.log.observations import (
    BatchBuilder,
    Feedback,
    IngestMode,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import Heartbeat, decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.timestamps import HOUR
from processor.domain.values import TEXT, Answer, Reading, Schema
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import stored
from tests.support.domain.join_model import Observation, observations, unpacked

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

Step = tuple[list[Observation], IngestMode, int]

#: The observations of a batch, its ingest mode, and the hours since the last batch.
steps = st.tuples(
    observations,
    st.sampled_from(
        (IngestMode.NORMAL,) * 4
        + (IngestMode.COUNT_AND_DROP,) * 3
        + (IngestMode.IF_PRESENT, IngestMode.RESTORED, IngestMode.EXPIRED)
    ),
    st.sampled_from((0, 0, 0, 1, 3)),
)


def folded(
    course: Sequence[Step], in_python: bool, judged: bool
) -> tuple[list[bytes], list[bytes], object, object]:
    """The deltas of some batches, the state after each, the telemetry, and the judged requests."""
    with pytest.MonkeyPatch.context() as patch:
        if in_python:
            patch.setattr("processor.domain.join.fold.use_native", False)
            patch.setattr("processor.domain.join.request_store.expire", PackedTable.expire)
        fold = JoinFold("log", 0, 3, 4 * HOUR, Telemetry())
        fold.judged = {} if judged else None
        deltas, states, time = [], [], 0
        for offset, (seen, mode, hours) in enumerate(course):
            time += hours * HOUR
            builder = BatchBuilder()
            for one in seen:
                builder.add(one)
            packed = encode(builder.build("log", mode))
            batch = decode_observation(packed)
            assert not isinstance(batch, Heartbeat)
            found = unpacked(fold.apply(offset, time, batch))
            deltas += [_sent(found[target], mode) for target in sorted(found)]
            # The two may count completed requests in different orders, which the state shows only here.
            state = fold.state
            state.sent = dict(sorted(state.sent.items()))
            state.not_scorable = dict(sorted(state.not_scorable.items()))
            states.append(stored(fold.state))
        return deltas, states, fold.telemetry, fold.judged


def _sent(batch: DeltaBatch, mode: IngestMode) -> bytes:
    """A batch of deltas as it is sent; the deltas of completed requests, whose order is free, sorted."""
    if mode != IngestMode.COUNT_AND_DROP:
        return encode(batch)
    changes = [
        (batch.models[one.model], one.basis, one.minute, one.totals,
         sorted(unpack(one, batch.labels).cells.items()))
        for one in batch.deltas
    ]  # fmt: skip
    return encode((batch.offset, batch.prev, sorted(changes)))


@given(
    st.lists(steps, min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from((0, 9999)),
)
def test_the_native_fold_equals_the_one_in_python(
    course: list[Step], judged: bool, max_cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.domain.join.delta_accumulator._MAX_CELLS", max_cells)
        native = folded(course, in_python=False, judged=judged)
    assert native == folded(course, in_python=True, judged=judged)


def test_tables_that_grow_while_they_are_copied() -> None:
    """Thousands of requests, so that buckets split while a snapshot is made."""
    rng = random.Random(7)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(6000)]
    rows = [
        [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}", 0, 5 + n, 1, n % 3, 0, False, None]
        for n, t in enumerate(ids)
    ]
    answers: list[list[Any]] = [["x", None, 1, 0, 0, []]]
    states = []
    for in_python in False, True:
        with pytest.MonkeyPatch.context() as patch:
            if in_python:
                patch.setattr("processor.domain.join.fold.use_native", False)
            fold = JoinFold("log", 0, 3, None, Telemetry())
            copies: list[CopyOnWrite | None] = []
            for start in range(0, len(rows), 1000):
                schema: list[Any] = [None, None, 0.5, False]
                packed = encode(
                    ["o", 2, "log", [["ns", "dep", "p", "m"]], [schema], answers, [],
                     rows[start : start + 1000], []],
                )  # fmt: skip
                batch = decode_observation(packed)
                assert isinstance(batch, ObservationBatch)
                if start == 2000:
                    table = fold.state.packed_requests[0]
                    table.copy_on_write = CopyOnWrite(0, len(table.buckets))
                fold.apply(start, 0, batch)
                copies.append(fold.state.packed_requests[0].copy_on_write)
            fold.state.packed_requests[0].copy_on_write = None
            states.append((stored(fold.state), copies))
    assert states[0] == states[1]
    assert fold.state.packed_requests[0].count == 6000


def test_kept_outcomes_are_bounded_by_their_cells() -> None:
    """Outcomes that never repeat, each as large as its message."""
    rng = random.Random(5)
    fold = JoinFold("log", 0, 1, None, Telemetry())
    accumulator = fold._accumulator
    assert isinstance(accumulator, NativeDeltaAccumulator)
    max_cells = 0
    for number in range(300):
        builder = BatchBuilder()
        labels = [str(rng.randrange(40)) for _ in range(1000)]
        answers = tuple(Answer(label, None, TEXT, Schema()) for label in labels)
        truth = tuple(Reading(TEXT, str(rng.randrange(40))) for _ in labels)
        builder.add(Prediction(ModelKey("n", "d", "p", "m"), f"r{number}", 5, 1, 1, answers))
        builder.add(Feedback(ModelKey("n", "d", "", ""), f"r{number}", 6, 1, 1, truth, None))
        assert fold.apply(number, 0, builder.build("log"))
        cells = sum(len(outcome.counts.cells) for outcome in accumulator._outcomes)
        max_cells = max(max_cells, cells)
    assert 40_000 < max_cells < 52_000


@pytest.mark.parametrize("classes", [2, 16, 17, 30])
def test_probabilities_of_any_number_of_classes(classes: int) -> None:
    """Of 30 classes the ten pairs that are kept are as long as two bytes for each class."""
    names = [f"c{number}" for number in range(classes)]
    scores = [0.6, *[0.4 / (classes - 1)] * (classes - 1)]
    decoder, sent = Decoder(ModelRules(), Telemetry()), list[Any]()
    headers = {
        "ce_requestid": "0a1b2c3d-0000-4000-8000-000000000000", "ce_namespace": "ns",
        "ce_inferenceservicename": "dep", "ce_endpoint": "p", "ce_modelid": "m",
        "ce_time": "2026-11-20T09:00:00Z", "content-type": "application/json",
    }  # fmt: skip
    bodies = {
        "inference.response": {"data": {"names": names, "ndarray": [scores]}},
        "feedback": {"truth": {"data": {"ndarray": ["c1"]}}},
    }
    for kind, body in bodies.items():
        named = {**headers, "ce_type": f"io.seldon.serving.{kind}"}
        event = [(name, content.encode()) for name, content in named.items()]
        builder = BatchBuilder()
        (observation,) = decoder.decode(event, json.dumps(body).encode(), 0).observations
        builder.add(observation)
        sent.append(decode_observation(encode(builder.build("log"))))
    found = []
    for in_python in False, True:
        with pytest.MonkeyPatch.context() as patch:
            if in_python:
                patch.setattr("processor.domain.join.fold.use_native", False)
            fold = JoinFold("log", 0, 1, None, Telemetry())
            deltas = [fold.apply(at, at, one) for at, one in enumerate(sent)]
            found.append([encode(batch) for each in deltas for batch in each.values()])
            assert sum(table.count for table in fold.state.packed_requests) == 1
    assert found[0] == found[1]
    assert len(found[0]) == 2
