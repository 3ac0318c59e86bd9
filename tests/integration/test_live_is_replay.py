"""After a live run, a replay from every source equals what the worker shows, to the last count."""

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from bench.support.load import NAMES, Event, Load
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings
from tests.support.faults.cluster import Worker, until
from tests.support.reports.command import processor
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import shared_server
from tests.support.servers.indices import Indices
from tests.support.workers import Get, Start, models

#: Events in the suite, and with --full.
EVENTS, FULL_EVENTS = 10_000, 100_000
LONG = "3650d"


@pytest.fixture(scope="session")
def events(request: pytest.FixtureRequest) -> list[Event]:
    """A load with repeats, corrections, and order lost; every feedback has its truth, since a
    document of the logger keeps the truth of an earlier feedback under a later reward alone."""
    full = request.config.getoption("--full", default=False)
    load = list(Load.of_events(FULL_EVENTS if full else EVENTS, models=5).events())
    predicted = {
        _id(event): _scores(event).index(max(_scores(event))) for event in load if _is(event)
    }
    return [event if _is(event) else _with_truth(event, predicted[_id(event)]) for event in load]


def _is(event: Event, kind: bytes = b"response") -> bool:
    return dict(event.headers)["ce_type"].endswith(kind)


def _id(event: Event) -> str:
    return dict(event.headers)["ce_requestid"].decode()


def _scores(event: Event) -> list[float]:
    scores: list[float] = json.loads(event.value)["data"]["ndarray"][0]
    return scores


def _with_truth(event: Event, predicted: int) -> Event:
    body = json.loads(event.value)
    row = [int(position == predicted) for position in range(len(NAMES))]
    body["truth"].setdefault("data", {"names": NAMES, "ndarray": [row]})
    return Event(event.headers, json.dumps(body).encode())


def documents(events: list[Event]) -> Iterator[dict[str, Any]]:
    """What the request logger makes of the events if they come in the order of their times: one
    document a request, each part the last one that came."""
    made: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: dict(event.headers)["ce_time"]):
        headers = {name: value.decode() for name, value in event.headers}
        body, time = json.loads(event.value), headers["ce_time"]
        document = made.setdefault(headers["ce_requestid"], {})
        document.update(
            {
                "RequestId": headers["ce_requestid"],
                "Ce-Namespace": headers["ce_namespace"],
                "Ce-Inferenceservicename": headers["ce_inferenceservicename"],
                "Ce-Endpoint": headers["ce_endpoint"],
                "Ce-Modelid": headers["ce_modelid"],
                "@timestamp": time,
            }
        )
        if _is(event):
            document["response"] = {"payload": body, "ce-time": time, "dataType": "tabular"}
        else:
            document["feedback"] = {**body, "ce-time": time}
    for name, document in made.items():
        yield {"_id": name, "_source": document}


async def _produce(bootstrap: str, topic: str, events: list[Event]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20) as producer:
        for number, (headers, value) in enumerate(events):
            await producer.send(topic, value, headers=headers, partition=number % 8)
        await producer.flush()


async def _settled(get: Get, worker: Worker, wanted: list[dict[str, Any]], by: str) -> None:
    found: list[dict[str, Any]] = []

    async def shown() -> bool:
        nonlocal found
        found = await models(get, worker, by)
        return found == wanted

    try:
        await until(shown, 120, "live equals replay")
    except TimeoutError:
        assert found == wanted


async def _replayed(source: str, by: str, **env: str) -> list[dict[str, Any]]:
    settings = Settings.from_env({f"PROCESSOR_{name.upper()}": env[name] for name in env})
    fold = await fold_sources([source], ModelRules(), Selection(by), Access(settings))
    found: list[dict[str, Any]] = msgspec.to_builtins(fold.result().models)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


@pytest.fixture
def indices() -> Iterator[Indices]:
    made = Indices(shared_server("8.19.0").url)
    yield made
    made.close()


@pytest.fixture
def path(events: list[Event], tmp_path: Path) -> str:
    path = tmp_path / "events.ndjson"
    with path.open("wb") as file:
        for headers, value in events:
            file.write(format_line(RawEvent(headers, value, 0)) + b"\n")
    return str(path)


@pytest.fixture
async def worker(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start
) -> AsyncIterator[tuple[Worker, str]]:
    """A live worker and its source topic."""
    source = topic(partitions=8)
    worker = start(
        broker=f"kafka://{kafka.bootstrap}", topics=source, app_id=app_id, horizon=LONG
    )  # fmt: skip
    yield worker, source
    assert await worker.terminate() == 0


async def test_every_source_equals_the_live_run(
    kafka: Broker,
    worker: tuple[Worker, str],
    get: Get,
    indices: Indices,
    events: list[Event],
    path: str,
) -> None:
    live, source = worker
    await _produce(kafka.bootstrap, source, events)
    indices.add(indices.make("live", shards=3), documents(events))
    broker = f"kafka://{kafka.bootstrap}"
    for by in ("request", "feedback"):
        wanted = await _replayed(path, by)
        assert sum(model["judged"] for model in wanted) > len(events) / 4
        assert len(wanted) == 5
        await _settled(get, live, wanted, by)
        assert await _replayed(f"kafka:{source}", by, broker=broker) == wanted
        assert await _replayed(indices.url, by, index=indices.pattern) == wanted


async def _seen_again(get: Get, worker: Worker, repeats: int) -> bool:
    _, metrics = await get(worker, "/metrics")
    seen = [
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith(("processor_duplicates_total ", "processor_superseded_total "))
    ]
    return sum(seen) >= repeats


def _put(path: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return processor("replay", path, "--into", "kafka", **settings)


async def test_a_correction_of_the_past(
    kafka: Broker,
    worker: tuple[Worker, str],
    get: Get,
    app_id: str,
    events: list[Event],
    path: str,
) -> None:
    """What the topic lost is put on the log; what it had counts once, however often it is put."""
    live, source = worker
    kept = [event for number, event in enumerate(events) if number % 7]
    await _produce(kafka.bootstrap, source, kept)
    half = Path(path).with_suffix(".kept")
    half.write_bytes(b"".join(format_line(RawEvent(*event, 0)) + b"\n" for event in kept))
    await _settled(get, live, await _replayed(str(half), "request"), "request")
    wanted = await _replayed(path, "request")
    settings = {"broker": f"kafka://{kafka.bootstrap}", "app_id": app_id, "horizon": LONG}
    repeats = 0
    for known in (len(kept), len(events)):
        ran = _put(path, **settings)
        assert ran.returncode == 0, ran.stderr
        assert f"{len(events):,} read, {len(events):,} observations put" in ran.stdout
        assert "older than" not in ran.stdout
        # All that was known is folded again: only then can it be seen that it counts once.
        repeats += known
        await until(partial(_seen_again, get, live, repeats), 120, f"{repeats} repeats")
        await _settled(get, live, wanted, "request")
    ran = _put(path, **settings | {"horizon": "7d"})
    assert ran.returncode == 1
    assert "PROCESSOR_HORIZON" in ran.stderr
    ran = _put(path, **settings | {"app_id": "never-ran"})
    assert ran.returncode == 1
    assert "there is no log of the app never-ran" in ran.stderr
    assert ran.stderr.count("\n") == 1


async def test_a_missing_topic_is_named(kafka: Broker, topic: Callable[..., str]) -> None:
    empty = topic(partitions=2)
    broker = f"kafka://{kafka.bootstrap}"
    assert await _replayed(f"kafka:{empty}", "request", broker=broker) == []
    ran = processor("replay", "kafka:no-such-topic", broker=broker)
    assert ran.returncode == 1
    assert "has no topic no-such-topic" in ran.stderr
    assert empty in ran.stderr or "more" in ran.stderr
    assert ran.stderr.count("\n") == 1
