"""Disks that are full: under the archive of the embedded mode, and under the snapshots."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bench.support.load import Load
from tests.support.faults.cluster import Worker, WorkerCluster, until
from tests.support.faults.outcomes import Outcome
from tests.support.faults.size import FULL, Size


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Take all the room there is."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        """Give it back."""
        (self.path / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("a small file system can be mounted by root on Linux alone")
    command = [mount, "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


class DeltaProducer:
    """Sends a load over HTTP; what is refused stays to be sent again."""

    def __init__(self, load: Load, session: aiohttp.ClientSession, url: str) -> None:
        self.waiting = [
            ({name.replace("_", "-"): value.decode() for name, value in headers}, body)
            for headers, body in load.events()
        ]
        self.refused = 0
        self.statuses: set[int] = set()
        self._session = session
        self._url = url

    async def send(self, number: int) -> None:
        """Send so many, eight at once; 202 takes them off the list."""
        batch, self.waiting = self.waiting[:number], self.waiting[number:]
        gate = asyncio.Semaphore(8)

        async def one(headers: dict[str, str], body: bytes) -> None:
            async with (
                gate,
                self._session.post(self._url, data=body, headers=headers) as answer,
            ):
                self.statuses.add(answer.status)
                if answer.status != 202:
                    assert answer.status == 503, await answer.text()
                    assert int(answer.headers["Retry-After"]) >= 1
                    self.refused += 1
                    self.waiting.append((headers, body))

        await asyncio.gather(*(one(*event) for event in batch))


async def _has_problem(cluster: WorkerCluster, worker: Worker, expected: bool) -> bool:
    """Whether the worker says that its disk is full, and is not ready because of it, or else neither."""
    readiness = await cluster.get(worker, "/ready")
    causes = [one["cause"] for one in readiness["problems"]]
    return (not readiness["ready"], "disk" in causes) == (expected, expected)


async def test_a_full_disk_under_the_archive(
    disk: Disk, app_id: str, tmp_path: Path, size: Size, outcome: Outcome
) -> None:
    """Nothing is accepted that is not kept: 503 until there is room, and no count changes."""
    load = Load.of_events(20_000 if size is FULL else 2_000, models=5)
    async with WorkerCluster("", "", app_id, load, tmp_path, size, outcome) as worker_cluster:
        worker_cluster.settings |= {
            "PROCESSOR_BROKER": "",
            "PROCESSOR_TOPICS": "source",
            "PROCESSOR_ARCHIVE": f"sqlite:{disk.path / 'events.sqlite'}",
        }
        worker = worker_cluster.start()
        await worker_cluster.until_ready()
        async with aiohttp.ClientSession() as session:
            sender = DeltaProducer(load, session, await worker.ingress())
            total = len(sender.waiting)
            part = total // (size.times + 2)
            await sender.send(part)
            for _ in range(size.times):
                disk.fill()
                refused = sender.refused
                await sender.send(part)
                assert sender.refused > refused
                assert (await worker_cluster.get(worker, "/health"))["alive"]
                await until(lambda: _has_problem(worker_cluster, worker, True), 60, "unready")
                disk.free()
                fault = time.monotonic()
                await until(lambda: _has_problem(worker_cluster, worker, False), 60, "ready")
                while sender.waiting and sender.statuses != {202}:
                    sender.statuses = set()
                    await sender.send(part)
                worker_cluster.recovered(fault)
            await sender.send(total)
            assert not sender.waiting
        outcome.events, outcome.in_flight = total, sender.refused
        await worker_cluster.until_counted()
        if size is FULL:
            # The archive holds what was accepted, once: a fresh start says the same.
            await worker_cluster.terminate(worker)
            worker_cluster.start()
            await worker_cluster.until_counted()
    worker_cluster.check_logs()


@pytest.mark.usefixtures("full")
async def test_a_full_disk_under_the_snapshots(disk: Disk, worker_cluster: WorkerCluster) -> None:
    """Only the next start gets slower: it folds the log again."""
    worker_cluster.settings["PROCESSOR_DATA"] = str(disk.path / "data")
    disk.fill()
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    feed = worker_cluster.feed(seconds=3)
    await feed.finish()
    await worker_cluster.until_exact()
    await worker_cluster.terminate(worker)
    assert "not written: [Errno 28]" in worker.text
    assert not list(disk.path.rglob("*.new"))
    again = time.monotonic()
    worker = worker_cluster.start()
    await worker_cluster.until_ready()
    await worker_cluster.until_exact()
    worker_cluster.recovered(again)
    disk.free()
    await worker_cluster.terminate(worker)
    worker = worker_cluster.start()
    await worker_cluster.until_exact()
    assert "(snapshot)" in worker.text
