"""The native fast path and accumulator give the same deltas and states as their Python counterparts."""

import json
import random
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.join.delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import (
    BatchBuilder,
    Feedback,
    IngestMode,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.values import (
    TEXT,
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
)
from processor.telemetry import Telemetry
from tests.support.domain.folds import Step, folded, in_python
from tests.support.domain.join_model import Observation, observations
from tests.support.log_format_fixture import observations_of_values

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

MODES = (
    *[IngestMode.NORMAL] * 4,
    *[IngestMode.COUNT_AND_DROP] * 3,
    *[IngestMode.IF_PRESENT, IngestMode.RESTORED, IngestMode.EXPIRED],
)
#: The observations of a batch, its ingest mode, and the hours since the last batch.
steps = st.tuples(
    observations,
    st.sampled_from(MODES),
    st.sampled_from((0, 0, 0, 1, 3)),
)


@given(
    st.lists(steps, min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from((0, 9999)),
)
def test_the_native_fold_equals_the_one_in_python(
    course: list[Step], noted: bool, max_cells: int
) -> None:
    native = folded(course, is_native=True, noted=noted, max_cells=max_cells)
    assert native == folded(course, is_native=False, noted=noted)


@st.composite
def courses_of_values(draw: st.DrawFn) -> list[Step]:
    """Rows of every kind of value, single and in batches, and their truth, in any order."""
    seen = observations_of_values()
    order = draw(st.permutations(seen)) + draw(st.lists(st.sampled_from(seen), max_size=9))
    sizes = draw(st.lists(st.integers(1, 20), min_size=1, max_size=9))
    course: list[Step] = []
    for size in [*sizes, len(order)]:
        if order:
            course.append((list(order[:size]), draw(st.sampled_from(MODES)), 0))
        order = order[size:]
    return course


@given(courses_of_values())
def test_values_of_every_kind(course: list[Step]) -> None:
    assert folded(course, is_native=True, noted=True) == folded(course, is_native=False, noted=True)


def test_a_reward_disagrees_with_all_items_or_none() -> None:
    """Rule 7: natively as in Python, for items that are right, wrong, or not judged."""
    key, seen = ModelKey("n", "d", "p", "m"), list[Observation]()
    truths = Reading(TEXT, "x"), Reading(TEXT, "y"), Reading(UNSCORABLE, "shape")
    answers = (Answer("x", None, TEXT, Schema()),) * 3
    for truth in product(truths, repeat=3):
        for reward in (None, -1_000_000, 0, 250_000, 1_000_000):
            request_id = f"r{len(seen)}"
            seen.append(Prediction(key, request_id, 5, 1, 1, answers))
            seen.append(Feedback(ModelKey("n", "d", "", ""), request_id, 6, 1, 1, truth, reward))
    course = [(seen, IngestMode.NORMAL, 0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(JoinFold, "_apply_feedback")  # nothing is left to Python
        native = folded(course, is_native=True, noted=True)
    assert native == folded(course, is_native=False, noted=True)


def test_tables_that_grow_while_they_are_copied() -> None:
    """Thousands of requests, so that buckets split while a snapshot is made."""
    rng = random.Random(7)
    ids = [str(UUID(int=rng.getrandbits(128))) for _ in range(6000)]
    rows = [[t, 0, 5 + n, 1, n % 3, 0, False, None] for n, t in enumerate(ids)]
    answers: list[list[Any]] = [["x", None, 1, 0, 0, []]]
    copies = []
    for is_native in True, False:
        with pytest.MonkeyPatch.context() as patch:
            if not is_native:
                in_python(patch)
            fold = JoinFold("log", 0, 3, None, Telemetry())
            table, copied = fold.state.requests, list[object]()
            for start in range(0, len(rows), 1000):
                schema: list[Any] = [None, None, 0.5, False]
                packed = encode(
                    ["o", 2, "log", [["ns", "dep", "p", "m"]], [schema], answers, [],
                     rows[start : start + 1000], []],
                )  # fmt: skip
                batch = decode_observation(packed)
                assert isinstance(batch, ObservationBatch)
                if start == 2000:
                    table.begin_copy()
                    copied.append(table.copy(10))
                fold.apply(start, 0, batch)
                copied.append(table.copy_progress())
            while (part := table.copy(50)) is not None:
                copied.append(part)
        assert len(table) == 6000
        copies.append(copied)
    assert copies[0] == copies[1]


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
        schema = Schema(by_reward=True)
        answers = tuple(Answer(label, None, TEXT, schema) for label in labels)
        truth = tuple(Reading(TEXT, str(rng.randrange(40))) for _ in labels)
        builder.add(Prediction(ModelKey("n", "d", "p", "m"), f"r{number}", 5, 1, 1, answers))
        # Several items that a reward decides are judged in Python.
        builder.add(Feedback(ModelKey("n", "d", "", ""), f"r{number}", 6, 1, 1, truth, 0))
        assert fold.apply(number, 0, builder.build("log"))
        cells = sum(len(outcome.counts.cells) for outcome in accumulator._outcomes.values())
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
    for is_native in True, False:
        with pytest.MonkeyPatch.context() as patch:
            if not is_native:
                in_python(patch)
            fold = JoinFold("log", 0, 1, None, Telemetry())
            deltas = [fold.apply(at, at, one) for at, one in enumerate(sent)]
            found.append([encode(batch) for each in deltas for batch in each.values()])
            assert len(fold.state.requests) == 1
    assert found[0] == found[1]
    assert len(found[0]) == 2
