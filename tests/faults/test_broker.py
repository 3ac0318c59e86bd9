"""Trouble on the broker's side: offsets, table values, and the broker itself."""

import asyncio
import shutil
import time

import pytest
from aiokafka.structs import ConsumerRecord

from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from tests.support.faults.cluster import WorkerCluster, until
from tests.support.faults.log import move_offsets_to_end, read_topic, write, write_again


@pytest.mark.long
async def test_stale_table_values_over_newer_ones_change_nothing(
    worker_cluster: WorkerCluster,
) -> None:
    """A zombie's late writes to the changelog: old values, old floors, or both."""
    changelog = f"{worker_cluster.app_id}-confusion-changelog"
    worker_cluster.start()
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=10)
    worker = worker_cluster.workers[0]
    old: list[ConsumerRecord] = []

    async def flushed() -> bool:
        nonlocal old
        old = await read_topic(worker_cluster.bootstrap, changelog)
        return len(old) > 20

    await feed.reach(worker_cluster.size.events // 4)
    feed.hold()
    await until(flushed, 60, "first flush")
    assert not feed.done
    feed.release()
    await feed.finish()
    await worker_cluster.until_exact()
    # A floor's key is the shortest of its partition: it names the partition alone.
    floors = [record for record in old if len(record.key) <= 2]
    values = [record for record in old if len(record.key) > 2]
    assert floors
    for stale in (values, floors, old):
        await worker_cluster.terminate(worker)
        await write_again(worker_cluster.bootstrap, stale)
        worker = worker_cluster.start(f"empty-{len(stale)}")
        await worker_cluster.until_exact()


async def test_group_offsets_moved_to_the_end_skip_nothing(worker_cluster: WorkerCluster) -> None:
    """The position of a fold is its checkpoint's, never the group's."""
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=5)
    await feed.reach(worker_cluster.size.events // 2)
    await worker_cluster.until_grown(500)
    await worker_cluster.terminate(worker)
    shutil.rmtree(worker_cluster.data("data"))
    names = ("observations", "deltas", "confusion-changelog")
    topics = [f"{worker_cluster.app_id}-{name}" for name in names]
    await move_offsets_to_end(worker_cluster.bootstrap, worker_cluster.app_id, topics)
    worker_cluster.start()
    await feed.finish()
    await worker_cluster.until_exact()


async def test_a_record_of_another_log_ends_the_worker_with_one_line(
    worker_cluster: WorkerCluster,
) -> None:
    """What can't be counted rightly isn't counted: exit code 1, the remedy, and no traceback."""
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    foreign = encode(Heartbeat(SCHEMA_VERSION, "another log", 0))
    await write(worker_cluster.bootstrap, f"{worker_cluster.app_id}-deltas", 3, [(None, foreign)])
    assert await worker.wait(60) == 1
    assert "use a new PROCESSOR_APP_ID" in worker.text.splitlines()[-1]
    assert "Traceback" not in worker.text


@pytest.mark.long
async def test_a_broker_that_is_away_for_a_while_costs_time_alone(
    own_worker_cluster: WorkerCluster,
) -> None:
    """A worker may end over it, with a line that says so; then it is started again."""
    worker_cluster, server = own_worker_cluster, own_worker_cluster.server
    assert server is not None
    worker_cluster.start("data-0")
    worker_cluster.start("data-1")
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=12)
    await worker_cluster.until_grown(worker_cluster.size.events // 6)
    away = time.monotonic()
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(max(0.0, away + 8 - time.monotonic()))
    await asyncio.to_thread(server.start)
    print(f"broker away for {time.monotonic() - away:.1f} s")
    fault = time.monotonic()
    async with worker_cluster.restarting():
        await worker_cluster.recovery(fault)
        await feed.finish()
        await worker_cluster.until_exact()


async def test_a_worker_ends_in_time_while_the_broker_is_away(
    own_worker_cluster: WorkerCluster,
) -> None:
    """SIGTERM must not wait for a broker that does not answer."""
    worker_cluster, server = own_worker_cluster, own_worker_cluster.server
    assert server is not None
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    worker_cluster.feed(seconds=6)
    await worker_cluster.until_grown(500)
    await asyncio.to_thread(server.kill)
    fault = time.monotonic()
    try:
        code = await worker.terminate()
        print(f"ended in {time.monotonic() - fault:.1f} s")
        assert code == 0 or "processor: stopping took more" in worker.text.splitlines()[-1]
    finally:
        # The feed wants to end in order too.
        await asyncio.to_thread(server.start)
