"""Workers that come and go while events come in."""

import time

import pytest

from tests.support.faults.cluster import WorkerCluster


@pytest.mark.long
async def test_workers_added_and_removed_under_load(worker_cluster: WorkerCluster) -> None:
    worker_cluster.start("data-0")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=9)
    await worker_cluster.until_grown(500)
    for number in range(worker_cluster.size.times):
        for name in ("b", "c"):
            added = time.monotonic()
            worker_cluster.start(f"data-{number}-{name}")
            await worker_cluster.recovery(added)
        for _ in range(2):
            removed = time.monotonic()
            await worker_cluster.terminate(worker_cluster.workers[0])
            await worker_cluster.recovery(removed)
    await feed.finish()
    await worker_cluster.until_exact()
