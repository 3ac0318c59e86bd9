"""Folders that can't be written to, and disks without room."""

import errno
import os
from pathlib import Path

import pytest

from processor.service import disk
from processor.service.disk import DiskWatch


async def _problem(watch: DiskWatch) -> str:
    await watch.check()
    (trouble,) = watch.troubles()
    assert watch.full == 1
    assert trouble.remedy
    return trouble.what


async def test_a_folder_with_room_has_no_trouble_and_keeps_no_file(tmp_path: Path) -> None:
    watch = DiskWatch([tmp_path, tmp_path], 0.0, "nothing works")
    assert (watch.full, watch.free_bytes) == (None, None)
    await watch.check()
    assert (watch.full, list(watch.troubles()), os.listdir(tmp_path)) == (0, [], [])
    assert watch.free_bytes
    assert watch.free_bytes > 0


async def test_a_folder_that_is_gone_or_no_folder_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    watch = DiskWatch([tmp_path, gone], None, "nothing works")
    assert await _problem(watch) == (
        f"nothing can be written to {gone} (no such file or directory): nothing works"
    )
    gone.mkdir()
    await watch.check()
    assert list(watch.troubles()) == []
    gone.rmdir()
    gone.write_text("")
    assert "not a directory" in await _problem(watch)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_and_a_quota_are_told(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    watch = DiskWatch([tmp_path], 0.0, "nothing works")
    monkeypatch.setattr(Path, "write_bytes", full)
    assert await _problem(watch) == f"the disk of {tmp_path} is full: nothing works"


async def test_too_little_room_for_a_commit_counts_as_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = DiskWatch([tmp_path], 0.0, "nothing works")
    monkeypatch.setattr(disk, "_LEAST_BYTES", 1 << 62)
    assert "is full" in await _problem(watch)
    assert watch.free_bytes
    assert watch.free_bytes > 0


async def test_a_disk_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def hang(folder: Path, free: int) -> None:
        pipe.read_bytes()  # until somebody writes

    monkeypatch.setattr(disk, "PATIENCE", 0.05)
    monkeypatch.setattr(disk, "_write", hang)
    watch = DiskWatch([tmp_path], 0.0, "nothing works")
    assert "gives no answer" in await _problem(watch)
    assert "gives no answer" in await _problem(watch)
    monkeypatch.setattr(disk, "PATIENCE", 60.0)
    pipe.write_bytes(b"x")
    await watch.check()
    assert (watch.full, list(watch.troubles())) == (0, [])
