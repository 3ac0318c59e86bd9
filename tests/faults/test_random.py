"""Several kinds of faults, again and again, at random moments: the seed says which and when."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.support.faults.cluster import WorkerCluster

#: Seconds: the longer ones outlast the session, so that the frozen worker comes back as a zombie.
_FROZEN = (1.0, 14.0)
_MOST = 3

Strike = Callable[[WorkerCluster, random.Random], Awaitable[float]]


async def killed(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    """kill -9; another one is started, with or without the data of one that was."""
    worker_cluster.kill(rng.choice(worker_cluster.workers))
    fault = time.monotonic()
    worker_cluster.start(f"empty-{fault}" if rng.random() < 0.5 else _folder(worker_cluster))
    return fault


async def ended(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    fault = time.monotonic()
    await worker_cluster.terminate(rng.choice(worker_cluster.workers))
    worker_cluster.start(_folder(worker_cluster))
    return fault


async def frozen(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    """SIGSTOP, SIGCONT."""
    worker = rng.choice(worker_cluster.workers)
    fault = time.monotonic()
    worker.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(rng.uniform(*_FROZEN))
    finally:
        worker.signal(signal.SIGCONT)
    return fault


async def added(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    if len(worker_cluster.workers) < _MOST:
        worker_cluster.start(_folder(worker_cluster))
    return time.monotonic()


async def removed(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    fault = time.monotonic()
    if len(worker_cluster.workers) > 1:
        await worker_cluster.terminate(rng.choice(worker_cluster.workers))
    return fault


async def broker_restarted(worker_cluster: WorkerCluster, rng: random.Random) -> float:
    """An orderly stop or a crash, and a start."""
    server = worker_cluster.server
    assert server is not None
    fault = time.monotonic()
    await asyncio.to_thread(rng.choice((server.stop, server.kill)))
    await asyncio.to_thread(server.start)
    return fault


KINDS: tuple[Strike, ...] = (killed, ended, frozen, added, removed, broker_restarted)


@pytest.mark.usefixtures("full")
async def test_several_kinds_at_random_moments(own_worker_cluster: WorkerCluster) -> None:
    """FAULT_SEED repeats a run as far as the machine lets it."""
    worker_cluster = own_worker_cluster
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
    print(f"FAULT_SEED={seed}")
    worker_cluster.outcome.fault += f" (FAULT_SEED={seed})"
    rng = random.Random(seed)
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=60)
    await worker_cluster.until_grown(500)
    # A worker may end over a broker that is restarted.
    async with worker_cluster.restarting():
        while not feed.done:
            await asyncio.sleep(rng.uniform(0.1, 2.0))
            strike = rng.choice(KINDS)
            print(f"{strike.__name__} at {feed.sent} events")
            await worker_cluster.recovery(await strike(worker_cluster, rng))
        await feed.finish()
        await worker_cluster.until_exact()


def _folder(worker_cluster: WorkerCluster) -> str:
    """One that no running worker has: two must not share their snapshots' folder."""
    taken = {worker.data for worker in worker_cluster.workers}
    return next(name for number in range(99) if (name := f"data-{number}") not in taken)
