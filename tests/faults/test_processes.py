"""Processes that are killed, ended, and frozen."""

import asyncio
import shutil
import signal
import time

import pytest

from tests.support.faults.cluster import WorkerCluster, until


@pytest.mark.long
@pytest.mark.parametrize("keeps", [True, False], ids=["keeping_its_data", "losing_its_data"])
async def test_killed_workers_lose_and_repeat_nothing(
    worker_cluster: WorkerCluster, keeps: bool
) -> None:
    """kill -9 under load; the worker comes back at once, with its data folder or without."""
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    times = worker_cluster.size.times
    feed = worker_cluster.feed(seconds=8 + 3 * (times - 1))
    await worker_cluster.until_grown(500)
    for number in range(times):
        await feed.reach(worker_cluster.size.events * (number + 1) // (times + 2))
        killed, name = worker_cluster.workers[0], f"data-{number % 2}"
        worker_cluster.kill(killed)
        fault = time.monotonic()
        if not keeps:
            shutil.rmtree(worker_cluster.data(name))
        worker_cluster.start(name)
        await worker_cluster.recovery(fault)
    await feed.finish()
    await worker_cluster.until_exact()


@pytest.mark.long
async def test_ended_workers_lose_and_repeat_nothing(worker_cluster: WorkerCluster) -> None:
    """SIGTERM under load, three times, each worker started again at once."""
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=10)
    await worker_cluster.until_grown(500)
    for number in range(3):
        await feed.reach(worker_cluster.size.events * (number + 1) // 5)
        fault = time.monotonic()
        await worker_cluster.terminate(worker_cluster.workers[0])
        print(f"ended in {time.monotonic() - fault:.1f} s")
        worker_cluster.start(f"data-{number % 2}")
        await worker_cluster.recovery(fault)
    await feed.finish()
    await worker_cluster.until_exact()


async def test_a_frozen_worker_comes_back_under_load(worker_cluster: WorkerCluster) -> None:
    """SIGSTOP past the session timeout, and SIGCONT while the load still runs."""
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=worker_cluster.size.session + 8)
    await worker_cluster.until_grown(500)
    frozen = worker_cluster.workers[0]
    frozen.signal(signal.SIGSTOP)
    fault = time.monotonic()
    worker_cluster.workers.remove(frozen)
    feed.hold()
    await worker_cluster.recovery(fault)
    await asyncio.sleep(max(0.0, fault + worker_cluster.size.session + 2 - time.monotonic()))
    assert not feed.done
    frozen.signal(signal.SIGCONT)
    worker_cluster.workers.append(frozen)
    feed.release()
    await feed.finish()
    await worker_cluster.until_exact()


@pytest.mark.long
async def test_late_writes_of_a_zombie_change_nothing(worker_cluster: WorkerCluster) -> None:
    """SIGCONT after the load: what the zombie had on its way comes after its successor's. Then all
    start over, and nothing but the broker remembers."""
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=6)
    await worker_cluster.until_grown(500)
    await feed.reach(worker_cluster.size.events // 3)
    frozen = worker_cluster.workers[0]
    frozen.signal(signal.SIGSTOP)
    worker_cluster.workers.remove(frozen)
    await feed.finish()
    await worker_cluster.until_exact()
    frozen.signal(signal.SIGCONT)
    worker_cluster.workers.append(frozen)
    await worker_cluster.until_exact()
    for worker in tuple(worker_cluster.workers):
        await worker_cluster.terminate(worker)
    worker_cluster.start("empty")
    await worker_cluster.until_exact()


async def test_two_first_starts_at_once_share_the_work(worker_cluster: WorkerCluster) -> None:
    """Fresh topics, two workers at the very same moment."""
    feed = worker_cluster.feed(seconds=5)
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    held: list[dict[str, list[int]]] = []

    async def spread() -> bool:
        nonlocal held
        states = [await worker_cluster.get(worker, "/ready") for worker in worker_cluster.workers]
        held = [state["partitions"] for state in states if state]
        return all(
            sorted(number for each in held for number in each[what]) == list(range(8))
            and min((len(each[what]) for each in held), default=0) > 0
            for what in ("observations", "deltas")
        )

    await feed.finish()
    await worker_cluster.until_exact()
    await until(spread, 60, f"partitions spread over both: {held}")
