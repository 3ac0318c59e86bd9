"""The network between the workers and their broker, by a proxy whose address the broker gives out."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.support.load import Load
from tests.support.faults.cluster import WorkerCluster
from tests.support.faults.outcomes import Outcome
from tests.support.faults.size import Size
from tests.support.servers import KafkaServer
from tests.support.servers.process import free_port
from tests.support.servers.proxy import Proxy
from tests.support.servers.topics import create_topics

#: Seconds: longer than the session timeout, so that the broker gives the partitions away.
_STALL = 12


class Network:
    """A crew whose workers reach their broker by the proxy alone; the load comes in beside it."""

    def __init__(self, worker_cluster: WorkerCluster, proxy: Proxy) -> None:
        self.worker_cluster = worker_cluster
        self.proxy = proxy


@pytest.fixture
async def network(
    app_id: str, load: Load, size: Size, tmp_path: Path, outcome: Outcome
) -> AsyncIterator[Network]:
    inside, outside = free_port(), free_port()
    proxy = Proxy(("127.0.0.1", inside), outside)
    server = KafkaServer()
    plain, controller = server.bootstrap, f"127.0.0.1:{server.controller_port}"
    server.settings |= {
        "listeners": f"PLAINTEXT://{plain},PROXIED://127.0.0.1:{inside},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{plain},PROXIED://127.0.0.1:{outside}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
    }
    with server:
        await create_topics(server.bootstrap, ["source"], 8)
        async with (
            proxy,
            WorkerCluster(
                server.bootstrap, "source", app_id, load, tmp_path, size, outcome
            ) as worker_cluster,
        ):
            worker_cluster.settings["PROCESSOR_BROKER"] = f"kafka://127.0.0.1:{outside}"
            yield Network(worker_cluster, proxy)
        worker_cluster.check_logs()


async def test_the_network_to_the_broker_cut(network: Network) -> None:
    """Connections are refused, and those that are there end."""
    worker_cluster = network.worker_cluster
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=8)
    await worker_cluster.until_grown(500)
    async with worker_cluster.restarting():
        for _ in range(worker_cluster.size.times):
            await network.proxy.cut()
            await asyncio.sleep(4)
            await network.proxy.resume()
            await worker_cluster.recovery(time.monotonic())
        await feed.finish()
        await worker_cluster.until_exact()


@pytest.mark.usefixtures("full")
async def test_the_network_to_the_broker_stalled(network: Network) -> None:
    """Connections stay and nothing arrives, for longer than the session; then all of it at once."""
    worker_cluster = network.worker_cluster
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=30)
    await worker_cluster.until_grown(500)
    async with worker_cluster.restarting():
        for _ in range(worker_cluster.size.times):
            network.proxy.stall()
            await asyncio.sleep(_STALL)
            await network.proxy.resume()
            await worker_cluster.recovery(time.monotonic())
        await feed.finish()
        await worker_cluster.until_exact()
