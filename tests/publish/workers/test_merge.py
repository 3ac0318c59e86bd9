"""Which worker's counts of a model are shown: the newest, and each model once."""

from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.model_key import ModelKey
from processor.domain.results import Events
from processor.publish.time_series import ModelTimeSeries, Points, TimeSeries
from processor.publish.workers.merge import Merge, merged_series, sum_events
from processor.publish.workers.other_workers import Reply
from tests.publish.workers.fakes import PARTITIONS, partition, some_models

MODELS = tuple(some_models(20))
Body = list[tuple[ModelKey, str]]


def reply(
    worker: str,
    positions: Mapping[int, int],
    age: float = 0.0,
    models: tuple[ModelKey, ...] = MODELS,
) -> Reply[Body]:
    """A worker that has counts of all models, whatever it holds."""
    return Reply(worker, positions, [(key, worker) for key in models], age)


def shown(*replies: Reply[Body]) -> tuple[dict[ModelKey, tuple[str, float | None]], Merge[Body]]:
    merge = Merge(replies, PARTITIONS)
    found = merge.models(lambda body: body, lambda item: item[0])
    assert [one.item[0] for one in found] == sorted({one.item[0] for one in found})
    return {one.item[0]: (one.item[1], one.age) for one in found}, merge


offsets = st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(0, 5))


@given(st.lists(st.tuples(offsets, st.sampled_from([0.0, 7.0])), min_size=1, max_size=4))
def test_each_model_once_with_the_newest_counts(claims: list[tuple[dict[int, int], float]]) -> None:
    replies = [reply(f"w{i}", positions, age) for i, (positions, age) in enumerate(claims)]
    found, merge = shown(*replies)
    for key in MODELS:
        number = partition(key)
        newest = max((one.positions.get(number, -1) for one in replies), default=-1)
        if newest < 0:
            assert key not in found
            assert number in merge.missing
            continue
        worker, age = found[key]
        owner = replies[int(worker[1:])]
        assert owner.positions[number] == newest
        # Of equal counts those of now.
        fresh = [one for one in replies if one.positions.get(number) == newest and not one.age]
        assert age == (None if fresh else 7.0)
        assert number not in merge.missing
    owners = {
        merge._owners[number].worker for number in range(PARTITIONS) if number in merge._owners
    }
    assert merge.needed == owners


def test_a_worker_that_slept_through_a_rebalance_loses_to_the_new_owner() -> None:
    everything = dict.fromkeys(range(PARTITIONS), 50)
    found, _ = shown(reply("asleep", everything), reply("new", dict.fromkeys(everything, 51)))
    assert {worker for worker, _ in found.values()} == {"new"}


def test_the_last_answer_stands_until_the_new_owner_has_read_the_log() -> None:
    key = MODELS[0]
    number = partition(key)
    silent = reply("silent", {number: 50}, age=12.34)
    assert shown(reply("new", {}), silent)[0][key] == ("silent", 12.3)
    assert shown(reply("new", {number: 50}), silent)[0][key] == ("new", None)


def test_a_model_outside_of_its_worker_s_partitions_is_not_shown() -> None:
    key = MODELS[0]
    other = (partition(key) + 1) % PARTITIONS
    found, merge = shown(reply("liar", {other: 9}, models=(key, key)))
    assert found == {}
    assert partition(key) in merge.missing


def test_a_model_that_a_worker_names_twice_is_shown_once() -> None:
    key = MODELS[0]
    found, _ = shown(reply("w", {partition(key): 9}, models=(key, key)))
    assert list(found) == [key]


def test_counters_of_events_add_up() -> None:
    one = Events(read=3, late=1, dead_letters={"bad_json": 2})
    other = Events(read=4, dead_letters={"bad_json": 1, "no_id": 5})
    total = sum_events([one, other])
    assert total == Events(read=7, late=1, dead_letters={"bad_json": 3, "no_id": 5})
    assert sum_events([one]) == one


def series(start: str, index: list[int], step: int = 60, steps: int = 5) -> TimeSeries:
    zeros, nothing = [0] * len(index), [None] * len(index)
    points = Points(index, zeros, list(zeros), zeros, list(nothing), list(nothing), list(nothing))
    return TimeSeries(start, step, steps, tuple(ModelTimeSeries(*key, points) for key in MODELS))


def positions_in(share: int) -> dict[int, int]:
    return {number: 1 for number in range(PARTITIONS) if number % 2 == share}


def moved(other: TimeSeries) -> set[tuple[int, ...]]:
    """The points of the other worker's models on this worker's axis."""
    own = Reply("own", positions_in(0), series("2026-11-20T09:00:00Z", [0, 4]))
    merged = merged_series(Merge([own, Reply("other", positions_in(1), other, 30.0)], PARTITIONS))
    assert [msgspec.structs.astuple(one)[:4] for one in merged.models] == sorted(MODELS)
    assert (merged.from_, merged.steps) == ("2026-11-20T09:00:00Z", 5)
    return {
        tuple(one.points.index)
        for one in merged.models
        if partition(ModelKey(one.namespace, one.deployment, one.predictor, one.model)) % 2
    }


def test_series_on_the_same_axis_stay() -> None:
    assert moved(series("2026-11-20T09:00:00Z", [1, 2])) == {(1, 2)}


def test_an_older_series_is_moved_and_cut() -> None:
    assert moved(series("2026-11-20T08:58:00Z", [1, 2, 4])) == {(0, 2)}
    assert moved(series("2026-11-20T09:03:00Z", [0, 1, 2])) == {(3, 4)}


def test_a_series_that_does_not_fit_has_no_points() -> None:
    assert moved(series("2026-11-20T08:58:30Z", [1, 2])) == {()}
    assert moved(series("2026-11-20T09:00:00Z", [1, 2], step=120)) == {()}
    assert moved(series("yesterday", [1, 2])) == {()}


def test_columns_that_do_not_belong_together_are_no_points() -> None:
    wrong = series("2026-11-20T09:00:00Z", [1, 2])
    wrong.models[0].points.judged.append(1)
    assert moved(wrong) == {()}
