"""The native fast path and accumulator give the same deltas and states as their Python counterparts."""

import json
import random
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.decoder import Decoder
from processor.domain.join import plans
from processor.domain.join.delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.fold import JoinFold
from processor.domain.join.plans import Plan
from processor.domain.join.request_store import RequestRef
from processor.domain.log.deltas import DeltaBatch, unpack
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
from processor.domain.quantities import pack_confidence
from processor.domain.timestamps import HOUR
from processor.domain.values import (
    INTEGER,
    LABEL_SET,
    TEXT,
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
    content_digest,
    digest,
    mix,
)
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import restored, stored
from tests.support.domain.join_model import Observation, observations, unpacked
from tests.support.log_format_fixture import observations_of_values

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

Step = tuple[list[Observation], IngestMode, int]

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


class Folded(NamedTuple):
    """What a fold made of some batches."""

    deltas: list[object]
    states: list[object]
    """After each batch."""
    telemetry: Telemetry
    judged: dict[RequestRef, int] | None
    unmatched: dict[RequestRef, None] | None


def in_python(patch: pytest.MonkeyPatch) -> None:
    """Make folds in Python from now on."""
    patch.setattr("processor.domain.join.fold.use_native", False)
    patch.setattr("processor.domain.join.requests.table.use_native", False)


def folded(course: Sequence[Step], is_native: bool, noted: bool) -> Folded:
    """Fold some batches, and restart now and then."""
    with pytest.MonkeyPatch.context() as patch:
        if not is_native:
            in_python(patch)
        fold = JoinFold("log", 0, 3, 4 * HOUR, Telemetry())
        fold.judged, fold.unmatched = ({}, {}) if noted else (None, None)
        deltas, states, time = [], [], 0
        for offset, (seen, mode, hours) in enumerate(course):
            time += hours * HOUR
            builder = BatchBuilder()
            for one in seen:
                builder.add(one)
            packed = encode(builder.build("log", mode))
            batch = decode_observation(packed)
            assert isinstance(batch, ObservationBatch)
            found = unpacked(fold.apply(offset, time, batch))
            deltas += [_sent(found[target]) for target in sorted(found)]
            states.append(_content(fold))
            if offset % 3 == 2:
                fold.restore(restored(stored(fold.state)))
        return Folded(deltas, states, fold.telemetry, fold.judged, fold.unmatched)


def _sent(batch: DeltaBatch) -> object:
    """A batch of deltas without the order of its changes, which is free."""
    changes = [
        (batch.models[one.model], one.basis, one.minute, one.totals,
         sorted(unpack(one, batch.labels).cells.items()),
         sorted(unpack(one, batch.labels).sums.items()))
        for one in batch.deltas
    ]  # fmt: skip
    return batch.offset, batch.prev, sorted(changes)


def _content(fold: JoinFold) -> object:
    """A state without the order of its requests, which is free."""
    state = fold.state
    scalars = {
        name: getattr(state, name)
        for name in state.__struct_fields__
        if name not in ("requests", "completed_ids")
    }
    ids = state.completed_ids
    numbers = sorted(memoryview(ids.content()).cast("Q"))
    requests = {ref: encode(request) for ref, request in fold.refs()}
    assert fold.approx_bytes > 0 or not requests
    return encode(scalars["models"]), scalars, [one for one in numbers if one], requests


@given(
    st.lists(steps, min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from((0, 9999)),
)
def test_the_native_fold_equals_the_one_in_python(
    course: list[Step], noted: bool, max_cells: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.domain.join.delta_accumulator._MAX_CELLS", max_cells)
        native = folded(course, is_native=True, noted=noted)
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


#: Settings of models whose answers are texts.
_SCHEMAS = (
    Schema(), Schema(by_reward=True), Schema(classes=("label-1", "label-2")), Schema(threshold=0.3),
    Schema(classes=("label-1", "label-2", "label-3")), Schema(statistics=("nowhere:nothing",)),
)  # fmt: skip


def _labelled(rng: random.Random, number: int, pool: int) -> list[Observation]:
    """A prediction of one to three texts, with its feedback but for a few."""

    def text() -> str:
        return f"{rng.choice(('label-', 'Größe ', '3:'))}{rng.randrange(pool)}"

    key = ModelKey("n", "d", "p", f"m{rng.randrange(3)}")
    schema = rng.choice(_SCHEMAS[: 5 + (number % 50 == 0)])
    answers = tuple([Answer(text(), None, TEXT, schema) for _ in range(rng.choice((1, 1, 1, 3)))])
    values = (pack_confidence(rng.random()),) if len(answers) == 1 and rng.random() < 0.3 else ()
    bases = [content_digest(answer) for answer in answers]
    content = mix(bases[0], values[0] if values else b"") if len(answers) == 1 else digest(bases)
    time = 5 + rng.randrange(3) * 10**11
    seen: list[Observation] = [
        Prediction(key, f"r{number}", time, 1, content, answers, values=values)
    ]
    reward = rng.choice((None, None, 1_000_000, 0, 250_000, -3))
    truth: tuple[Reading, ...] | None = None
    if reward is None or rng.random() < 0.7:
        right = rng.random() < 0.5
        labels = [str(answer.label) if right else text() for answer in answers]
        truth = tuple([Reading(TEXT, label) for label in labels])
        if rng.random() < 0.1:
            truth = (rng.choice((Reading(INTEGER, 2), Reading(UNSCORABLE, "shape"))), *truth[1:])
    if rng.random() < 0.9:
        scope = ModelKey("n", "d", "", "")
        content = digest(truth, reward)
        seen.append(Feedback(scope, f"r{number}", time + 10**9, 1, content, truth, reward))
    return seen if rng.random() < 0.8 else seen[::-1]


@pytest.mark.parametrize("pool", [2, 40, 10**9])
@pytest.mark.parametrize("mode", [IngestMode.NORMAL, IngestMode.COUNT_AND_DROP])
def test_any_number_of_labels(pool: int, mode: IngestMode) -> None:
    """Few, many and all different ones, with the limit of outcomes reached and not."""
    rng = random.Random(pool)
    seen = [_labelled(rng, number, pool) for number in range(1500)]
    batches = [[one for each in seen[at : at + 90] for one in each] for at in range(0, 1500, 90)]
    # Corrections and repetitions come later.
    course = [(batch, mode, 0) for batch in [*batches, batches[3]]]
    slow = folded(course, is_native=False, noted=True)
    for max_cells in 50_000, 600:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("processor.domain.join.delta_accumulator._MAX_CELLS", max_cells)
            assert folded(course, is_native=True, noted=True) == slow


_SET_SCHEMAS = (
    Schema(),
    Schema(names=("l0", "l1", "l2")),
    Schema(names=("l0", "l2"), classes=("x", "", "l3")),
    Schema(classes=("l0", "l1", "l" * 300)),
    Schema(by_reward=True),
)


def _label_set(rng: random.Random, number: int, pool: int) -> list[Observation]:
    """A prediction of one to three label sets, with its feedback but for a few."""

    def labels() -> tuple[str, ...]:
        return tuple(sorted({f"l{rng.randrange(pool)}" for _ in range(rng.randrange(4))}))

    def truth_of(answer: Answer) -> Reading:
        kind = rng.randrange(12)
        if kind == 0:
            return rng.choice((Reading(INTEGER, 2), Reading(UNSCORABLE, "shape")))
        if kind == 1:
            return Reading(TEXT, f"l{rng.randrange(pool)}")
        if kind < 5:
            width = rng.choice((answer.width or 3, answer.width or 3, 3))
            return Reading(LABEL_SET, tuple(range(rng.randrange(width + 1))), width)
        return Reading(LABEL_SET, answer.labels if kind < 8 else labels())

    key = ModelKey("n", "d", "p", f"m{rng.randrange(3)}")
    schema, width = rng.choice(_SET_SCHEMAS), rng.choice((0, 3, 3))
    answers = tuple(
        [
            Answer(None, None, LABEL_SET, schema, width, labels())
            for _ in range(rng.choice((1, 1, 1, 3)))
        ]
    )
    bases = [content_digest(answer) for answer in answers]
    content = bases[0] if len(answers) == 1 else digest(bases)
    seen: list[Observation] = [Prediction(key, f"r{number}", 5, 1, content, answers)]
    reward = rng.choice((None, None, 1_000_000, 0, 250_000))
    truth: tuple[Reading, ...] | None = None
    if reward is None or rng.random() < 0.7:
        truth = tuple([truth_of(answer) for answer in answers])
    if rng.random() < 0.9:
        scope, content = ModelKey("n", "d", "", ""), digest(truth, reward)
        seen.append(Feedback(scope, f"r{number}", 10**9, 1, content, truth, reward))
    return seen if rng.random() < 0.8 else seen[::-1]


@pytest.mark.parametrize("pool", [2, 5, 10**9])
@pytest.mark.parametrize("mode", [IngestMode.NORMAL, IngestMode.COUNT_AND_DROP])
def test_any_label_sets(pool: int, mode: IngestMode) -> None:
    """Few, many and all different ones, with the limit of outcomes reached and not."""
    rng = random.Random(pool)
    seen = [_label_set(rng, number, pool) for number in range(1500)]
    batches = [[one for each in seen[at : at + 90] for one in each] for at in range(0, 1500, 90)]
    course = [(batch, mode, 0) for batch in [*batches, batches[3]]]
    slow = folded(course, is_native=False, noted=True)
    for max_cells in 50_000, 600:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("processor.domain.join.delta_accumulator._MAX_CELLS", max_cells)
            assert folded(course, is_native=True, noted=True) == slow


@pytest.mark.parametrize("is_set", [False, True], ids=["labels", "sets"])
def test_python_is_not_asked_of_each_label(is_set: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def label_plan(*parts: Any) -> Plan:
        nonlocal asked
        asked += 1
        return plans.label_plan(*parts)

    monkeypatch.setattr("processor.domain.join.native_fast_path.label_plan", label_plan)
    key, scope, seen = ModelKey("n", "d", "p", "m"), ModelKey("n", "d", "", ""), list[Observation]()
    for number in range(2000):
        answer, truth = Answer(f"a{number}", None, TEXT, Schema()), (Reading(TEXT, f"b{number}"),)
        if is_set:
            answer = Answer(None, None, LABEL_SET, Schema(), labels=(f"a{number}", "c"))
            truth = (Reading(LABEL_SET, (f"b{number}", "c")),)
        name = f"r{number}"
        seen.append(Prediction(key, name, 5, 1, content_digest(answer), (answer,)))
        seen.append(Feedback(scope, name, 6, 1, digest(truth, None), truth, None))
    fast = folded([(seen, IngestMode.NORMAL, 0)], is_native=True, noted=False)
    assert fast.telemetry.joined == 2000
    assert asked == 1


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
