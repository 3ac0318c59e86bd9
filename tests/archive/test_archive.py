"""The interface of every archive: one suite for Elasticsearch and SQLite."""

import json

import pytest

from processor.archive.base import ArchivedRecord, RequestKey, StoreResult
from processor.domain.join.fold import JoinFold
from processor.domain.join.outcomes import (
    ItemOutcome,
    PredictionOutcome,
    RequestOutcome,
    outcome_of,
)
from processor.domain.log.observations import DOCUMENT, BatchBuilder, Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.telemetry import Telemetry
from tests.support.archives.harness import LATER, TIME, ArchiveHarness, answer, truth
from tests.support.servers.indices import DATA

pytestmark = pytest.mark.integration

Observation = Prediction | Feedback


def key(request_id: str, namespace: str = "ns") -> RequestKey:
    return RequestKey(namespace, "dep", request_id)


async def looked_up(archive_harness: ArchiveHarness, *keys: RequestKey) -> list[ArchivedRecord]:
    found = [
        one async for batch in archive_harness.archive.lookup(keys, ModelRules()) for one in batch
    ]
    assert {one.request for one in found} <= set(keys)
    return found


async def scanned(archive_harness: ArchiveHarness) -> list[Observation]:
    return [one async for batch in archive_harness.archive.scan(ModelRules()) for one in batch]


def labels(found: list[ArchivedRecord]) -> set[tuple[str, str, tuple[str | None, ...]]]:
    """The predictions in some records: request id, predictor and labels."""
    return {
        (one.request_id, one.model.predictor, tuple(answer.label for answer in one.answers))
        for record in found
        for one in record.observations
        if isinstance(one, Prediction)
    }


def judged(found: list[ArchivedRecord]) -> dict[tuple[str, str], bool]:
    """Whether the predictions in some records show an outcome, by request id and predictor."""
    return {
        (record.request.request_id, one.model.predictor): record.has_outcome
        for record in found
        for one in record.observations
        if isinstance(one, Prediction)
    }


def item(predicted: str, actual: str | None) -> ItemOutcome:
    return ItemOutcome(predicted, actual, predicted == actual, TIME, LATER)


def outcome(
    request_id: str, *items: ItemOutcome | None, predictor: str = "default"
) -> RequestOutcome:
    found = PredictionOutcome(predictor, "clf", items)
    return RequestOutcome("ns", "dep", request_id, (found,))


def plain(observation: Observation) -> str:
    """An observation without the fields that differ between an event and a document."""
    same = observation._replace(source_rank=DOCUMENT)
    return repr(same._replace(provisional=True) if isinstance(same, Prediction) else same)


async def test_unknown_requests_are_not_found(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(answer("r", "a"))
    assert await archive_harness.archive.count() == 1
    assert await looked_up(archive_harness) == []
    assert await looked_up(archive_harness, key("unknown"), key("r", "elsewhere")) == []


async def test_a_request_is_found_with_all_its_predictions_and_feedback(
    archive_harness: ArchiveHarness,
) -> None:
    await archive_harness.put(
        answer("r1", "a"),
        answer("r1", "b", predictor="canary"),
        answer("r1", "x", namespace="elsewhere"),
        truth("r1", "b"),
        answer("r2", "c"),
        truth("r3", "d"),
    )
    found = await looked_up(archive_harness, key("r1"), key("r3"), key("r4"))
    assert labels(found) == {("r1", "default", ("a",)), ("r1", "canary", ("b",))}
    judgements = [
        one for record in found for one in record.observations if isinstance(one, Feedback)
    ]
    assert {one.request_id for one in judgements} == {"r1", "r3"}
    assert [
        row.value for one in judgements for row in one.truth or () if one.request_id == "r1"
    ] == ["b"]
    assert not any(record.has_outcome for record in found)


async def test_a_batch_is_found_whole_and_as_often_as_it_is_asked_for(
    archive_harness: ArchiveHarness,
) -> None:
    await archive_harness.put(
        answer("r", *"abcdefgh"),
        answer("r", *"stuvwxyz", predictor="canary"),
        answer("s", "a", "b"),
    )
    for _ in range(2):
        found = await looked_up(archive_harness, key("r"))
        assert labels(found) == {
            ("r", "default", tuple("abcdefgh")),
            ("r", "canary", tuple("stuvwxyz")),
        }


async def test_many_requests_are_found_at_once(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(
        *(answer(f"r{n}", "a") for n in range(1200)),
        *(answer(f"b{n}", "a", "b") for n in range(300)),
    )
    wanted = [key(f"{kind}{n}") for kind in "rb" for n in range(1300)]
    found = labels(await looked_up(archive_harness, *wanted))
    assert {name for name, _, _ in found} == {
        *(f"r{n}" for n in range(1200)),
        *(f"b{n}" for n in range(300)),
    }
    assert len(await scanned(archive_harness)) == 1500


_HOSTILE = [
    "a' OR 1=1 --", 'a"b', "a\\b", "*", "a,b", "[1]", "r-item-0", "x" * 400, "\u00e9\u4e2d\U0001f600",
    "{}", "null", " r ", "\x01", "a/b?c#d%20", "<script>",
]  # fmt: skip


async def test_hostile_ids_are_ids(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(answer("r", "a"), *(answer(name, "b") for name in _HOSTILE))
    everything = await looked_up(archive_harness, *map(key, _HOSTILE))
    assert {name for name, _, _ in labels(everything)} == set(_HOSTILE)
    for name in _HOSTILE:
        assert labels(await looked_up(archive_harness, key(name))) == {(name, "default", ("b",))}
    outcomes = [outcome(name, item("b", "b")) for name in _HOSTILE]
    assert await archive_harness.archive.store(outcomes) == StoreResult(len(_HOSTILE))
    await archive_harness.refresh()
    assert all(judged(await looked_up(archive_harness, *map(key, _HOSTILE))).values())
    assert not any(judged(await looked_up(archive_harness, key("r"))).values())


async def test_an_outcome_is_shown_until_it_is_taken_back(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(answer("r1", "a"), truth("r1", "b"), answer("r2", "a"))
    store = archive_harness.archive.store
    for shown, written in (
        (item("a", "b"), 1),
        (item("a", "b"), 0),
        (item("a", None), 1),  # corrected by a reward, with more than two classes
        (item("a", "a"), 1),
        (None, 1),
        (None, 0),
    ):
        assert await store([outcome("r1", shown)]) == StoreResult(written)
        await archive_harness.refresh()
        found = await looked_up(archive_harness, key("r1"), key("r2"))
        assert judged(found) == {("r1", "default"): shown is not None, ("r2", "default"): False}
        (stored,) = archive_harness.shown("r1")
        assert stored == (
            shown
            and {
                "predicted": "a",
                "actual": shown.actual,
                "correct": shown.correct,
                "request_time": TIME,
                "feedback_time": LATER,
            }
        )


async def test_missing_requests_are_reported(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(answer("r", "a"))
    outcomes = [outcome(name, item("a", "a")) for name in ("none", "r", "other")]
    stored = await archive_harness.archive.store(outcomes)
    assert (stored.written, sorted(stored.missing)) == (1, [key("none"), key("other")])
    assert (stored.retry, stored.last_error) == ([], "")
    assert await archive_harness.archive.store([]) == StoreResult()


async def test_each_predictor_shows_its_own_outcome(archive_harness: ArchiveHarness) -> None:
    await archive_harness.put(answer("r", "a"), answer("r", "b", predictor="canary"))
    await archive_harness.archive.store([outcome("r", item("b", "a"), predictor="canary")])
    await archive_harness.refresh()
    found = await looked_up(archive_harness, key("r"))
    assert judged(found) == {("r", "default"): False, ("r", "canary"): True}


@pytest.mark.parametrize("shown", [0, 2])
async def test_a_batch_is_judged_if_any_of_its_items_is(
    archive_harness: ArchiveHarness, shown: int
) -> None:
    await archive_harness.put(answer("r", "a", "b", "c"), answer("s", "a", "b"))
    items = [item("a", "b") if number == shown else None for number in range(3)]
    assert await archive_harness.archive.store([outcome("r", *items)]) == StoreResult(1)
    await archive_harness.refresh()
    assert [one is not None for one in archive_harness.shown("r", 3)] == [
        n == shown for n in range(3)
    ]
    found = await looked_up(archive_harness, key("r"), key("s"))
    assert judged(found) == {("r", "default"): True, ("s", "default"): False}


async def test_the_experiment_is_the_same_from_every_archive(
    archive_harness: ArchiveHarness,
) -> None:
    await archive_harness.put_notebook()
    observations = await scanned(archive_harness)
    (expected,) = json.loads((DATA / "contract.json").read_text())["models"]
    fold = JoinFold("", 0, 1, None, Telemetry())
    builder = BatchBuilder()
    for one in observations:
        builder.add(one)
    fold.apply(0, 0, builder.build(""))
    outcomes = [whole for ref, _ in fold.refs() if (whole := outcome_of(fold, ref))]
    items = [
        one for whole in outcomes for prediction in whole.predictions for one in prediction.items
    ]
    assert len(items) == expected["predictions"]
    assert sum(one is not None for one in items) == expected["judged"]
    assert sum(one is not None and one.correct for one in items) == expected["correct"]
    # Look-ups give the same observations.
    wanted = {RequestKey(one.namespace, one.deployment, one.request_id) for one in outcomes}
    found = await looked_up(archive_harness, *wanted)
    looked_up_observations = [one for record in found for one in record.observations]
    assert sorted(map(plain, looked_up_observations)) == sorted(map(plain, observations))
    # The outcomes can be stored.
    stored = await archive_harness.archive.store(outcomes)
    assert (stored.written, stored.missing) == (expected["judged"], [])
    await archive_harness.refresh()
    assert sum(judged(await looked_up(archive_harness, *wanted)).values()) == expected["judged"]
