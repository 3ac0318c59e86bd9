"""The join comes to the same counts whatever the order, the repetition and the cut into batches."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.domain.join.fold import JoinFold
from processor.domain.join.state import JoinState
from processor.domain.join.vacuum import vacuum
from processor.domain.log.deltas import DeltaBatch, partition_of
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
from processor.domain.timestamps import HOUR, MINUTE
from processor.domain.values import TEXT, Answer, Reading, Schema, digest
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry
from tests.support.join_model import (
    Observation,
    expected,
    gauges,
    observations,
    request_name,
    sums_of,
    sums_of_standings,
    unpacked,
)
from tests.support.snapshot_files import write

CASES = settings(max_examples=150, deadline=None)
EPOCH, TARGETS = "epoch", 3


def on_the_log(batch: ObservationBatch) -> ObservationBatch:
    """The batch as it is read back."""
    record = decode_observation(encode(batch))
    assert isinstance(record, ObservationBatch)
    return record


def pack(*seen: Observation) -> ObservationBatch:
    """A batch of some observations."""
    builder = BatchBuilder()
    for one in seen:
        builder.add(one)
    return on_the_log(builder.build(EPOCH))


def stored(state: JoinState) -> bytes:
    """The state as a snapshot file holds it."""
    capture = SnapshotFile(Path("unused"), "app", EPOCH, 0, TARGETS, 0).capture(0, state)
    assert capture.step(math.inf)
    return b"".join(capture.parts)


def restored(content: bytes) -> JoinState:
    """The state that a snapshot file holds."""
    with tempfile.TemporaryDirectory() as folder:
        file = SnapshotFile(Path(folder), "app", EPOCH, 0, TARGETS, 0)
        write(file, [content])
        snapshot = file.read()
    assert snapshot is not None
    return snapshot.state


class Cluster:
    """The join of all partitions of the observations, and the deltas that it sent."""

    def __init__(self, partitions: int, forgets: bool = False) -> None:
        self.forgets = forgets
        """Whether a start drops what no request speaks of."""
        self.folds = [
            JoinFold(EPOCH, source, TARGETS, None, Telemetry()) for source in range(partitions)
        ]
        self.sent: list[DeltaBatch] = []
        self.builders = [BatchBuilder() for _ in self.folds]
        self.offset = 0
        self.newest: dict[tuple[int, int], int] = {}

    def add(self, one: Observation) -> None:
        self.builders[partition_of(one.request_id, len(self.folds))].add(one)

    def send(self) -> None:
        """End the batches that are being packed, and fold them."""
        self.offset += 7  # ticks take offsets too
        for source, builder in enumerate(self.builders):
            batch = on_the_log(builder.build(EPOCH))
            deltas = unpacked(self.folds[source].apply(self.offset, 0, batch))
            for target, sent in deltas.items():
                assert (sent.source, sent.offset) == (source, self.offset)
                assert sent.prev == self.newest.get((source, target), -1)
                self.newest[source, target] = self.offset
                for model in sent.models:
                    assert partition_of("\0".join(model), TARGETS) == target
                self.sent.append(sent)

    def restart(self) -> None:
        """Every worker stops and starts from its snapshot."""
        for source, fold in enumerate(self.folds):
            fresh = JoinFold(EPOCH, source, TARGETS, None, Telemetry())
            state = restored(stored(fold.state))
            if self.forgets:
                vacuum(state)
            fresh.restore(state)
            self.folds[source] = fresh


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Observation], list[Observation], list[str]]:
    """Observations; the same in another order with repeats; what comes after each of these."""
    seen = draw(observations)
    again = draw(st.lists(st.sampled_from(seen), max_size=6)) if seen else []
    order = draw(st.permutations(seen + again))
    steps = st.sampled_from(["", "", "send", "restart"])
    return seen, order, draw(st.lists(steps, min_size=len(order), max_size=len(order)))


@CASES
@given(courses(), st.integers(1, 3), st.booleans())
def test_any_order_repetition_and_split(
    course: tuple[list[Observation], list[Observation], list[str]], partitions: int, forgets: bool
) -> None:
    """Rules 8 to 12 and 14; design decisions 2 and 4."""
    seen, order, steps = course
    cluster = Cluster(partitions, forgets)
    for one, step in zip(order, steps, strict=True):
        cluster.add(one)
        if step:
            cluster.send()
        if step == "restart":
            cluster.restart()
    cluster.send()
    sums, counted = expected(seen)
    assert sums_of(cluster.sent) == sums
    assert sums_of_standings(cluster.folds) == sums
    assert gauges(fold.state for fold in cluster.folds) == counted


@CASES
@given(observations, st.integers(0, 14))
def test_a_snapshot_changes_nothing(seen: list[Observation], cut: int) -> None:
    """Deltas after a restore are those without it, byte by byte: what is sent again is the same."""
    whole, before = (JoinFold(EPOCH, 0, TARGETS, None, Telemetry()) for _ in range(2))
    for offset, one in enumerate(seen):
        if offset == cut:
            before.restore(restored(stored(before.state)))
        deltas = [fold.apply(offset, 0, pack(one)) for fold in (whole, before)]
        assert encode(deltas[0]) == encode(deltas[1])
    assert stored(whole.state) == stored(before.state)


@CASES
@given(observations)
def test_repetition_sends_nothing(seen: list[Observation]) -> None:
    """Rule 12: what is known already makes no delta."""
    fold = JoinFold(EPOCH, 0, TARGETS, None, Telemetry())
    fold.apply(0, 0, pack(*seen))
    assert fold.apply(1, 0, pack(*reversed(seen), *seen)) == {}


# Telemetry and expiry

MODEL = ModelKey("seldon", "iris", "default", "a")


def prediction(
    request_id: str, label: str = "x", time: int = 0, provisional: bool = False
) -> Prediction:
    answers = (Answer(label, None, TEXT, Schema()),)
    source_rank = DOCUMENT if provisional else EVENT
    return Prediction(MODEL, request_id, time, source_rank, digest(answers), answers, provisional)


def feedback(request_id: str, label: str = "x", time: int = 1) -> Feedback:
    truth = (Reading(TEXT, label),)
    return Feedback(MODEL, request_id, time, EVENT, digest(truth), truth, None)


def test_what_is_repeated_superseded_corrected() -> None:
    """Rule 12: equal content at another time is a duplicate, another content supersedes."""
    telemetry = Telemetry()
    fold = JoinFold(EPOCH, 0, 1, None, telemetry)

    def counted() -> tuple[int, int, int, int]:
        return telemetry.joined, telemetry.duplicates, telemetry.superseded, telemetry.corrections

    fold.apply(0, 0, pack(prediction("r"), feedback("r", "x", 5)))
    assert counted() == (1, 0, 0, 0)
    fold.apply(1, 0, pack(prediction("r"), feedback("r", "x", 6)))
    assert counted() == (1, 2, 0, 0)
    fold.apply(2, 0, pack(feedback("r", "y", 7)))
    assert counted() == (1, 2, 1, 1)
    fold.apply(3, 0, pack(feedback("r", "z", 4)))  # late and lost
    assert counted() == (1, 2, 2, 1)
    assert telemetry.feedback_delay.buckets[0] == 1


def test_a_weak_prediction_yields_to_an_event_of_its_predictor() -> None:
    """Rule 14: also where its node is another one, and whichever is later."""
    document = prediction("r", "x", time=3 * MINUTE, provisional=True)._replace(
        model=MODEL._replace(model="b")
    )
    event = prediction("r", "y", time=MINUTE)
    for order in ((document, event), (event, document)):
        fold = JoinFold(EPOCH, 0, 1, None, Telemetry())
        batches = [unpacked(fold.apply(i, 0, pack(one))) for i, one in enumerate(order)]
        sums = sums_of(batch for deltas in batches for batch in deltas.values())
        assert list(sums) == [(MODEL, 0, 1)]


@pytest.mark.parametrize("first", [("", ""), ("default", ""), ("", "a")])
def test_the_scope_decides_between_rewards_of_one_version(first: tuple[str, str]) -> None:
    """Rule 11 and 12: the same reward at the same time, with the model's names and without."""
    made = [prediction("r"), prediction("r")._replace(model=MODEL._replace(predictor="canary"))]
    made.append(prediction("r")._replace(model=MODEL._replace(model="b")))
    named = Feedback(MODEL, "r", 9, EVENT, digest(1), None, 1_000_000)
    bare = named._replace(scope=ModelKey("seldon", "iris", *first))
    for order in ((named, bare), (bare, named)):
        fold = JoinFold(EPOCH, 0, 1, None, Telemetry())
        fold.apply(0, 0, pack(*made, *order))
        judged = {
            fold.state.models[one.prediction.model]
            for one in fold.joined_predictions()
            if one.outcome is not None and one.outcome.counts.judged
        }
        assert judged == {MODEL}


touches = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 20 * MINUTE, HOUR, 3 * HOUR + 1, -HOUR]),
        st.integers(0, 3).map(request_name),
        st.sampled_from(["prediction", "feedback", "tick", "restart"]),
    ),
    min_size=5,
    max_size=25,
)


@CASES
@given(touches, st.sampled_from([HOUR, 90 * MINUTE, 5 * HOUR]))
def test_requests_expire_by_log_time(course: list[tuple[int, str, str]], horizon: int) -> None:
    """Design decision 8: kept for the horizon since the first touch, and not for ever."""
    telemetry = Telemetry()
    fold = JoinFold(EPOCH, 0, 1, horizon, telemetry)
    first_seen_hour: dict[str, int] = {}
    kinds: dict[str, set[str]] = {}
    now = clock = 1000 * HOUR
    fold.advance(now)
    left: Counter[bool] = Counter()
    for step, request_id, kind in course:
        if kind == "restart":
            fold.restore(restored(stored(fold.state)))
            continue
        clock += step  # of one broker and another: it can go back
        now = max(now, clock)
        fold.advance(clock)
        held = {one for (_, one), _ in fold.refs()}
        for one in set(first_seen_hour) - held:
            assert now - first_seen_hour.pop(one) > horizon
            left[kinds.pop(one) == {"feedback"}] += 1
        assert all(now - at < horizon + 2 * HOUR for at in first_seen_hour.values())
        assert telemetry.late == left[True]
        if kind != "tick":
            made = prediction(request_id) if kind == "prediction" else feedback(request_id)
            fold.apply(0, clock, pack(made))
            first_seen_hour.setdefault(request_id, now)
            kinds.setdefault(request_id, set()).add(kind)
        assert {one for (_, one), _ in fold.refs()} == set(first_seen_hour)
        assert fold.state.log_time == now
        assert fold.state.waiting == sum(said == {"prediction"} for said in kinds.values())
        assert fold.state.unmatched == sum(said == {"feedback"} for said in kinds.values())


def test_expiry_takes_nothing_back() -> None:
    """What was counted stays counted; a repeat of what has left counts as new."""
    fold = JoinFold(EPOCH, 0, 1, HOUR, Telemetry())
    (first,) = fold.apply(0, 10 * HOUR, pack(prediction("r"), feedback("r"))).values()
    assert fold.apply(1, 20 * HOUR, pack()) == {}
    assert list(fold.joined_predictions()) == []
    (again,) = fold.apply(2, 20 * HOUR, pack(prediction("r"), feedback("r"))).values()
    assert (again.prev, again.deltas) == (0, first.deltas)


def test_event_time_moves_nothing() -> None:
    """Design decision 8: one ce_time in 2099 would empty the join."""
    fold = JoinFold(EPOCH, 0, 1, HOUR, Telemetry())
    fold.apply(0, 10 * HOUR, pack(prediction("r")))
    fold.apply(1, 10 * HOUR + 1, pack(prediction("s", time=1_000_000 * HOUR)))
    assert len(list(fold.joined_predictions())) == 2


def test_many_requests_over_hours() -> None:
    """Enough to make tables grow and shrink; the first way of most of them is the short one."""
    log = [(hour, number) for hour in range(6) for number in range(hour * 700, hour * 700 + 700)]
    fold = JoinFold(EPOCH, 0, 1, 2 * HOUR, Telemetry())
    sent: list[DeltaBatch] = []
    seen: list[Observation] = []
    folded = 0
    for hour, number in log:
        label = "xyz"[number % 3]
        made = prediction(request_name(number), label, number)
        several = made._replace(model=MODEL._replace(predictor="canary"))
        rows: list[Observation] = [made, several] if number % 10 == 0 else [made]
        if number % 4:
            rows.append(feedback(request_name(number), "xy"[number % 2], number + 1))
        if number % 9 == 0:
            rows.append(feedback(request_name(number), "z", number + 2))
        seen += rows
        if number % 50 == 49:
            batch = pack(*seen[max(0, folded - 5) :])  # with some repeats
            folded = len(seen)
            sent += unpacked(fold.apply(number, (1000 + hour) * HOUR, batch)).values()
    sums, _ = expected(seen)
    assert sums_of(sent) == sums
    held = {request_id for (_, request_id), _ in fold.refs()}
    assert held == {request_name(number) for hour, number in log if hour >= 3}
    left = [one for one in seen if one.request_id in held]
    sums, counted = expected(left)
    assert sums_of_standings([fold]) == sums
    assert gauges([fold.state]) == counted
    assert 0 < sum(map(len, fold.state.object_requests)) < fold.state.packed_requests[0].count


@pytest.mark.parametrize("slices", [1, 7, 40])
def test_a_snapshot_is_that_of_its_beginning(slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while it is copied, in every way there is, is copied as it was."""
    monkeypatch.setattr("processor.stream.snapshot_file._SLICE", slices)
    fold = JoinFold(EPOCH, 0, 1, 3 * HOUR, Telemetry())
    for hour in range(3):
        made = [prediction(request_name(n)) for n in range(hour * 800, hour * 800 + 800)]
        fold.apply(hour, (1000 + hour) * HOUR, pack(*made))
    before = stored(fold.state)
    capture = SnapshotFile(Path("unused"), "app", EPOCH, 0, TARGETS, 0).capture(0, fold.state)
    step = changed = 0
    while not capture.step(0.0):
        step += 1
        first = 800 * (step % 4)
        canary = prediction(request_name(first + step))._replace(
            model=MODEL._replace(predictor="canary")
        )
        # The table of a deployment that comes meanwhile is no part of it.
        other = canary._replace(model=MODEL._replace(deployment=f"new-{step}"))
        changes: list[Observation] = [canary, other]
        changes += [prediction(request_name(2400 + step * 40 + n)) for n in range(40)]
        changes += [feedback(request_name(first + step * 7 + n), "y", step) for n in range(7)]
        fold.apply(10 + step, (1002 + step // 3) * HOUR, pack(*changes))
        if (copy_on_write := fold.state.packed_requests[0].copy_on_write) is not None:
            # Neither what was taken already, nor what there was not yet.
            assert all(
                copy_on_write.start <= number < copy_on_write.stop
                for number in copy_on_write.preserved
            )
            changed += len(copy_on_write.preserved)
    assert step > 2
    assert changed
    assert b"".join(capture.parts) == before
    again = restored(before)
    assert [table.count for table in again.packed_requests] == [1600]
    assert stored(again) == before


def test_what_is_forgotten_is_as_if_it_had_expired() -> None:
    telemetry = Telemetry()
    fold = JoinFold(EPOCH, 0, 1, None, telemetry)
    fold.apply(0, 10 * HOUR, pack(prediction(request_name(0)), prediction("r"), feedback("s")))
    fold.apply(1, 11 * HOUR, pack(prediction(request_name(1)), feedback(request_name(1))))
    assert fold.oldest() == 10
    approx_bytes = fold.approx_bytes
    fold.evict(11)
    assert (telemetry.evicted_requests, telemetry.late) == (3, 1)
    assert (fold.state.waiting, fold.state.unmatched) == (0, 0)
    assert [request_id for (_, request_id), _ in fold.refs()] == [request_name(1)]
    assert fold.oldest() == 11
    assert fold.approx_bytes < approx_bytes
    fold.evict(11)
    assert telemetry.evicted_requests == 3
