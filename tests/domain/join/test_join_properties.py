"""The join gives the same counts for any order, repetition and division into batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.join.fold import JoinFold
from processor.domain.join.vacuum import vacuum
from processor.domain.log.deltas import DeltaBatch, partition_of
from processor.domain.log.observations import (
    EVENT,
    BatchBuilder,
    Feedback,
)
from processor.domain.log.records import encode
from processor.domain.model_key import ModelKey
from processor.domain.timestamps import HOUR, MINUTE
from processor.domain.values import digest
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import (
    LOG_ID,
    MODEL,
    TARGETS,
    feedback,
    on_the_log,
    pack,
    prediction,
    restored,
    stored,
)
from tests.support.domain.join_model import (
    Observation,
    expected,
    gauges,
    observations,
    request_name,
    sums_in_memory,
    sums_of,
    unpacked,
)


class Cluster:
    """The join of all partitions of the observations, and the deltas that it sent."""

    def __init__(self, partitions: int, vacuums: bool = False) -> None:
        self.vacuums = vacuums
        """Whether a restart removes unused entries from the state."""
        self.folds = [
            JoinFold(LOG_ID, source, TARGETS, None, Telemetry()) for source in range(partitions)
        ]
        self.sent: list[DeltaBatch] = []
        self.builders = [BatchBuilder() for _ in self.folds]
        self.offset = 0
        self.newest: dict[tuple[int, int], int] = {}

    def add(self, one: Observation) -> None:
        self.builders[partition_of(one.request_id, len(self.folds))].add(one)

    def send(self) -> None:
        """Build the batches and fold them."""
        self.offset += 7  # heartbeats take offsets too
        for source, builder in enumerate(self.builders):
            batch = on_the_log(builder.build(LOG_ID))
            deltas = unpacked(self.folds[source].apply(self.offset, 0, batch))
            for target, sent in deltas.items():
                assert (sent.source, sent.offset) == (source, self.offset)
                assert sent.prev == self.newest.get((source, target), -1)
                self.newest[source, target] = self.offset
                for model in sent.models:
                    assert partition_of("\0".join(model), TARGETS) == target
                self.sent.append(sent)

    def restart(self) -> None:
        """Restart every fold from its snapshot."""
        for source, fold in enumerate(self.folds):
            fresh = JoinFold(LOG_ID, source, TARGETS, None, Telemetry())
            state = restored(stored(fold.state))
            if self.vacuums:
                vacuum(state)
            fresh.restore(state)
            self.folds[source] = fresh


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Observation], list[Observation], list[str]]:
    """Observations, the same in another order with repeats, and the step after each of these."""
    seen = draw(observations)
    again = draw(st.lists(st.sampled_from(seen), max_size=6)) if seen else []
    order = draw(st.permutations(seen + again))
    steps = st.sampled_from(["", "", "send", "restart"])
    return seen, order, draw(st.lists(steps, min_size=len(order), max_size=len(order)))


@given(courses(), st.integers(1, 3), st.booleans())
def test_any_order_repetition_and_split(
    course: tuple[list[Observation], list[Observation], list[str]], partitions: int, vacuums: bool
) -> None:
    """Counting rules 8 to 12 and 14."""
    seen, order, steps = course
    cluster = Cluster(partitions, vacuums)
    for one, step in zip(order, steps, strict=True):
        cluster.add(one)
        if step:
            cluster.send()
        if step == "restart":
            cluster.restart()
    cluster.send()
    sums, counted = expected(seen)
    assert sums_of(cluster.sent) == sums
    assert sums_in_memory(cluster.folds) == sums
    assert gauges(fold.state for fold in cluster.folds) == counted


@given(observations, st.integers(0, 14))
def test_a_snapshot_changes_nothing(seen: list[Observation], cut: int) -> None:
    """A restore changes no byte of the deltas, so deltas that are sent again are equal."""
    whole, before = (JoinFold(LOG_ID, 0, TARGETS, None, Telemetry()) for _ in range(2))
    for offset, one in enumerate(seen):
        if offset == cut:
            before.restore(restored(stored(before.state)))
        deltas = [fold.apply(offset, 0, pack(one)) for fold in (whole, before)]
        assert encode(deltas[0]) == encode(deltas[1])
    assert stored(whole.state) == stored(before.state)


@given(observations)
def test_repetition_sends_nothing(seen: list[Observation]) -> None:
    """Counting rule 12: a repeated observation makes no delta."""
    fold = JoinFold(LOG_ID, 0, TARGETS, None, Telemetry())
    fold.apply(0, 0, pack(*seen))
    assert fold.apply(1, 0, pack(*reversed(seen), *seen)) == {}


# Telemetry and expiry


def test_duplicates_superseded_and_corrections_are_counted() -> None:
    """Counting rule 12: equal content at another time is a duplicate, another content supersedes."""
    telemetry = Telemetry()
    fold = JoinFold(LOG_ID, 0, 1, None, telemetry)

    def counted() -> tuple[int, int, int, int]:
        return telemetry.joined, telemetry.duplicates, telemetry.superseded, telemetry.corrections

    fold.apply(0, 0, pack(prediction("r"), feedback("r", "x", 5)))
    assert counted() == (1, 0, 0, 0)
    fold.apply(1, 0, pack(prediction("r"), feedback("r", "x", 6)))
    assert counted() == (1, 2, 0, 0)
    fold.apply(2, 0, pack(feedback("r", "y", 7)))
    assert counted() == (1, 2, 1, 1)
    fold.apply(3, 0, pack(feedback("r", "z", 4)))  # an older version
    assert counted() == (1, 2, 2, 1)
    assert telemetry.feedback_delay.buckets[0] == 1


def test_a_provisional_prediction_yields_to_an_event_of_its_predictor() -> None:
    """Counting rule 14: even if the event is of another node, and in either order."""
    document = prediction("r", "x", time=3 * MINUTE, provisional=True)._replace(
        model=MODEL._replace(model="b")
    )
    event = prediction("r", "y", time=MINUTE)
    for order in ((document, event), (event, document)):
        fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
        batches = [unpacked(fold.apply(i, 0, pack(one))) for i, one in enumerate(order)]
        sums = sums_of(batch for deltas in batches for batch in deltas.values())
        assert list(sums) == [(MODEL, 0, 1)]


@pytest.mark.parametrize("first", [("", ""), ("default", ""), ("", "a")])
def test_the_scope_decides_between_rewards_of_one_version(first: tuple[str, str]) -> None:
    """Counting rules 11 and 12: the same reward at the same time, with the model's names and without."""
    predictions = [
        prediction("r"),
        prediction("r")._replace(model=MODEL._replace(predictor="canary")),
        prediction("r")._replace(model=MODEL._replace(model="b")),
    ]
    named = Feedback(MODEL, "r", 9, EVENT, digest(1), None, 1_000_000)
    bare = named._replace(scope=ModelKey("seldon", "iris", *first))
    for order in ((named, bare), (bare, named)):
        fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
        fold.apply(0, 0, pack(*predictions, *order))
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
        st.sampled_from(["prediction", "feedback", "heartbeat", "restart"]),
    ),
    min_size=5,
    max_size=25,
)


@given(touches, st.sampled_from([HOUR, 90 * MINUTE, 5 * HOUR]))
def test_requests_expire_by_log_time(course: list[tuple[int, str, str]], horizon: int) -> None:
    """A request is kept for the horizon since its first observation, and hardly longer."""
    telemetry = Telemetry()
    fold = JoinFold(LOG_ID, 0, 1, horizon, telemetry)
    first_seen_hour: dict[str, int] = {}
    kinds: dict[str, set[str]] = {}
    now = clock = 1000 * HOUR
    fold.advance(now)
    expired: Counter[bool] = Counter()
    for step, request_id, kind in course:
        if kind == "restart":
            fold.restore(restored(stored(fold.state)))
            continue
        clock += step  # it goes back when another broker's clock is behind
        now = max(now, clock)
        fold.advance(clock)
        kept = {one for (_, one), _ in fold.refs()}
        for one in set(first_seen_hour) - kept:
            assert now - first_seen_hour.pop(one) > horizon
            expired[kinds.pop(one) == {"feedback"}] += 1
        assert all(now - at < horizon + 2 * HOUR for at in first_seen_hour.values())
        assert telemetry.late == expired[True]
        if kind != "heartbeat":
            observation = prediction(request_id) if kind == "prediction" else feedback(request_id)
            fold.apply(0, clock, pack(observation))
            first_seen_hour.setdefault(request_id, now)
            kinds.setdefault(request_id, set()).add(kind)
        assert {one for (_, one), _ in fold.refs()} == set(first_seen_hour)
        assert fold.state.log_time == now
        assert fold.state.waiting == sum(seen == {"prediction"} for seen in kinds.values())
        assert fold.state.unmatched == sum(seen == {"feedback"} for seen in kinds.values())


def test_expiry_takes_nothing_back() -> None:
    """Expired requests stay counted; a repeat of an expired request counts as new."""
    fold = JoinFold(LOG_ID, 0, 1, HOUR, Telemetry())
    (first,) = fold.apply(0, 10 * HOUR, pack(prediction("r"), feedback("r"))).values()
    assert fold.apply(1, 20 * HOUR, pack()) == {}
    assert list(fold.joined_predictions()) == []
    (again,) = fold.apply(2, 20 * HOUR, pack(prediction("r"), feedback("r"))).values()
    assert (again.prev, again.deltas) == (0, first.deltas)


def test_event_time_moves_nothing() -> None:
    """If event time moved log time, one `ce-time` in 2099 would empty the join."""
    fold = JoinFold(LOG_ID, 0, 1, HOUR, Telemetry())
    fold.apply(0, 10 * HOUR, pack(prediction("r")))
    fold.apply(1, 10 * HOUR + 1, pack(prediction("s", time=1_000_000 * HOUR)))
    assert len(list(fold.joined_predictions())) == 2


def test_many_requests_over_hours() -> None:
    """Enough requests to make tables grow and shrink; the fast path applies most of them."""
    log = [(hour, number) for hour in range(6) for number in range(hour * 700, hour * 700 + 700)]
    fold = JoinFold(LOG_ID, 0, 1, 2 * HOUR, Telemetry())
    sent: list[DeltaBatch] = []
    seen: list[Observation] = []
    folded = 0
    for hour, number in log:
        label = "xyz"[number % 3]
        first = prediction(request_name(number), label, number)
        second = first._replace(model=MODEL._replace(predictor="canary"))
        rows: list[Observation] = [first, second] if number % 10 == 0 else [first]
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
    kept = {request_id for (_, request_id), _ in fold.refs()}
    assert kept == {request_name(number) for hour, number in log if hour >= 3}
    sums, counted = expected(one for one in seen if one.request_id in kept)
    assert sums_in_memory([fold]) == sums
    assert gauges([fold.state]) == counted
    ((_, others),) = fold.state.requests.outline()
    assert 0 < len(others) < len(fold.state.requests) / 5


@pytest.mark.parametrize("slices", [1, 7, 40])
def test_a_snapshot_holds_the_state_at_its_beginning(
    slices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buckets that change in any way while the state is copied are copied as they were."""
    monkeypatch.setattr("processor.stream.snapshot_file._SLICE", slices)
    fold = JoinFold(LOG_ID, 0, 1, 3 * HOUR, Telemetry())
    for hour in range(3):
        seen = [prediction(request_name(n)) for n in range(hour * 800, hour * 800 + 800)]
        fold.apply(hour, (1000 + hour) * HOUR, pack(*seen))
    before = stored(fold.state)
    ((buckets, others),) = fold.state.requests.outline()
    capture = SnapshotFile(Path("unused"), "app", LOG_ID, 0, TARGETS, 0).capture(0, fold.state)
    step = changed = 0
    while not capture.step(0.0):
        step += 1
        first = 800 * (step % 4)
        canary = prediction(request_name(first + step))._replace(
            model=MODEL._replace(predictor="canary")
        )
        # The table of a deployment that is added meanwhile is not in the snapshot.
        other = canary._replace(model=MODEL._replace(deployment=f"new-{step}"))
        changes: list[Observation] = [canary, other]
        changes += [prediction(request_name(2400 + step * 40 + n)) for n in range(40)]
        changes += [feedback(request_name(first + step * 7 + n), "y", step) for n in range(7)]
        fold.apply(10 + step, (1002 + step // 3) * HOUR, pack(*changes))
        if (progress := fold.state.requests.copy_progress()) is not None:
            # Neither buckets that were copied already, nor buckets that were added later.
            copied, preserved = progress
            assert preserved <= buckets - copied
            changed += preserved
    assert step > 2
    assert changed
    assert b"".join(capture.parts) == before
    again = restored(before)
    assert len(again.requests) == 2400
    assert others
    assert stored(again) == before


def test_eviction_is_like_expiry() -> None:
    telemetry = Telemetry()
    fold = JoinFold(LOG_ID, 0, 1, None, telemetry)
    fold.apply(0, 10 * HOUR, pack(prediction(request_name(0)), prediction("r"), feedback("s")))
    fold.apply(1, 11 * HOUR, pack(prediction(request_name(1)), feedback(request_name(1))))
    assert fold.oldest() == 10
    approx_bytes = fold.approx_bytes
    assert (fold.evict(11), telemetry.late) == (3, 1)
    assert (fold.state.waiting, fold.state.unmatched) == (0, 0)
    assert [request_id for (_, request_id), _ in fold.refs()] == [request_name(1)]
    assert fold.oldest() == 11
    assert fold.approx_bytes < approx_bytes
    assert fold.evict(11) == 0
