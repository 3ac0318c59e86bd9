"""Counts that were published once are never followed by smaller ones, whoever publishes them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.support.faults.cluster import Worker, WorkerCluster, until


class Readings:
    """Reads the counts of all time of all workers, and notes each one that is smaller than before."""

    def __init__(self, cluster: WorkerCluster) -> None:
        self.steps_back: list[str] = []
        self.number = 0
        self._cluster = cluster
        self._highest: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Read again and again, until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def read(self, worker: Worker) -> None:
        # Its own: what it says of other workers may be a second old.
        path = "/api/worker/models?window=all&by=request"
        before = dict(self._highest)  # what was published before this question
        answer = await self._cluster.get(worker, path)
        for model in answer["body"]["models"] if answer else ():
            name, predictions = model["deployment"], model["predictions"]
            if predictions < before.get(name, 0):
                self.steps_back.append(
                    f"{worker.log.name} says {predictions} of {name} after {before[name]}"
                )
            self._highest[name] = max(self._highest.get(name, 0), predictions)
            self.number += 1

    async def _run(self) -> None:
        while True:
            for worker in list(self._cluster.workers):
                await self.read(worker)
            await asyncio.sleep(0.02)


async def _complete(cluster: WorkerCluster, worker: Worker) -> bool:
    return await cluster.metric(worker, "processor_complete") == 1.0


@pytest.mark.long
async def test_no_count_is_smaller_than_one_before(worker_cluster: WorkerCluster) -> None:
    """kill -9 of the only worker and of one of two under load, and one that is frozen past the session
    timeout; and when a restarted worker says that it is complete, all is counted that came before."""
    readings = Readings(worker_cluster)
    first = worker_cluster.start("data-0")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=14 + worker_cluster.size.session)
    async with readings.going_on():
        await worker_cluster.until_grown(2000)
        worker_cluster.kill(first)
        sent = feed.predictions_at(time.monotonic() - 1.0)
        first = worker_cluster.start("data-0")
        await until(lambda: _complete(worker_cluster, first), 60, "complete after the restart")
        counted = await worker_cluster.predictions()
        assert sent is not None
        assert counted >= sent > 0
        second = worker_cluster.start("data-1")
        await worker_cluster.until_ready()
        await until(lambda: _complete(worker_cluster, second), 60, "complete after a takeover")
        second.signal(signal.SIGSTOP)
        frozen = time.monotonic()
        worker_cluster.workers.remove(second)
        await worker_cluster.recovery(frozen)
        await asyncio.sleep(max(0.0, frozen + worker_cluster.size.session + 2 - time.monotonic()))
        second.signal(signal.SIGCONT)
        worker_cluster.workers.append(second)
        await feed.finish()
        await worker_cluster.until_exact()
    print(f"{readings.number} counts read")
    assert readings.number > 100
    assert readings.steps_back == []
