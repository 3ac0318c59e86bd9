"""A cluster of three brokers that loses one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bench.support.load import Load
from tests.support.faults.cluster import WorkerCluster, until
from tests.support.faults.outcomes import Outcome
from tests.support.faults.size import Size
from tests.support.servers.cluster import KafkaCluster
from tests.support.servers.topics import create_topics


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


@pytest.mark.long
async def test_one_of_three_brokers_killed_under_load(
    cluster: KafkaCluster, app_id: str, load: Load, tmp_path: Path, size: Size, outcome: Outcome
) -> None:
    """kill -9 of one broker after the other; each is started again, and in sync before the next."""
    await create_topics(cluster.bootstrap, ["source"], 8, replication=3)
    async with WorkerCluster(
        cluster.bootstrap, "source", app_id, load, tmp_path, size, outcome
    ) as worker_cluster:
        worker_cluster.start("data-0")
        worker_cluster.start("data-1")
        await worker_cluster.until_ready()
        feed = worker_cluster.feed(seconds=8)
        await worker_cluster.until_grown(500)
        async with worker_cluster.restarting():
            for broker in cluster.brokers[: size.times]:
                broker.kill()
                fault = time.monotonic()
                await worker_cluster.recovery(fault)
                broker.start()
                if broker is not cluster.brokers[size.times - 1]:
                    await _until_in_sync(worker_cluster)
            await feed.finish()
            await worker_cluster.until_exact()
    worker_cluster.check_logs()


async def _until_in_sync(worker_cluster: WorkerCluster) -> None:
    names = [
        "source",
        *(f"{worker_cluster.app_id}-{name}" for name in ("observations", "deltas", "control")),
    ]

    async def in_sync() -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=worker_cluster.bootstrap)
        await admin.start()
        try:
            found = await admin.describe_topics(names)
        finally:
            await admin.close()
        parts = [part for topic in found for part in topic["partitions"]]
        assert all(len(part["replicas"]) == 3 for part in parts)
        return all(len(part["isr"]) == 3 for part in parts)

    await until(in_sync, 60, "all replicas in sync")
