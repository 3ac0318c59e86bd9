"""Workers as a user starts them, and what they show."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from elasticsearch import AsyncElasticsearch

from processor.domain.events.events_file import parse_line
from tests.support.faults.cluster import Worker, timeless, until
from tests.support.faults.size import SMALL
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import Elastic
from tests.support.servers.indices import MAPPING

#: What readers show workers, for tests that set PROCESSOR_METRICS_TOKEN.
TOKEN = "the-token-of-tests"
DATA = Path(__file__).resolve().parents[1] / "data" / "seed-experiment"


class Start:
    """Starts workers with given settings; ends all of them after the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Worker] = []

    def __call__(self, *, fault: str = "", **settings: str) -> Worker:
        env = {name: value for name, value in os.environ.items() if "PROCESSOR_" not in name}
        env |= {
            "PROCESSOR_INGRESS_PORT": "0",
            "PROCESSOR_SESSION_TIMEOUT": f"{SMALL.session}s",
            "PROCESSOR_DATA": str(self._folder / settings.pop("data", "data")),
            **{f"PROCESSOR_{name.upper()}": value for name, value in settings.items()},
        }
        log = self._folder / f"worker-{len(self._workers)}.log"
        worker = Worker(log, env, fault)
        self._workers.append(worker)
        return worker

    @contextmanager
    def ending(self) -> Iterator["Start"]:
        """The end of the test is the end of its workers."""
        try:
            yield self
        finally:
            for worker in self._workers:
                if worker.alive:
                    worker.kill()
                print(f"--- {worker.log.name}\n{worker.text[-9000:]}")


Get = Callable[[Worker, str], Awaitable[tuple[int, str]]]


async def models(get: Get, worker: Worker, by: str = "request") -> list[dict[str, Any]]:
    """The models of all time that a worker has itself."""
    status, body = await get(worker, f"/api/worker/models?window=all&by={by}")
    return timeless(json.loads(body)["body"]["models"]) if status == 200 else []


def expected() -> dict[str, Any]:
    """The one model of the seed experiment."""
    (model,) = json.loads((DATA / "contract.json").read_text())["models"]
    found: dict[str, Any] = model
    return found


def assert_equal(found: Any, wanted: Any, path: str = "") -> None:
    """Equal, floats to 1e-9, but for estimates, which depend on the time at which they are made; keys
    that ``wanted`` does not name may be there."""
    if isinstance(wanted, dict):
        for key in wanted.keys() - {"nowcast", "drift"}:
            assert_equal(found[key], wanted[key], f"{path}/{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), path
        for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_equal(one, other, f"{path}/{i}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=1e-9), path
    else:
        assert found == wanted, path


async def produce(bootstrap: str, topic: str, path: Path = DATA / "events.ndjson") -> None:
    """The events of a file as the channel has them: null keys, any partition."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        pending = [
            await producer.send(
                topic, event.value, headers=list(event.headers), partition=number % 8
            )
            for number, line in enumerate(path.read_bytes().splitlines())
            for event in [parse_line(line, number, 0)]
        ]
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


def kafka_settings(kafka: Broker, source: str, app_id: str, **more: str) -> dict[str, str]:
    """Settings of a worker on a source topic, without an archive unless more say so."""
    return {
        "broker": f"kafka://{kafka.bootstrap}",
        "topics": source,
        "app_id": app_id,
        "archive": "none",
        **more,
    }


def archive_settings(
    kafka: Broker, source: str, app_id: str, elastic: Elastic, **more: str
) -> dict[str, str]:
    """Settings of a worker on a source topic, with an Elasticsearch archive."""
    return kafka_settings(kafka, source, app_id, archive=elastic.url, **more)


async def make_index(client: AsyncElasticsearch, documents: list[dict[str, Any]]) -> str:
    index = f"inference-log-seldon-{uuid.uuid4().hex[:8]}"
    await client.indices.create(index=index, mappings=MAPPING)
    operations: list[dict[str, Any]] = []
    for document in documents:
        operations += [{"index": {"_id": document["_id"]}}, document["_source"]]
    answer = await client.bulk(index=index, operations=operations, refresh=True)
    assert not answer["errors"]
    return index


async def counted(get: Get, worker: Worker, **wanted: int) -> None:
    async def reached() -> bool:
        found = await models(get, worker)
        return bool(found) and all(found[0][name] == value for name, value in wanted.items())

    await until(reached, 120, f"{wanted}")


async def metric(get: Get, worker: Worker, name: str, value: float) -> None:
    async def reached() -> bool:
        _, metrics = await get(worker, "/metrics")
        return f"{name} {value}\n" in metrics

    await until(reached, 120, f"{name} {value}")


async def bootstrapped(get: Get, worker: Worker) -> None:
    async def complete() -> bool:
        return (await get(worker, "/ready?wait=bootstrap"))[0] == 200

    await until(complete, 120, "bootstrap complete")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with Start(tmp_path).ending() as start:
        yield start


@pytest.fixture
async def get() -> AsyncIterator[Get]:
    """Status and body of a path of a worker, which may ask for `TOKEN`; status 0 while nobody
    answers."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def get(worker: Worker, path: str) -> tuple[int, str]:
            assert worker.alive, worker.text[-3000:]
            try:
                async with session.get(f"http://127.0.0.1:{worker.port}{path}") as answer:
                    return answer.status, await answer.text()
            except (aiohttp.ClientError, OSError):
                return 0, ""

        yield get


@pytest.fixture
async def client(elastic: Elastic) -> AsyncIterator[AsyncElasticsearch]:
    async with AsyncElasticsearch(elastic.url) as client:
        yield client
