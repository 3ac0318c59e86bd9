"""The leader dies in the middle of a bootstrap: another goes on where it was, and counts are exact."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from processor.domain.times import SECOND, format_time
from tests.faults.crew import Worker, until
from tests.integration.conftest import Get, Start, models
from tests.servers import Broker
from tests.servers.elasticsearch import VERSIONS, shared_server
from tests.servers.indices import MAPPING

_DOCUMENTS = 30_000
_PAGE = 2_000
_SHARDS = 2
_NAMES = ["cat", "dog", "owl"]
_DAY = 86_400


def _document(number: int, end: int) -> dict[str, Any]:
    """Every second one is judged, every fifth of these as wrong; spread over 50 hours before ``end``
    (seconds since 1970)."""
    at = format_time((end - number % 3000 * 60) * SECOND)
    scores = [0.2, 0.3, 0.3]
    scores[number % 3] = 0.5
    payload = {
        "data": {"names": _NAMES, "ndarray": [scores]},
        "meta": {"requestPath": {"classifier": "image"}},
    }
    document: dict[str, Any] = {
        "RequestId": f"request-{number}",
        "Ce-Namespace": "vision",
        "Ce-Inferenceservicename": "pets",
        "Ce-Endpoint": "default",
        "Ce-Modelid": "classifier",
        "response": {"ce-time": at, "payload": payload},
    }
    if number % 2 == 0:
        feedback: dict[str, Any] = {"reward": 1.0, "ce-time": at}
        if number % 10 == 0:
            wrong = [[int(i == (number + 1) % 3) for i in range(3)]]
            feedback |= {"reward": 0.0, "truth": {"data": {"names": _NAMES, "ndarray": wrong}}}
        document["feedback"] = feedback
    return document


async def _load(url: str, end: int) -> str:
    index = f"inference-log-seldon-{uuid.uuid4().hex[:8]}"
    async with AsyncElasticsearch(url, request_timeout=120) as client:
        await client.indices.create(
            index=index,
            settings={"number_of_shards": _SHARDS, "number_of_replicas": 0},
            mappings=MAPPING,
        )
        for start in range(0, _DOCUMENTS, 5000):
            operations: list[dict[str, Any]] = []
            for number in range(start, start + 5000):
                operations += [{"index": {"_id": f"request-{number}"}}, _document(number, end)]
            answer = await client.bulk(index=index, operations=operations)
            assert not answer["errors"]
    return index


async def _documents_read(get: Get, worker: Worker) -> int:
    _, metrics = await get(worker, "/metrics")
    for line in metrics.splitlines():
        if line.startswith("processor_bootstrap_documents_total "):
            return int(float(line.split()[1]))
    return 0


@pytest.mark.parametrize(("days", "kept"), [(3, True), (30, False)])
async def test_another_worker_goes_on_where_the_leader_died(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    days: int,
    kept: bool,
) -> None:
    """Also where requests are older than the horizon: counted and not kept."""
    elastic = shared_server(VERSIONS[0])
    settings = {
        "broker": f"kafka://{kafka.bootstrap}",
        "topics": topic(partitions=8),
        "app_id": app_id,
        "archive": elastic.url,
        "index": await _load(elastic.url, int(time.time()) - days * _DAY),
    }
    workers = [start(**settings, data=f"{app_id}-{i}") for i in range(2)]
    read = [0, 0]

    async def half_way() -> bool:
        for i, worker in enumerate(workers):
            read[i] = await _documents_read(get, worker)
        return max(read) >= _DOCUMENTS // 4

    await until(half_way, 90, "a quarter read")
    leader = read.index(max(read))
    workers[leader].kill()
    assert max(read) < _DOCUMENTS, "the leader was done before it was killed"
    other = workers[1 - leader]

    async def exact() -> bool:
        found = await models(get, other)
        return [(m["predictions"], m["judged"], m["correct"]) for m in found] == [
            (_DOCUMENTS, _DOCUMENTS // 2, _DOCUMENTS * 4 // 10)
        ]

    await until(exact, 120, "exact")

    async def complete() -> bool:
        return (await get(other, "/ready?wait=bootstrap"))[0] == 200

    await until(complete, 30, "bootstrap complete")
    _, metrics = await get(other, "/metrics")
    assert f"processor_waiting_requests {_DOCUMENTS // 2 if kept else 0}.0" in metrics
    # It went on at the cursors: what was read twice is a page of each shard at most, and those that
    # the leader read after the last look at its metrics come on top of what was seen.
    again = await _documents_read(get, other)
    assert again <= _DOCUMENTS - read[leader] + _SHARDS * _PAGE
    assert await other.terminate() == 0
