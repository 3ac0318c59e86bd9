"""The leader dies in the middle of a bootstrap: another goes on where it was, and counts are exact."""

from collections.abc import Callable

import pytest

from tests.support.faults.cluster import Worker, until
from tests.support.faults.documents import DOCUMENTS, SHARDS, load_documents
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import VERSIONS, shared_server
from tests.support.workers import Get, Start, archive_settings, models

_PAGE = 2_000


async def _documents_read(get: Get, worker: Worker) -> int:
    _, metrics = await get(worker, "/metrics")
    for line in metrics.splitlines():
        if line.startswith("processor_bootstrap_documents_total "):
            return int(float(line.split()[1]))
    return 0


@pytest.mark.long
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
    index = await load_documents(elastic.url, days)
    settings = archive_settings(kafka, topic(partitions=8), app_id, elastic, index=index)
    workers = [start(**settings, data=f"{app_id}-{i}") for i in range(2)]
    read = [0, 0]

    async def half_way() -> bool:
        for i, worker in enumerate(workers):
            read[i] = await _documents_read(get, worker)
        return max(read) >= DOCUMENTS // 4

    await until(half_way, 90, "a quarter read")
    leader = read.index(max(read))
    workers[leader].kill()
    assert max(read) < DOCUMENTS, "the leader was done before it was killed"
    other = workers[1 - leader]

    async def exact() -> bool:
        found = await models(get, other)
        return [(m["predictions"], m["judged"], m["correct"]) for m in found] == [
            (DOCUMENTS, DOCUMENTS // 2, DOCUMENTS * 4 // 10)
        ]

    await until(exact, 120, "exact")

    async def complete() -> bool:
        return (await get(other, "/ready?wait=bootstrap"))[0] == 200

    await until(complete, 60, "bootstrap complete")
    _, metrics = await get(other, "/metrics")
    assert f"processor_waiting_requests {DOCUMENTS // 2 if kept else 0}.0" in metrics
    # It went on at the cursors: what was read twice is a page of each shard at most, and those that
    # the leader read after the last look at its metrics come on top of what was seen.
    again = await _documents_read(get, other)
    assert again <= DOCUMENTS - read[leader] + SHARDS * _PAGE
    assert await other.terminate() == 0
