"""A worker that hangs in silence ends by itself; one that waits for its broker never does."""

import asyncio
import os
import signal
import time

import pytest

from tests.support.faults.cluster import WorkerCluster, until
from tests.support.faults.log import read_topic


async def test_a_fold_that_hangs_ends_the_worker_and_the_next_one_goes_on(
    worker_cluster: WorkerCluster,
) -> None:
    worker = worker_cluster.start(fault="blocked_fold:100")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=2)
    said: list[str] = []

    async def unhealthy() -> bool:
        health = await worker_cluster.get(worker, "/health")
        if health and not health["alive"]:
            said.append(health["reason"])
        return bool(said)

    await until(unhealthy, 60, "an answer of /health that it is stuck")
    assert "there was no progress" in said[0]
    assert await worker_cluster.metric(worker, "processor_stalled_seconds") >= 3
    assert await worker.wait(60) == 1
    assert "StalledError" not in worker.text.splitlines()[-1] or "start again" in worker.text
    fault = time.monotonic()
    worker_cluster.workers.remove(worker)
    worker_cluster.start()
    await worker_cluster.recovery(fault)
    await feed.finish()
    await worker_cluster.until_exact()


async def test_a_recovery_of_the_table_that_hangs_starts_again(
    worker_cluster: WorkerCluster,
) -> None:
    """Faust waits for ever for records that it has lost; the worker does not."""
    worker_cluster.start()
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=10)

    async def flushed() -> bool:
        return (
            len(
                await read_topic(
                    worker_cluster.bootstrap, f"{worker_cluster.app_id}-confusion-changelog"
                )
            )
            > 20
        )

    await until(flushed, 60, "a checkpoint in the table")
    fault = time.monotonic()
    hung = worker_cluster.start("other", fault="lost_changelog:2")
    await worker_cluster.recovery(fault)
    await feed.finish()
    await worker_cluster.until_exact()
    assert hung.text.count("recovery stands still") >= 2


@pytest.mark.usefixtures("full")
async def test_a_frozen_broker_is_waited_for(own_worker_cluster: WorkerCluster) -> None:
    """Longer than the watchdog's limit: it must not take the broker's halt for the worker's."""
    worker_cluster, server = own_worker_cluster, own_worker_cluster.server
    assert server is not None
    worker = worker_cluster.start(fault="short_watchdog:5")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=8)
    await worker_cluster.until_grown(500)
    os.kill(server.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        # Time is what is tested: past the limit and the end, short of the session's timeout.
        await asyncio.sleep(9)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert time.monotonic() - frozen > 8
    fault = time.monotonic()
    await worker_cluster.recovery(fault)
    await feed.finish()
    await worker_cluster.until_exact()
    assert worker.alive
