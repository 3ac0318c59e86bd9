"""The load is what its name says, and its truth is what the events say."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer

from bench.messages.seldon import question
from bench.support.load import (
    PLAIN,
    SPAN_NS,
    Event,
    Expected,
    Load,
    ModelCounts,
    produce,
    right_answer,
)
from tests.support.servers import Broker
from tests.support.servers.topics import create_topics

LOAD = Load(requests=5_000, models=3)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(LOAD.events())


def _header(event: Event, name: str) -> str:
    return dict(event.headers)[name].decode()


def _kind(event: Event) -> str:
    return _header(event, "ce_type").rpartition(".")[2]


def _joined(events: list[Event]) -> Expected:
    """The truth once more, from the events alone and by the shortest way there is."""
    predictions: dict[str, tuple[str, str]] = {}
    judgements: dict[str, tuple[str, str | None]] = {}
    for event in events:
        request, body = _header(event, "ce_requestid"), json.loads(event.value)
        if _kind(event) == "response":
            scores = body["data"]["ndarray"][0]
            label = body["data"]["names"][scores.index(max(scores))]
            predictions[request] = (_header(event, "ce_inferenceservicename"), label)
        else:
            truth = body["truth"].get("data")
            actual = truth["names"][truth["ndarray"][0].index(1)] if truth else None
            judged = (_header(event, "ce_time"), actual)
            judgements[request] = max(judgements.get(request, ("", None)), judged)
    joined = Expected()
    for request, (model, predicted) in predictions.items():
        counts = joined.models.setdefault(model, ModelCounts())
        counts.predictions += 1
        if request in judgements:
            counts.cells[judgements[request][1] or predicted, predicted] += 1
    return joined


def test_truth_is_what_the_events_say(events: list[Event]) -> None:
    assert _joined(events) == LOAD.expected()


def test_same_seed_same_load(events: list[Event]) -> None:
    assert list(LOAD.events()) == events
    assert list(Load(requests=5_000, models=3, seed=2).events()) != events


def test_shares(events: list[Event]) -> None:
    kinds = Counter(map(_kind, events))
    copies = len(events) - len({_header(event, "ce_id") for event in events})
    right = sum(model.correct for model in LOAD.expected().models.values())

    assert set(kinds) == {"response", "feedback"}
    assert LOAD.expected().judged / 5_000 == pytest.approx(0.63, abs=0.03)
    assert right / LOAD.expected().judged == pytest.approx(46 / 63, abs=0.03)
    assert copies / len(events) == pytest.approx(0.01, abs=0.005)


def test_number_of_events_is_near_the_one_asked_for() -> None:
    assert len(list(Load.of_events(10_000).events())) == pytest.approx(10_000, rel=0.02)


def test_some_feedback_comes_first_and_some_is_corrected(events: list[Event]) -> None:
    answered: set[str] = set()
    times: dict[str, set[str]] = {}
    early = 0
    for event in events:
        request = _header(event, "ce_requestid")
        if _kind(event) == "response":
            answered.add(request)
        else:
            early += request not in answered
            times.setdefault(request, set()).add(_header(event, "ce_time"))

    assert early > 100
    assert sum(len(of_request) > 1 for of_request in times.values()) > 10


def test_times_stay_within_the_span(events: list[Event]) -> None:
    times = sorted(_header(event, "ce_time") for event in events)

    assert times[0] == "2026-11-20T09:00:00.000000000Z"
    assert times[-1] < "2026-11-20T09:28:00.000000000Z"
    assert SPAN_NS == 28 * 60 * 10**9


def test_request_events_where_the_kind_has_them() -> None:
    load = Load(requests=100, kinds=(replace(PLAIN, question=question),))

    kinds = Counter(map(_kind, load.events()))

    assert kinds["request"] >= 100
    assert _joined([event for event in load.events() if _kind(event) != "request"]) == (
        load.expected()
    )


def test_right_answer_is_a_request_and_its_judgement() -> None:
    rng = random.Random(1)
    pairs = [right_answer(model, SPAN_NS, rng) for model in (7, 7)]

    joined = _joined([event for pair in pairs for event in pair])

    assert joined == Expected({"model-7": ModelCounts(2, Counter({("t:0", "t:0"): 2}))})


async def test_produced_load_is_on_the_topic_without_keys(kafka: Broker, app_id: str) -> None:
    load, topic = Load(requests=300), f"load-{app_id}"
    await create_topics(kafka.bootstrap, [topic], 8)

    count = await produce(kafka.bootstrap, topic, load)

    read: list[Event] = []
    partitions: set[int] = set()
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        while len(read) < count:
            batches = await consumer.getmany(timeout_ms=10_000)
            assert batches, f"only {len(read)} of {count} records came within 10 s"
            for partition, records in batches.items():
                partitions.add(partition.partition)
                assert all(record.key is None for record in records)
                read += [Event(list(record.headers), record.value) for record in records]
    assert sorted(read) == sorted(load.events())
    assert partitions == set(range(8))
