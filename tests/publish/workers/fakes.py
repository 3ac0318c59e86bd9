"""Workers of one app in this process: each a `Site` with its share of the models, over real HTTP."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from processor.domain.log.deltas import partition_of
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.publish.workers.address import WorkerAddress
from processor.publish.workers.answers import WorkerAnswer
from processor.publish.workers.client import SilentWorkerError
from tests.publish.served import Site
from tests.support.fakes import FakeCounts

PARTITIONS = 8


def partition(key: ModelKey) -> int:
    """The partition of the deltas of a model."""
    return partition_of("\0".join(key), PARTITIONS)


def some_models(number: int) -> dict[ModelKey, Counts]:
    """Models with different counts."""
    return {
        ModelKey("shop", f"model-{i:02}", "default", "m"): Counts(predictions=10 + i)
        for i in range(number)
    }


@dataclass
class FakeGroup:
    """A `Group` that gives what its fields say."""

    urls: Mapping[str, Sequence[int]] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)

    def members(self) -> Mapping[str, Sequence[int]]:
        return self.urls

    def counted_offsets(self) -> Mapping[int, int]:
        return self.offsets


class FakeClock:
    """Seconds that go on when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeTransport:
    """Gives the answers that a test has put in, by worker id; an exception is raised, and an event is
    waited for, before the answer."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.closed = False

    async def get(self, address: WorkerAddress, path: str, query: Mapping[str, str]) -> bytes:
        self.asked.append((address.id, path, dict(query)))
        if gate := self.gates.get(address.id):
            await gate.wait()
        answer = self.answers.get(address.id, SilentWorkerError("nobody there"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def answer_of(worker: str, positions: dict[int, int], body: object, models: int = 1) -> bytes:
    """The answer of a worker on the wire."""
    raw = msgspec.Raw(msgspec.json.encode(body))
    return msgspec.json.encode(WorkerAnswer(worker, "test", positions, models, raw))


@dataclass
class App:
    """Several workers that serve one app; ``shares`` are the partitions of each."""

    sites: list[Site]
    servers: list[TestServer]
    session: ClientSession

    async def get(self, worker: int, path: str) -> Any:
        """The JSON that a worker answers."""
        async with self.session.get(self.servers[worker].make_url(path)) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def stop(self, worker: int) -> None:
        """End a worker; the others learn of it when they ask it."""
        await self.servers[worker].close()

    async def close(self) -> None:
        """End all workers."""
        await self.session.close()
        for server in self.servers:
            await server.close()


async def serve_app(
    models: Mapping[ModelKey, Any],
    shares: Sequence[Sequence[int]],
    counts_of: Callable[[Any], FakeCounts] = FakeCounts,
) -> App:
    """Serve the models, each by the worker that has its partition; ``counts_of`` makes the counts of
    some of the models."""
    sites, servers = [], []
    for share in shares:
        own = {key: counts for key, counts in models.items() if partition(key) in share}
        site = Site(counts_of(own))
        sites.append(site)
        servers.append(await site.serve())
    urls = {}
    for number, (site, server, share) in enumerate(zip(sites, servers, shares, strict=True)):
        assert server.port is not None
        site.address = WorkerAddress(f"worker-{'abcdef'[number]}", "127.0.0.1", server.port)
        urls[site.address.url] = list(share)
    for site, share in zip(sites, shares, strict=True):
        site.group = FakeGroup(urls, dict.fromkeys(share, 100))
        site.health.deltas = tuple(share)
    return App(sites, servers, ClientSession())
