"""A cluster of three brokers that loses one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bench.load import Load
from tests.faults.crew import Crew, until
from tests.faults.outcomes import Outcome
from tests.faults.size import Size
from tests.servers.cluster import KafkaCluster
from tests.servers.topics import create_topics


@pytest.fixture
def cluster() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


async def test_one_of_three_brokers_killed_under_load(
    cluster: KafkaCluster, app_id: str, load: Load, tmp_path: Path, size: Size, outcome: Outcome
) -> None:
    """kill -9 of one broker after the other; each is started again, and in sync before the next."""
    await create_topics(cluster.bootstrap, ["source"], 8, replication=3)
    async with Crew(cluster.bootstrap, "source", app_id, load, tmp_path, size, outcome) as crew:
        crew.start("data-0")
        crew.start("data-1")
        await crew.until_ready(60)
        feed = crew.feed(seconds=8)
        await crew.until_grown(500)
        async with crew.restarting():
            for broker in cluster.brokers[: size.times]:
                broker.kill()
                fault = time.monotonic()
                await crew.recovery(fault)
                broker.start()
                if broker is not cluster.brokers[size.times - 1]:
                    await _until_in_sync(crew)
            await feed.finish()
            await crew.until_exact()
    crew.check_logs()


async def _until_in_sync(crew: Crew) -> None:
    names = ["source", *(f"{crew.app_id}-{name}" for name in ("observations", "deltas", "control"))]

    async def in_sync() -> bool:
        admin = AIOKafkaAdminClient(bootstrap_servers=crew.bootstrap)
        await admin.start()
        try:
            found = await admin.describe_topics(names)
        finally:
            await admin.close()
        parts = [part for topic in found for part in topic["partitions"]]
        assert all(len(part["replicas"]) == 3 for part in parts)
        return all(len(part["isr"]) == 3 for part in parts)

    await until(in_sync, 60, "all replicas in sync")
