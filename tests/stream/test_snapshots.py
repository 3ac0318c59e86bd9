"""Snapshot files: whole or not at all, and gone when nobody can use them."""

import math
import os
from pathlib import Path

from processor.domain.join_state import JoinState
from processor.stream.snapshots import SnapshotFile, remove_old_snapshots

_EPOCH, _OLD = "0123456789abcdef", "fedcba9876543210"


def _file(folder: Path, epoch: str = _EPOCH, app: str = "app", horizon: int = 7) -> SnapshotFile:
    return SnapshotFile(folder, app, epoch, 0, 8, horizon)


def _write(file: SnapshotFile, offset: int, state: JoinState) -> None:
    capture = file.capture(offset, state)
    assert capture.step(math.inf)
    file.write(capture.parts)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = _file(tmp_path)
    _write(file, 42, JoinState(log_time=5))
    read = file.read()
    assert read is not None
    assert (read.offset, read.state.log_time) == (42, 5)
    assert _file(tmp_path, horizon=8).read() is None
    assert _file(tmp_path, epoch=_OLD).read() is None


def test_a_broken_file_is_no_snapshot(tmp_path: Path) -> None:
    file = _file(tmp_path)
    file.write([b"\x00broken"])
    assert file.read() is None


def test_what_no_start_can_use_is_removed(tmp_path: Path) -> None:
    for name in ("app", "app-2", "other"):
        for epoch in (_EPOCH, _OLD):
            file = _file(tmp_path, epoch, name)
            _write(file, 1, JoinState())
    abandoned = tmp_path / f"join-app-{_EPOCH}-0.77.new"
    abandoned.write_bytes(b"")
    os.utime(abandoned, (0, 0))
    unrelated = tmp_path / "events.sqlite"
    unrelated.write_bytes(b"")
    remove_old_snapshots(tmp_path, "app", _EPOCH)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        "events.sqlite",
        f"join-app-{_EPOCH}-0.snapshot",
        *(f"join-{n}-{e}-0.snapshot" for n in ("app-2", "other") for e in (_EPOCH, _OLD)),
    }
