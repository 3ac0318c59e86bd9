"""Copies of snapshots in a shared folder: complete or unused, the newest sound one counts, and a store
that is away costs nothing but time."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from processor.domain.join.fold import JoinFold
from processor.errors import LogMismatchError
from processor.stream.delta_producer import Acks
from processor.stream.join_stage import JoinStage, close_within
from processor.stream.shared import snapshots
from processor.stream.shared.snapshots import SharedSnapshot, SharedSnapshots
from processor.stream.shared.stores import FolderStore
from processor.stream.snapshot_file import Snapshot, SnapshotFile
from processor.stream.snapshotter import Snapshotter
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import pack, prediction
from tests.support.domain.join_model import request_name
from tests.support.domain.snapshot_files import write

_LOG = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_EVERY", "_PAUSE", "_RETRY"):
        monkeypatch.setattr(snapshots, name, 0.0)


class Side:
    """A worker with its own data folder, and one partition."""

    def __init__(self, data: Path, root: Path, horizon: int = 7) -> None:
        self.telemetry = Telemetry()
        self.shared = SharedSnapshots(FolderStore(root), f"file://{root}", self.telemetry)
        self.file = SnapshotFile(data, "app", _LOG, 3, 8, horizon)
        self.copies = self.shared.of(self.file)
        self.folder = root / "app" / _LOG / "3"

    def keep(self, offset: int) -> None:
        """Write a local snapshot with as many requests as its offset."""
        fold = JoinFold(_LOG, 3, 8, None, Telemetry())
        fold.apply(0, 1, pack(*(prediction(request_name(n)) for n in range(offset))))
        capture = self.file.capture(offset, fold.state)
        while not capture.step(60.0):
            pass
        write(self.file, capture.take())

    async def copy(self, offset: int) -> None:
        """Write a local snapshot, and copy it."""
        self.keep(offset)
        self.copies.advance(offset)
        await self.copies.copied(offset)

    def names(self) -> list[str]:
        """The offsets of the copies."""
        return sorted(path.name.partition("-")[0] for path in self.folder.iterdir())

    async def newest(self) -> tuple[int, int] | None:
        """The offset and the number of requests of the newest copy."""
        snapshot = await self.copies.newest()
        if snapshot is None:
            return None
        return snapshot.offset, len(snapshot.state.requests)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "shared"
    root.mkdir()
    return root


@pytest.fixture
def one(tmp_path: Path, root: Path) -> Side:
    return Side(tmp_path / "one", root)


@pytest.fixture
def other(tmp_path: Path, root: Path) -> Side:
    return Side(tmp_path / "other", root)


async def test_another_worker_goes_on_from_the_newest_copy(one: Side, other: Side) -> None:
    assert await other.newest() is None  # nothing was copied yet, and that is no problem
    for offset in (10, 20, 30):
        await one.copy(offset)
    assert one.names() == ["20", "30"]  # two are kept
    assert await other.newest() == (30, 30)
    assert await one.newest() is None  # the local one is as new
    other.keep(20)
    assert await other.newest() == (30, 30)
    assert not list(one.folder.glob("*.new"))
    assert one.shared.error == other.shared.error == ""
    assert one.telemetry.snapshot_copy_failures == other.telemetry.snapshot_copy_failures == 0


async def test_a_worker_that_lost_the_partition_does_not_step_back(one: Side, other: Side) -> None:
    await one.copy(10)
    await other.copy(30)
    await one.copy(20)
    assert one.names() == ["10", "30"]


@pytest.mark.parametrize("damage", ["cut", "longer", "byte", "empty", "gone"])
async def test_a_damaged_copy_falls_back_to_the_one_before(
    damage: str, one: Side, other: Side, caplog: pytest.LogCaptureFixture
) -> None:
    for offset in (10, 20):
        await one.copy(offset)
    (newest,) = one.folder.glob("20-*")
    whole = newest.read_bytes()
    broken = {
        "cut": whole[:-40],
        "longer": whole + b"\x00",
        "byte": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        "empty": b"",
        "gone": whole,
    }[damage]
    newest.write_bytes(broken)
    if damage == "gone":  # after it was listed
        list_all = other.copies._list

        def list_then_lose() -> Any:
            found = list_all()
            newest.unlink()
            return found

        other.copies._list = list_then_lose  # type: ignore[method-assign]
    assert await other.newest() == (10, 10)
    assert f"3/{newest.name} cannot be used" in caplog.text
    assert other.telemetry.snapshot_copy_failures == 1
    assert not list(newest.parents[4].glob("other/*.new"))


async def test_without_a_sound_copy_the_log_is_read(
    one: Side, other: Side, caplog: pytest.LogCaptureFixture
) -> None:
    await one.copy(10)
    for path in one.folder.iterdir():
        path.write_bytes(b"\x00" * 100)
    assert await other.newest() is None
    assert "no shared snapshot of app/" in caplog.text


async def test_a_copy_of_other_settings_is_not_used(one: Side, tmp_path: Path, root: Path) -> None:
    await one.copy(10)
    other = Side(tmp_path / "other", root, horizon=8)
    assert await other.newest() is None
    assert other.telemetry.snapshot_copy_failures == 0


async def test_a_store_that_is_away_is_a_problem_until_a_copy_succeeds(
    one: Side, other: Side, root: Path
) -> None:
    away = root.with_name("away")
    root.rename(away)
    await one.copy(10)
    assert one.shared.error == f"they can't be written: there is no folder {root}"
    assert await other.newest() is None
    assert other.shared.error == f"they can't be read: there is no folder {root}"
    assert (one.telemetry.snapshot_copy_failures, other.telemetry.snapshot_copy_failures) == (1, 1)
    away.rename(root)
    one.copies.advance(10)  # the same snapshot is tried again
    await one.copies.copied(10)
    assert (one.shared.error, one.names()) == ("", ["10"])
    assert await other.newest() == (10, 10)


async def test_a_copy_that_fails_half_way_leaves_nothing(
    one: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("processor.stream.shared.stores.os.fsync", fail)
        one.copies.advance(10)
        await one.copies.copied(10)  # there is no local file yet
        fold = JoinFold(_LOG, 3, 8, None, Telemetry())
        capture = one.file.capture(10, fold.state)
        assert capture.step(60.0)
        one.file._path.parent.mkdir(exist_ok=True)
        one.file._path.write_bytes(b"".join(capture.take()))
        one.copies.advance(10)
        await one.copies.copied(10)
    assert "No space left" in one.shared.error
    assert one.names() == []


class Hanging(FolderStore):
    """A store that does not answer until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.free = threading.Event()

    def sizes(self, folder: str) -> dict[str, int]:
        assert self.free.wait(60)
        return super().sizes(folder)


@pytest.fixture
def hanging(one: Side, root: Path) -> Iterator[Hanging]:
    one.shared.store = store = Hanging(root)
    yield store
    store.free.set()


async def test_a_store_that_hangs_delays_no_one_for_ever(
    one: Side, hanging: Hanging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshots, "_STALLED", 0.05)
    caplog.set_level("INFO")
    one.keep(10)
    assert await asyncio.wait_for(one.newest(), 60) is None
    assert "does not answer" in one.shared.error
    one.copies.advance(10)
    stage = _stage(one.copies, one.file, one.telemetry)
    await asyncio.wait_for(close_within(0.2, [stage]), 60)  # nor the end
    assert "no time for the last shared snapshots of 1 partitions" in caplog.text
    assert "does not answer" in one.shared.error
    assert one.telemetry.snapshot_copy_failures == 1
    hanging.free.set()
    await one.copies.copied(10)
    assert (one.shared.error, one.names()) == ("", ["10"])


class Reader:
    """A log without heartbeats."""

    async def read(self, start: int, end: int) -> Any:
        for _ in ():
            yield _


def _stage(copies: SharedSnapshot, file: SnapshotFile, telemetry: Telemetry) -> JoinStage:
    fold = JoinFold(_LOG, 3, 8, None, telemetry)
    snapshotter = Snapshotter(file, "t/3", telemetry, WriterThread(), copies)
    return JoinStage(fold, "t/3", cast(Any, Reader()), snapshotter, cast(Any, None), telemetry)


@pytest.mark.parametrize(
    ("local", "begin", "opened"),
    [
        (0, 0, 30),
        (20, 0, 30),
        (40, 0, 40),
        (0, 35, 35),  # the log no longer has what follows the copy
    ],
)
async def test_a_partition_opens_from_the_newest_of_local_and_shared(
    local: int, begin: int, opened: int, one: Side, other: Side
) -> None:
    await one.copy(30)
    if local:
        other.keep(local)
    stage = _stage(other.copies, other.file, other.telemetry)
    assert await stage.load(begin, 50) == opened
    requests = len(stage.join.state.requests)
    assert requests == (0 if opened == begin else opened)


async def test_a_log_that_ends_before_the_copy_was_emptied(one: Side, other: Side) -> None:
    await one.copy(30)
    with pytest.raises(LogMismatchError, match="ends at 20, its snapshot is at 30"):
        await _stage(other.copies, other.file, other.telemetry).load(0, 20)


async def test_a_stage_copies_its_snapshots_and_the_last_one(
    one: Side, other: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.stream.snapshotter._EVERY", 0.0)
    stage = _stage(one.copies, one.file, one.telemetry)
    acks = Acks()

    async def advance(until: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not until():
                stage._snapshotter.advance(stage.next_offset, stage.join, acks)
                await asyncio.sleep(0.001)

    stage.join.apply(0, 1, pack(prediction(request_name(0))))
    stage.next_offset = 1
    await advance(lambda: one.folder.exists() and one.names() == ["1"])
    stage.join.apply(1, 1, pack(prediction(request_name(1))))
    stage.next_offset = 2
    await close_within(60, [stage])
    assert await other.newest() == (2, 2)


async def test_a_partition_that_was_lost_has_no_problem(one: Side, root: Path) -> None:
    shutil.rmtree(root)
    await one.copy(10)
    assert one.shared.error
    del one.copies
    async with asyncio.timeout(60):  # its thread may be about to end
        while one.shared.error:
            gc.collect()
            await asyncio.sleep(0.01)


def test_a_snapshot_says_its_offset_without_being_read(one: Side) -> None:
    assert one.file.offset() == -1
    one.keep(10)
    read = one.file.read()
    assert isinstance(read, Snapshot)
    assert one.file.offset() == read.offset == 10
    one.file._path.write_bytes(b"\x00broken")
    assert one.file.offset() == -1
