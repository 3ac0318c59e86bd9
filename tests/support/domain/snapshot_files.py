"""Snapshot files for tests."""

from collections.abc import Iterable

from processor.stream.snapshot_file import SnapshotFile


def write(file: SnapshotFile, content: Iterable[bytes]) -> None:
    """Replace the file at once."""
    draft = file.draft()
    draft.append(content)
    draft.keep()
