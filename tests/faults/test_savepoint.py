"""Savepoints that are saved under load, while the command, a worker or the broker fails."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path

import pytest

from bench.support.load import Load
from processor.savepoint.commands import show_savepoint
from tests.support.faults.cluster import WorkerCluster, freeze
from tests.support.faults.outcomes import Outcome
from tests.support.faults.savepoints import Command, Save, is_refused

Strike = Callable[[WorkerCluster], Awaitable[None]]


async def killed(cluster: WorkerCluster) -> None:
    """kill -9 of a worker; its partitions move, and some of them back."""
    worker = cluster.workers[0]
    cluster.kill(worker)
    cluster.start(worker.data)


async def moved(cluster: WorkerCluster) -> None:
    """Partitions move to one more worker, and from one that ends."""
    cluster.start(f"more-{len(cluster.workers)}-{cluster.workers[-1].pid}")
    await cluster.until_ready()
    await cluster.terminate(cluster.workers[0])


def frozen(seconds: float) -> Strike:
    """The broker stands still for so long."""

    async def strike(cluster: WorkerCluster) -> None:
        assert cluster.server is not None
        pid = cluster.server.pid
        await freeze(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    return strike


#: What strikes at each moment, with the part of the file that is there then.
_STRIKES: list[tuple[Strike, float]] = [
    *product((killed, moved, frozen(4), frozen(15)), (0, 0.3, 0.7)),
    (frozen(80), 0.3),
]


async def assert_exact(cluster: WorkerCluster, load: Load, path: Path, partitions: int) -> None:
    """A savepoint that is loaded into an app with so many partitions counts the rest of the stream as if
    it had never been moved."""
    name = f"{path.stem}-in-{partitions}"
    folder = cluster.folder / name
    folder.mkdir()
    async with WorkerCluster(
        cluster.bootstrap, cluster.topic, f"{cluster.app_id}-{name}", load, folder, cluster.size,
        Outcome(name),
    ) as new:  # fmt: skip
        new.settings = {"PROCESSOR_PARTITIONS": str(partitions)}
        await Command(new, "load", "load", str(path)).succeed()
        new.start("data-0")
        await new.until_counted()
    new.check_logs()


@pytest.mark.long
async def test_killed_saves_and_a_save_while_a_worker_is_killed(
    worker_cluster: WorkerCluster, load: Load, tmp_path: Path
) -> None:
    """A save while a worker is killed is whole. kill -9 of saves at several moments leaves the file of
    before, and none that a load takes; no worker notices, and the next save works."""
    cluster, path = worker_cluster, tmp_path / "state.savepoint"
    cluster.start("data-0")
    cluster.start("data-1")
    await cluster.until_ready()
    feed = cluster.feed(seconds=10)
    await feed.reach(cluster.size.events // 8)
    feed.hold()
    save = Save(cluster, path)
    await save.reach(1)
    await killed(cluster)
    await save.succeed()
    assert not feed.done
    await cluster.until_ready()
    held = await partitions_of(cluster)
    whole, halves, times = path.read_bytes(), 0, 2 * cluster.size.times
    for number in range(times):
        save = Save(cluster, path)
        await save.reach(len(whole) * number // times)
        save.kill()
        if path.read_bytes() == whole:
            halves += save.part.exists() and is_refused(save.part)
        else:
            show_savepoint(str(path))  # it was faster
    assert halves
    cluster.check_alive()
    assert await partitions_of(cluster) == held
    feed.release()
    await feed.finish()
    await cluster.until_exact()
    await assert_exact(cluster, load, path, 3)
    await Save(cluster, path).succeed()
    assert not save.part.exists()
    show_savepoint(str(path))


async def partitions_of(cluster: WorkerCluster) -> list[object]:
    """Return the partitions of each worker."""
    states = [await cluster.get(worker, "/ready") for worker in cluster.workers]
    return [state["partitions"] for state in states]


@pytest.mark.full("some minutes, and a broker that stands still")
async def test_saves_while_workers_and_the_broker_fail(
    own_worker_cluster: WorkerCluster, load: Load, tmp_path: Path
) -> None:
    """Each is whole, or ends with a line that says why and leaves the file of before."""
    cluster, path = own_worker_cluster, tmp_path / "state.savepoint"
    cluster.start("data-0")
    cluster.start("data-1")
    await cluster.until_ready()
    feed = cluster.feed(seconds=140)
    await feed.reach(cluster.size.events // 20)
    await Save(cluster, path).succeed()
    whole = [path]
    async with cluster.restarting():
        for number, (strike, part) in enumerate(_STRIKES):
            assert not feed.done
            path = tmp_path / f"{number}.savepoint"
            before = whole[-1].read_bytes()
            path.write_bytes(before)
            save = Save(cluster, path)
            await save.reach(round(len(before) * part))
            await strike(cluster)
            code = await save.end()
            assert not save.part.exists()
            print(f"{number}: {part:.1f} of the file, exit code {code}, {save.text[-300:]}")
            if code == 0:
                whole.append(path)
            else:
                assert save.text.splitlines()[-1].startswith("processor: Kafka at "), save.text
                assert path.read_bytes() == before
            await cluster.until_ready(120)
        await feed.finish()
        await cluster.until_exact()
    assert len(whole) > len(_STRIKES) // 2
    for number, path in enumerate(whole):
        await assert_exact(cluster, load, path, 1 + number % 9)
