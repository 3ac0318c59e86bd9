"""The stores of shared snapshots: what they are without their package, and what a killed worker left."""

import os
import sys
import time
from pathlib import Path

import pytest

from processor.errors import SettingsError
from processor.stream.shared.stores import open_store


def test_a_bucket_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(
        SettingsError, match=r"'s3://bucket/a' needs the package obstore: install .*"
    ):
        open_store("s3://bucket/a")


def test_a_folder_may_have_a_space_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "with a space").mkdir()
    store = open_store(f"file://{tmp_path}/with%20a space")
    store.put("app/log/0/1-a.snapshot", iter([b"one", b"two"]))
    assert store.sizes("app/log/0") == {"1-a.snapshot": 6}
    assert list(store.read("app/log/0/1-a.snapshot", 6)) == [b"onetwo"]


def test_what_a_killed_worker_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / "1-a.x.new", tmp_path / "a" / "1-b.x.new"
    old.parent.mkdir()
    for path, age in ((old, 90_000), (new, 3_000)):
        path.write_bytes(b"unfinished")
        os.utime(path, (time.time() - age, time.time() - age))
    open_store(f"file://{tmp_path}").put("a/2-a.snapshot", iter([b"whole"]))
    assert {path.name for path in old.parent.iterdir()} == {new.name, "2-a.snapshot"}
