"""Snapshots are made while the fold continues: in little memory, without delaying it, and never ahead
of the acknowledged deltas."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from processor.domain.join.fold import JoinFold
from processor.stream import snapshotter
from processor.stream.delta_producer import Acks
from processor.stream.join_stage import JoinStage, close_within
from processor.stream.snapshot_file import SnapshotDraft, SnapshotFile
from processor.stream.snapshotter import Snapshotter
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import pack, prediction
from tests.support.domain.join_model import request_name

_EPOCH = "0123456789abcdef"
_REQUESTS = 3000


@pytest.fixture(autouse=True)
def _small_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.stream.snapshot_file._SLICE", 8)
    monkeypatch.setattr(snapshotter, "_EVERY", 0.0)
    monkeypatch.setattr(snapshotter, "_MAX_SHARE", math.inf)
    monkeypatch.setattr(snapshotter, "_STEP", 0.0)


class Disk:
    """Blocks or fails the writes of snapshots, and notes the size of each write."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None
        self.fails_to_keep = False
        self.sizes: list[int] = []
        append, keep = SnapshotDraft.append, SnapshotDraft.keep

        def wait_and_append(draft: SnapshotDraft, content: list[bytes]) -> None:
            assert self.free.wait(60)
            self.sizes.append(sum(map(len, content)))
            append(draft, content)
            if self.error is not None and not self.fails_to_keep:
                raise self.error

        def fail_or_keep(draft: SnapshotDraft) -> None:
            if self.error is not None:
                raise self.error
            keep(draft)

        monkeypatch.setattr(SnapshotDraft, "append", wait_and_append)
        monkeypatch.setattr(SnapshotDraft, "keep", fail_or_keep)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.free.set()


class Partition:
    """A join fold with its snapshot in a folder."""

    def __init__(self, folder: Path) -> None:
        self.telemetry = Telemetry()
        self.fold = JoinFold(_EPOCH, 0, 8, None, self.telemetry)
        self.acks = Acks()
        self.offset = 0
        self.file = SnapshotFile(folder, "app", _EPOCH, 0, 8, 0)
        self.thread = WriterThread()
        self.snapshotter = Snapshotter(self.file, "t/0", self.telemetry, self.thread)
        self.add(_REQUESTS)

    def stage(self) -> JoinStage:
        """Make the stage that has this fold in a worker."""
        nothing = cast(Any, None)
        stage = JoinStage(self.fold, "t/0", nothing, self.snapshotter, nothing, self.telemetry)
        stage.next_offset = self.offset
        return stage

    def add(self, number: int) -> None:
        """Fold ``number`` more predictions."""
        first = len(list(self.fold.refs()))
        names = map(request_name, range(first, first + number))
        self.fold.apply(self.offset, 1, pack(*map(prediction, names)))
        self.offset += 1

    def advance(self) -> None:
        """Take the snapshot's next step, as after each batch."""
        self.snapshotter.advance(self.offset, self.fold, self.acks)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Take steps until a condition holds."""
        async with asyncio.timeout(60):
            while not holds():
                self.advance()
                await asyncio.sleep(0)

    def is_copying(self) -> bool:
        """Whether buckets that change are copied before."""
        return self.fold.state.requests.copy_progress() is not None

    def kept(self) -> tuple[int, int] | None:
        """Return the offset and the number of requests of the snapshot on the disk; None without one."""
        snapshot = self.file.read()
        if snapshot is None:
            return None
        return snapshot.offset, len(snapshot.state.requests)


@pytest.fixture
async def partition(tmp_path: Path) -> Partition:
    return Partition(tmp_path)


async def test_one_slice_at_a_time_is_in_memory(partition: Partition, disk: Disk) -> None:
    await partition.until(lambda: partition.kept() is not None)
    assert partition.kept() == (1, _REQUESTS)
    assert len(disk.sizes) > 10
    assert max(disk.sizes) < sum(disk.sizes) / 3  # the first write contains the head too


async def test_the_fold_does_not_wait_for_the_disk(partition: Partition, disk: Disk) -> None:
    """Records folded meanwhile are not in the snapshot, and no further slice is copied."""
    disk.free.clear()
    partition.advance()
    partition.advance()
    taken = partition.fold.state.requests.copy_progress()
    assert taken is not None
    for _ in range(20):
        partition.advance()
        partition.add(10)
        await asyncio.sleep(0)
    progress = partition.fold.state.requests.copy_progress()
    assert progress is not None
    assert progress[0] == taken[0] > 0
    # Other work that needs a thread does not wait either.
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 10)
    disk.free.set()
    await partition.until(lambda: partition.kept() is not None)
    assert partition.kept() == (1, _REQUESTS)


async def test_a_snapshot_waits_for_the_acknowledgement_of_its_deltas(partition: Partition) -> None:
    partition.acks.expect(0, 1)
    await partition.until(lambda: not partition.is_copying())  # not begun yet
    partition.advance()
    assert partition.is_copying()
    await partition.until(lambda: not partition.is_copying())
    for _ in range(100):
        partition.advance()
        await asyncio.sleep(0)
    assert partition.kept() is None
    await partition.snapshotter.finish(partition.offset, partition.fold, partition.acks)
    assert partition.kept() is None
    partition.acks.arrived(0)
    await partition.snapshotter.finish(partition.offset, partition.fold, partition.acks)
    assert partition.kept() == (1, _REQUESTS)


@pytest.mark.parametrize("keeping", [False, True])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "snapshot of t/0 not written: [Errno 28]"),
        (ValueError("a defect"), "ValueError: a defect"),
    ],
)
async def test_a_disk_that_fails_leaves_nothing_behind(
    error: Exception,
    message: str,
    keeping: bool,
    partition: Partition,
    disk: Disk,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a file nor copies of changed buckets remain; the fold continues, and so does the next
    snapshot."""
    disk.error, disk.fails_to_keep = error, keeping
    partition.advance()
    await partition.until(lambda: partition.telemetry.snapshot_failures == 1)
    assert not partition.is_copying()
    assert not list(tmp_path.iterdir())
    assert message in caplog.text
    disk.error = None
    await partition.until(lambda: partition.kept() is not None)
    assert partition.telemetry.snapshot_failures == 1


async def test_the_last_snapshot_is_of_the_end(partition: Partition, disk: Disk) -> None:
    """Whatever snapshot was begun before; and it is written in slices too."""
    partition.advance()
    partition.advance()
    partition.add(7)
    await partition.snapshotter.finish(partition.offset, partition.fold, partition.acks)
    assert partition.kept() == (2, _REQUESTS + 7)
    assert not partition.is_copying()
    assert max(disk.sizes) < sum(disk.sizes) / 3  # the first write contains the head too
    written = len(disk.sizes)
    await partition.snapshotter.finish(partition.offset, partition.fold, partition.acks)
    assert len(disk.sizes) == written  # the snapshot is on the disk already


@pytest.mark.parametrize("event", ["restart", "revoked"])
async def test_an_unfinished_snapshot_is_dropped_with_its_file(
    event: str, partition: Partition, disk: Disk, tmp_path: Path
) -> None:
    """By a fold that starts again while a thread writes, and by a partition that is revoked."""
    await partition.until(lambda: len(disk.sizes) > 2)
    disk.free.clear()
    partition.advance()
    partition.advance()
    assert [path.suffix for path in tmp_path.iterdir()] == [".new"]
    if event == "restart":
        partition.snapshotter.restart()
    else:
        del partition.snapshotter
    disk.free.set()
    async with asyncio.timeout(60):
        while list(tmp_path.iterdir()):
            gc.collect()
            await asyncio.sleep(0.01)


async def test_deployments_may_be_added_at_any_time(partition: Partition) -> None:
    """A deployment that is added while a snapshot is made is not in it."""
    new = 0

    def is_kept() -> bool:
        nonlocal new
        new += 1
        other = prediction(request_name(0))
        model = other.model._replace(deployment=f"new-{new}")
        partition.fold.apply(partition.offset, 1, pack(other._replace(model=model)))
        return partition.kept() is not None

    partition.advance()
    await partition.until(is_kept)
    assert new > 10
    assert partition.kept() == (1, _REQUESTS)
    assert partition.telemetry.snapshot_failures == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_the_last_snapshot_depends_on_how_the_one_before_ended(
    fails: bool, partition: Partition, disk: Disk
) -> None:
    if fails:
        disk.error, disk.fails_to_keep = OSError(28, "No space left on device"), True
    partition.advance()
    await partition.until(lambda: not partition.is_copying())
    partition.advance()
    written = len(disk.sizes)
    await asyncio.sleep(0)
    await partition.snapshotter.finish(partition.offset, partition.fold, partition.acks)
    if fails:
        assert partition.telemetry.snapshot_failures > 0
        assert partition.kept() is None
    else:
        assert len(disk.sizes) <= written + 1  # the snapshot that was begun is used
        assert partition.kept() == (1, _REQUESTS)


def test_a_capture_that_is_dropped_is_freed_at_once(tmp_path: Path) -> None:
    """With its state, and without a garbage collection."""
    partition = Partition(tmp_path)
    capture = partition.file.capture(1, partition.fold.state)
    capture.step(0.0)
    found = weakref.ref(capture)
    gc.disable()
    try:
        del capture
        assert found() is None
    finally:
        gc.enable()


def test_a_process_ends_though_its_disk_hangs(tmp_path: Path, disk: Disk) -> None:
    """Nothing waits for the thread that writes after the timeout."""
    partition = Partition(tmp_path)
    disk.free.clear()
    started = time.monotonic()
    asyncio.run(close_within(0.2, [partition.stage()]))
    assert time.monotonic() - started < 15  # of the 30 s that the disk hangs
    # The interpreter does not wait for it either.
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "writer")


async def test_an_end_does_not_wait_for_a_slow_disk(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Partitions without a snapshot in time are read from the log at the next start."""
    caplog.set_level("INFO")
    partitions = [Partition(tmp_path / name) for name in ("first", "second", "third")]
    stages = [partition.stage() for partition in partitions]
    first = stages[0].close

    async def close_first() -> None:
        await first()
        disk.free.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages[0], "close", close_first)
        await close_within(0.5, stages)
    disk.free.set()
    assert [partition.kept() for partition in partitions] == [(1, _REQUESTS), None, None]
    assert "no time for the last snapshots of 2 partitions" in caplog.text
