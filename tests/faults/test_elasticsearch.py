"""Elasticsearch away at the start and in the middle of a bootstrap, while events come in."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from tests.support.faults.cluster import WorkerCluster, until
from tests.support.faults.documents import DOCUMENTS, TRUTH, load_documents
from tests.support.servers.elasticsearch import VERSIONS, ElasticsearchServer, shared_server
from tests.support.servers.proxy import Proxy


class Archive(Protocol):
    """An Elasticsearch that can go away."""

    url: str
    index: str

    async def leave(self) -> None: ...

    async def come(self) -> None: ...


class Proxied:
    """The shared server, by a proxy: away means that connections are refused."""

    def __init__(self, proxy: Proxy, index: str) -> None:
        self.proxy = proxy
        self.url = f"http://127.0.0.1:{proxy.port}"
        self.index = index

    async def leave(self) -> None:
        await self.proxy.cut()

    async def come(self) -> None:
        await self.proxy.resume()


class Stopped:
    """A server of one's own, that is stopped."""

    def __init__(self, server: ElasticsearchServer, index: str) -> None:
        self.server = server
        self.url = server.url
        self.index = index

    async def leave(self) -> None:
        await asyncio.to_thread(self.server.stop)

    async def come(self) -> None:
        await asyncio.to_thread(self.server.start)


@asynccontextmanager
async def proxied() -> AsyncIterator[Archive]:
    url = shared_server(VERSIONS[0]).url
    place = urlsplit(url)
    async with Proxy((place.hostname or "", place.port or 9200)) as proxy:
        yield Proxied(proxy, await load_documents(url))


@asynccontextmanager
async def stopped() -> AsyncIterator[Archive]:
    with ElasticsearchServer() as server:
        yield Stopped(server, await load_documents(server.url))


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("kind", [proxied, stopped], ids=["unreachable", "stopped"])
async def test_elasticsearch_away_at_the_start_and_in_mid_bootstrap(
    kind: Callable[[], AbstractAsyncContextManager[Archive]], worker_cluster: WorkerCluster
) -> None:
    async with kind() as archive:
        await archive.leave()
        worker_cluster.settings |= {
            "PROCESSOR_ARCHIVE": archive.url,
            "PROCESSOR_INDEX": archive.index,
            # The documents are of one day: they must not expire while the test runs.
            "PROCESSOR_HORIZON": "3650d",
        }
        worker_cluster.start("data-0")
        worker_cluster.start("data-1")
        await worker_cluster.until_ready()
        feed = worker_cluster.feed(seconds=4)
        await worker_cluster.until_grown(500)  # the stream does not wait for the archive
        await archive.come()
        come = time.monotonic()
        await until(
            lambda: _read(worker_cluster, DOCUMENTS // 5), 90, "a fifth of the documents read"
        )
        worker_cluster.recovered(come)
        await archive.leave()
        assert not await _read(worker_cluster, DOCUMENTS), "it was read before the server went away"
        await asyncio.sleep(2)
        await archive.come()
        come = time.monotonic()
        await until(lambda: _bootstrapped(worker_cluster), 120, "the bootstrap complete")
        await until(lambda: _exact(worker_cluster), 60, "the documents' numbers exact")
        worker_cluster.recovered(come)
        await feed.finish()
        await worker_cluster.until_exact()
        assert await _exact(worker_cluster)


async def _read(worker_cluster: WorkerCluster, documents: int) -> bool:
    name = "processor_bootstrap_documents_total"
    return (
        sum([await worker_cluster.metric(worker, name) for worker in worker_cluster.workers])
        >= documents
    )


async def _bootstrapped(worker_cluster: WorkerCluster) -> bool:
    states = [
        await worker_cluster.get(worker, "/ready?wait=bootstrap")
        for worker in worker_cluster.workers
    ]
    return all(state and state["ready"] for state in states)


async def _exact(worker_cluster: WorkerCluster) -> bool:
    found = [model for model in await worker_cluster.models() if model["deployment"] == "pets"]
    return [(m["predictions"], m["judged"], m["correct"]) for m in found] == [TRUTH]
