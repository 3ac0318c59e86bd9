"""Snapshot files are complete or unused, and removed when no start can use them."""

import math
from pathlib import Path

import pytest

from processor.domain.join.fold import JoinFold
from processor.domain.join.state import JoinState
from processor.stream.snapshot_file import SnapshotFile, remove_old_snapshots
from processor.telemetry import Telemetry
from tests.support.join_batches import pack, prediction
from tests.support.join_model import request_name
from tests.support.snapshot_files import write

_EPOCH, _OLD = "0123456789abcdef", "fedcba9876543210"


def _file(folder: Path, log_id: str = _EPOCH, app: str = "app", horizon: int = 7) -> SnapshotFile:
    return SnapshotFile(folder, app, log_id, 0, 8, horizon)


def _store(file: SnapshotFile, offset: int, state: JoinState) -> None:
    capture = file.capture(offset, state)
    assert capture.step(math.inf)
    write(file, capture.take())


def test_a_snapshot_that_was_written_is_read(tmp_path: Path) -> None:
    file = _file(tmp_path)
    _store(file, 42, JoinState(log_time=5))
    read = file.read()
    assert read is not None
    assert (read.offset, read.state.log_time) == (42, 5)
    assert _file(tmp_path, horizon=8).read() is None
    assert _file(tmp_path, log_id=_OLD).read() is None


@pytest.mark.parametrize("damage", ["cut", "longer", "head", "nonsense", "nothing"])
def test_a_broken_file_is_not_a_snapshot(damage: str, tmp_path: Path) -> None:
    file = _file(tmp_path)
    fold = JoinFold(_EPOCH, 0, 8, None, Telemetry())
    fold.apply(0, 1, pack(*(prediction(request_name(n)) for n in range(100))))
    capture = file.capture(1, fold.state)
    assert capture.step(math.inf)
    whole = b"".join(capture.take())
    write(file, [whole])
    assert file.read() is not None
    content = {
        "cut": whole[:-50],
        "longer": whole + b"\x00",
        "head": b"\xff" * 8 + whole[8:],
        "nonsense": b"\x00broken",
        "nothing": b"",
    }[damage]
    write(file, [content])
    assert file.read() is None


def test_files_that_no_start_can_use_are_removed(tmp_path: Path) -> None:
    for name in ("app", "app-2", "other"):
        for log_id in (_EPOCH, _OLD):
            file = _file(tmp_path, log_id, name)
            _store(file, 1, JoinState())
    abandoned = tmp_path / f"join-app-{_EPOCH}-0.77.new"
    abandoned.write_bytes(b"from a process that was killed")
    draft = _file(tmp_path).draft()
    (written,) = (path for path in tmp_path.glob("*.new") if path != abandoned)
    unrelated = tmp_path / "events.sqlite"
    unrelated.write_bytes(b"")
    remove_old_snapshots(tmp_path, "app", _EPOCH)
    draft.append([b"goes on"])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "events.sqlite",
        written.name,
        f"join-app-{_EPOCH}-0.snapshot",
        *(f"join-{n}-{e}-0.snapshot" for n in ("app-2", "other") for e in (_EPOCH, _OLD)),
    }
