"""Failures inside the folds, planted by `tests.support.faults.worker`."""

import time

import pytest

from tests.support.faults.cluster import WorkerCluster
from tests.support.faults.worker import CRASHED

_TORN = ("crash_before_floor", "crash_between_values")


@pytest.mark.long
@pytest.mark.parametrize("fold", ["join", "tally"])
async def test_an_exception_halfway_in_a_fold_leaves_no_trace(
    worker_cluster: WorkerCluster, fold: str
) -> None:
    """Part of a record was folded: that memory is thrown away, and the process goes on."""
    worker = worker_cluster.start(fault=f"{fold}_halfway:20")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=4)
    await feed.finish()
    await worker_cluster.until_exact()
    assert worker.text.count("PlantedError: half-way") == 1
    # Everything was folded since: what the log alone says is the same.
    await worker_cluster.terminate(worker)
    worker_cluster.start("empty")
    await worker_cluster.until_exact()


async def test_a_crash_in_midflush_loses_nothing(worker_cluster: WorkerCluster) -> None:
    """The table has values, all of them or half, without the floor that goes with them."""
    torn = [worker_cluster.start(f"data-{fault}", f"{fault}:6") for fault in _TORN]
    await worker_cluster.until_ready()
    # Flushes are 5 s apart, and the first of a partition tears nothing: there is no floor yet.
    feed = worker_cluster.feed(seconds=15)
    await feed.reach(worker_cluster.size.events // 4)
    feed.hold()
    for worker in torn:
        assert await worker.wait(60) == CRASHED
        worker_cluster.workers.remove(worker)
        # The other one takes over what is left, then goes the same way.
    crashed = time.monotonic()
    for fault in _TORN:
        worker_cluster.start(f"data-{fault}")
    await worker_cluster.recovery(crashed)
    feed.release()
    await feed.finish()
    await worker_cluster.until_exact()


async def test_what_follows_a_lost_delta_is_held_until_that_is_sent_again(
    worker_cluster: WorkerCluster,
) -> None:
    """Nothing is counted in its place, no snapshot passes it, and the next start sends it."""
    worker = worker_cluster.start(fault="lost_delta:100")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=4)
    await feed.finish()
    await worker_cluster.until_settled()
    assert "planted: the delta" in worker.text
    assert await worker_cluster.held_deltas() > 0
    assert await worker_cluster.differences()
    fault = time.monotonic()
    worker_cluster.kill(worker)
    worker_cluster.start()
    await worker_cluster.until_exact()
    worker_cluster.recovered(fault)
