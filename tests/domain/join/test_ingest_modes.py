"""Requests that are not in memory: counted and not kept, counted before, or too late."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.join.fold import JoinFold
from processor.domain.join.id_set import IdSet, identity
from processor.domain.join.outcomes import outcome_of
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import (
    DOCUMENT,
    EVENT,
    BatchBuilder,
    Feedback,
    IngestMode,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.timestamps import HOUR
from processor.domain.values import TEXT, Answer, Reading, Schema, digest
from processor.telemetry import Telemetry
from tests.domain.join.test_join_properties import MODEL, feedback, prediction, restored, stored
from tests.support.join_model import (
    Observation,
    Sums,
    expected,
    observations,
    request_name,
    sums_of,
    unpacked,
)

HORIZON = 5 * HOUR


class Log:
    """One partition: what is put on it is folded, and its deltas are kept."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.fold = JoinFold("epoch", 0, 3, HORIZON, self.telemetry)
        self.fold.judged, self.fold.unmatched = {}, {}
        self.now = 1000 * HOUR
        self._offset = 0
        self._deltas: list[DeltaBatch] = []

    def put(self, mode: IngestMode, *seen: Observation) -> None:
        builder = BatchBuilder()
        for one in seen:
            builder.add(one)
        batch = decode_observation(encode(builder.build("epoch", mode)))
        assert isinstance(batch, ObservationBatch)
        self._offset += 1
        self._deltas += unpacked(self.fold.apply(self._offset, self.now, batch)).values()

    def restart(self) -> None:
        self.fold.restore(restored(stored(self.fold.state)))

    def expire(self) -> None:
        self.now += HORIZON + 2 * HOUR
        self.fold.advance(self.now)

    @property
    def sums(self) -> Sums:
        return sums_of(self._deltas)

    @property
    def held(self) -> set[str]:
        return {one for (_, one), _ in self.fold.refs()}


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[Observation, ...]]:
    """All that there is of some requests: a weak prediction each, and a feedback or none."""
    found: list[tuple[Observation, ...]] = []
    for number, one in enumerate(draw(observations)):
        if isinstance(one, Prediction):
            made = one._replace(
                request_id=request_name(number), provisional=True, source_rank=DOCUMENT
            )
            judged = feedback(made.request_id, draw(st.sampled_from("xyz")))._replace(
                scope=made.model, source_rank=DOCUMENT
            )
            found.append((made, judged) if draw(st.booleans()) else (made,))
    return found


@settings(max_examples=150, deadline=None)
@given(pairs(), st.data())
def test_what_is_settled_counts_once_and_is_not_kept(
    found: list[tuple[Observation, ...]], data: st.DataObject
) -> None:
    log = Log()
    again = data.draw(st.lists(st.sampled_from(found), max_size=5)) if found else []
    for pair in data.draw(st.permutations(found + again)):
        log.put(IngestMode.COUNT_AND_DROP, *pair)
        if data.draw(st.booleans()):
            log.restart()
        if data.draw(st.booleans()):
            log.put(IngestMode.NORMAL, pair[0])  # its event, after all
    sums, _ = expected(one for pair in found for one in pair)
    assert log.sums == sums
    assert not log.held
    assert not log.fold.judged
    assert log.fold.state.waiting == log.fold.state.unmatched == 0


def test_a_settled_request_that_is_in_memory_stays_there() -> None:
    """Feedback that came by the stream first: the document is the prediction that it waits for."""
    log = Log()
    log.put(IngestMode.NORMAL, feedback("r", "y", 9))
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True), feedback("r", "x", 5))
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True), feedback("r", "x", 5))
    sums, _ = expected([prediction("r", provisional=True), feedback("r", "y", 9)])
    assert log.sums == sums
    assert log.held == {"r"}


def test_feedback_of_a_settled_request_waits_for_the_archive() -> None:
    log = Log()
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True))
    log.put(IngestMode.NORMAL, feedback("r", "x", 5))
    assert list(log.fold.unmatched or ()) == [(0, "r")]
    log.put(IngestMode.RESTORED, prediction("r", provisional=True))
    sums, _ = expected([prediction("r", provisional=True), feedback("r", "x", 5)])
    assert log.sums == sums


def test_what_was_settled_is_forgotten_after_the_horizon() -> None:
    log = Log()
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True))
    assert len(log.fold.state.completed_ids) == 1
    log.expire()
    assert len(log.fold.state.completed_ids) == 0


@settings(max_examples=150, deadline=None)
@given(observations, st.data())
def test_late_truth_counts_once(seen: list[Observation], data: st.DataObject) -> None:
    """Rule 18: the prediction was counted when it was in memory, so only the judgement is added."""
    made = [
        one._replace(request_id=request_name(number), provisional=False, source_rank=EVENT)
        for number, one in enumerate(seen)
        if isinstance(one, Prediction)
    ]
    log = Log()
    log.put(IngestMode.NORMAL, *made)
    log.expire()
    assert not log.held
    judged = [
        feedback(one.request_id, data.draw(st.sampled_from("xy")))._replace(scope=one.model)
        for one in made
    ]
    documents = [one._replace(provisional=True, source_rank=DOCUMENT) for one in made]
    log.put(IngestMode.NORMAL, *judged, *judged)
    for document in documents:
        for _ in range(data.draw(st.integers(1, 3))):
            log.put(IngestMode.RESTORED, document)
        if data.draw(st.booleans()):
            log.restart()
    log.put(IngestMode.NORMAL, *judged)
    sums, _ = expected([*made, *judged])
    assert log.sums == sums
    # A correction takes the judgement back, and not the prediction.
    corrected = [
        one._replace(time=one.time + 1, digest=1, truth=(Reading(TEXT, "z"),)) for one in judged
    ]
    log.put(IngestMode.NORMAL, *corrected)
    sums, _ = expected([*made, *corrected])
    assert log.sums == sums


def test_feedback_that_is_too_late_is_counted_as_that_alone() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, feedback("r"), prediction("s"), feedback("s"))
    before = log.sums
    log.put(
        IngestMode.EXPIRED, prediction("r", provisional=True), prediction("s", provisional=True)
    )
    assert log.telemetry.late == 1
    assert log.held == {"s"}
    assert log.sums == before
    assert log.fold.state.unmatched == 0


def test_what_is_known_only_adds_no_request() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, prediction("r"))
    log.put(IngestMode.IF_PRESENT, feedback("r"), prediction("s"), feedback("s"))
    assert log.held == {"r"}
    assert log.telemetry.catch_up_skipped == 2
    assert sum((counts.judged for counts in log.sums.values()), 0) == 2  # on both bases


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="ingest mode 9"):
        Log().put(9, prediction("r"))  # type: ignore[arg-type]


def test_who_was_judged_is_noted_with_its_offset() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, prediction("r"), prediction("s"))
    assert log.fold.judged == {}
    log.put(IngestMode.NORMAL, feedback("r"))
    assert log.fold.judged == {(0, "r"): 2}
    log.put(IngestMode.NORMAL, feedback("r", "y", 5))
    assert log.fold.judged == {(0, "r"): 3}


def test_the_outcome_of_a_request_names_its_items() -> None:
    log = Log()
    answers = (Answer("x", None, TEXT, Schema()), Answer(None, "regression", 0, Schema()))
    made = Prediction(MODEL, "r", 0, EVENT, digest(answers), answers)
    truth = (Reading(TEXT, "y"), Reading(TEXT, "y"))
    said = Feedback(ModelKey("seldon", "iris", "", ""), "r", 10**9, EVENT, 1, truth, None)
    log.put(IngestMode.NORMAL, made, said)
    outcome = outcome_of(log.fold, (0, "r"))
    assert outcome is not None
    (of_model,) = outcome.predictions
    first, second = of_model.items
    assert second is None
    assert first is not None
    assert msgspec.to_builtins(first) == {
        "predicted": "x",
        "actual": "y",
        "correct": False,
        "request_time": "1970-01-01T00:00:00Z",
        "feedback_time": "1970-01-01T00:00:01Z",
    }
    assert outcome_of(log.fold, (0, "unknown")) is None


@given(st.lists(st.integers(1, 2**64 - 1), max_size=500), st.lists(st.integers(1, 2**64 - 1)))
def test_the_set_of_identities_is_a_set(numbers: list[int], others: list[int]) -> None:
    found = IdSet()
    assert [found.add(number) for number in numbers] == [
        number not in numbers[:i] for i, number in enumerate(numbers)
    ]
    assert len(found) == len(set(numbers))
    for number in (*numbers, *others):
        assert (number in found) == (number in set(numbers))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=IdSet)
    assert all(number in again for number in numbers)


def test_identities_tell_names_apart() -> None:
    assert len({identity("a", "b", "c"), identity("ab", "", "c"), identity("a", "bc", "")}) == 3
