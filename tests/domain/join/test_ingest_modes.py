"""Ingest modes of requests outside of memory: counted and not kept, counted before, or too late."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.join.fold import JoinFold
from processor.domain.join.id_set import IdSet, PythonIdSet, identity
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
from processor.domain.native import native, use_native
from processor.domain.timestamps import HOUR
from processor.domain.values import TEXT, Answer, Reading, Schema, digest
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import MODEL, feedback, prediction, restored, stored
from tests.support.domain.join_model import (
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
    """One partition: folds the observations that are put on it, and keeps the deltas."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.fold = JoinFold("log", 0, 3, HORIZON, self.telemetry)
        self.fold.judged, self.fold.unmatched = {}, {}
        self.now = 1000 * HOUR
        self._offset = 0
        self._deltas: list[DeltaBatch] = []

    def put(self, mode: IngestMode, *seen: Observation) -> None:
        builder = BatchBuilder()
        for one in seen:
            builder.add(one)
        batch = decode_observation(encode(builder.build("log", mode)))
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
    def kept(self) -> set[str]:
        return {one for (_, one), _ in self.fold.refs()}


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[Observation, ...]]:
    """Complete requests: a provisional prediction each, and at most one feedback."""
    found: list[tuple[Observation, ...]] = []
    for number, one in enumerate(draw(observations)):
        if isinstance(one, Prediction):
            first = one._replace(
                request_id=request_name(number), provisional=True, source_rank=DOCUMENT
            )
            second = feedback(first.request_id, draw(st.sampled_from("xyz")))._replace(
                scope=first.model, source_rank=DOCUMENT
            )
            found.append((first, second) if draw(st.booleans()) else (first,))
    return found


@given(pairs(), st.data())
def test_completed_requests_count_once_and_are_not_kept(
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
    assert not log.kept
    assert not log.fold.judged
    assert log.fold.state.waiting == log.fold.state.unmatched == 0


def test_a_completed_request_that_is_in_memory_stays_there() -> None:
    """Its feedback came from the stream first, and waits for the prediction of the document."""
    log = Log()
    log.put(IngestMode.NORMAL, feedback("r", "y", 9))
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True), feedback("r", "x", 5))
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True), feedback("r", "x", 5))
    sums, _ = expected([prediction("r", provisional=True), feedback("r", "y", 9)])
    assert log.sums == sums
    assert log.kept == {"r"}


def test_feedback_of_a_completed_request_waits_for_the_archive() -> None:
    log = Log()
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True))
    log.put(IngestMode.NORMAL, feedback("r", "x", 5))
    assert list(log.fold.unmatched or ()) == [(0, "r")]
    log.put(IngestMode.RESTORED, prediction("r", provisional=True))
    sums, _ = expected([prediction("r", provisional=True), feedback("r", "x", 5)])
    assert log.sums == sums


def test_completed_requests_are_forgotten_after_the_horizon() -> None:
    log = Log()
    log.put(IngestMode.COUNT_AND_DROP, prediction("r", provisional=True))
    assert len(log.fold.state.completed_ids) == 1
    log.expire()
    assert len(log.fold.state.completed_ids) == 0


@given(observations, st.data())
def test_late_feedback_counts_once(seen: list[Observation], data: st.DataObject) -> None:
    """Rule 18: the prediction was counted while it was in memory, so only the judgement counts."""
    predictions = [
        one._replace(request_id=request_name(number), provisional=False, source_rank=EVENT)
        for number, one in enumerate(seen)
        if isinstance(one, Prediction)
    ]
    log = Log()
    log.put(IngestMode.NORMAL, *predictions)
    log.expire()
    assert not log.kept
    judged = [
        feedback(one.request_id, data.draw(st.sampled_from("xy")))._replace(scope=one.model)
        for one in predictions
    ]
    documents = [one._replace(provisional=True, source_rank=DOCUMENT) for one in predictions]
    log.put(IngestMode.NORMAL, *judged, *judged)
    for document in documents:
        for _ in range(data.draw(st.integers(1, 3))):
            log.put(IngestMode.RESTORED, document)
        if data.draw(st.booleans()):
            log.restart()
    log.put(IngestMode.NORMAL, *judged)
    sums, _ = expected([*predictions, *judged])
    assert log.sums == sums
    # A correction takes back the judgement, but not the prediction.
    corrected = [
        one._replace(time=one.time + 1, digest=1, truth=(Reading(TEXT, "z"),)) for one in judged
    ]
    log.put(IngestMode.NORMAL, *corrected)
    sums, _ = expected([*predictions, *corrected])
    assert log.sums == sums


def test_feedback_that_is_too_late_is_only_counted_as_late() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, feedback("r"), prediction("s"), feedback("s"))
    before = log.sums
    log.put(
        IngestMode.EXPIRED, prediction("r", provisional=True), prediction("s", provisional=True)
    )
    assert log.telemetry.late == 1
    assert log.kept == {"s"}
    assert log.sums == before
    assert log.fold.state.unmatched == 0


def test_if_present_adds_no_request() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, prediction("r"))
    log.put(IngestMode.IF_PRESENT, feedback("r"), prediction("s"), feedback("s"))
    assert log.kept == {"r"}
    assert log.telemetry.catch_up_skipped == 2
    assert sum((counts.judged for counts in log.sums.values()), 0) == 2  # on both bases


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="ingest mode 9"):
        Log().put(9, prediction("r"))  # type: ignore[arg-type]


def test_judged_requests_are_noted_with_the_offset() -> None:
    log = Log()
    log.put(IngestMode.NORMAL, prediction("r"), prediction("s"))
    assert log.fold.judged == {}
    log.put(IngestMode.NORMAL, feedback("r"))
    assert log.fold.judged == {(0, "r"): 2}
    log.put(IngestMode.NORMAL, feedback("r", "y", 5))
    assert log.fold.judged == {(0, "r"): 3}


def test_the_outcome_of_a_request_names_its_items() -> None:
    log = Log()
    answers = (Answer("x", None, TEXT, Schema()), Answer(None, "shape", 0, Schema()))
    first = Prediction(MODEL, "r", 0, EVENT, digest(answers), answers)
    truth = (Reading(TEXT, "y"), Reading(TEXT, "y"))
    second = Feedback(ModelKey("seldon", "iris", "", ""), "r", 10**9, EVENT, 1, truth, None)
    log.put(IngestMode.NORMAL, first, second)
    outcome = outcome_of(log.fold, (0, "r"))
    assert outcome is not None
    (prediction_outcome,) = outcome.predictions
    item, unscorable = prediction_outcome.items
    assert unscorable is None
    assert item is not None
    assert msgspec.to_builtins(item) == {
        "predicted": "x",
        "actual": "y",
        "correct": False,
        "request_time": "1970-01-01T00:00:00Z",
        "feedback_time": "1970-01-01T00:00:01Z",
    }
    assert outcome_of(log.fold, (0, "unknown")) is None


@pytest.mark.parametrize("kind", [PythonIdSet, *([native.IdSet] if use_native else [])])
@given(st.lists(st.integers(1, 2**64 - 1), max_size=500), st.lists(st.integers(1, 2**64 - 1)))
def test_the_id_set_is_a_set(
    kind: Callable[[bytes], IdSet], numbers: list[int], others: list[int]
) -> None:
    found = kind(b"")
    assert [found.add(number) for number in numbers] == [
        number not in numbers[:i] for i, number in enumerate(numbers)
    ]
    assert len(found) == len(set(numbers))
    for number in (*numbers, *others):
        assert (number in found) == (number in set(numbers))
    again = kind(found.content())
    assert all(number in again for number in numbers)


def test_identities_differ_if_names_do() -> None:
    assert len({identity("a", "b", "c"), identity("ab", "", "c"), identity("a", "bc", "")}) == 3
