"""Snapshots of the join in local files. An old snapshot is as correct as a new one, only slower.

A file holds the length of the head, the head, the tables of requests bucket by bucket, and the size of
each bucket. The buckets are copied in slices while the fold continues; a bucket that is about to change
is copied before. A slice is written before the next one is copied, so a snapshot needs little memory.
"""

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import time
import weakref
from array import array
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from processor.domain.join.id_set import IdSet, new_id_set
from processor.domain.join.request_store import RequestRef
from processor.domain.join.requests.python_table import TableOutline
from processor.domain.join.requests.table import RequestTable, new_table
from processor.domain.join.state import JoinState
from processor.domain.join.vacuum import is_worth_vacuuming, vacuum
from processor.domain.log.observations import SCHEMA_VERSION

logger = logging.getLogger(__name__)


class Snapshot(msgspec.Struct, array_like=True):
    """The join's state of one partition, which is a function of the observations before ``offset``."""

    version: int
    log_id: str
    partition: int
    partitions: int
    horizon: int
    offset: int
    state: JoinState
    judged: list[RequestRef] = []
    """Requests whose outcome is not in the archive yet; not a part of the fold's state."""


def remove_old_snapshots(folder: Path, app_id: str, log_id: str) -> None:
    """Remove the files that no start can use: snapshots of an earlier log of this app, and unfinished
    snapshots of a process that was killed."""
    kept = f"join-{app_id}-{log_id}-"
    old = re.compile(rf"join-{re.escape(app_id)}-[0-9a-f]{{16}}-[0-9]+\.")
    for path in folder.glob("join-*"):
        if not old.match(path.name):
            continue
        try:
            unfinished = path.suffix == _UNFINISHED
            if unfinished and _is_being_written(path):
                continue
            if unfinished or not path.name.startswith(kept):
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("old snapshot %s cannot be removed: %s", path, error)


def _is_being_written(path: Path) -> bool:
    """Whether another worker, which uses the same folder, is writing the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


#: The suffix of a file while it is being written.
_UNFINISHED = ".new"
#: The version of the file's format; it contains the log's schema too.
SNAPSHOT_VERSION = SCHEMA_VERSION * 100 + 4
_LENGTH = 8
#: Buckets that are copied or read at a time.
_SLICE = 1024


def _in_head(part: Any) -> list[TableOutline] | bytes:
    """A part of the state in the head of a file: the tables without the content of their buckets."""
    return part.content() if isinstance(part, IdSet) else part.outline()


def _from_head(kind: type, content: Any) -> IdSet | RequestTable:
    """A part of the state; the buckets of tables are still to be filled."""
    if kind is IdSet:
        return new_id_set(msgspec.convert(content, bytes))
    return new_table(msgspec.convert(content, list[TableOutline]))


_encode = msgspec.msgpack.Encoder(enc_hook=_in_head).encode
_decode = msgspec.msgpack.Decoder(Snapshot, dec_hook=_from_head).decode


def _decode_start(head: bytes) -> tuple[int, str, int, int, int, int]:
    start = _decode_parts(head)
    return msgspec.convert(
        [msgspec.msgpack.decode(part) for part in start[:6]], tuple[int, str, int, int, int, int]
    )


_decode_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class StateCapture:
    """A copy of the state as it was at ``offset``, which is made in slices."""

    def __init__(self, snapshot: Snapshot) -> None:
        head = _encode(snapshot)
        self.offset = snapshot.offset
        self.parts = [len(head).to_bytes(_LENGTH, "little"), head]
        """The file's content that is copied, and not taken yet."""
        self._table = snapshot.state.requests
        self._table.begin_copy()
        self._slices = _copy(self._table, self.parts)

    def step(self, seconds: float) -> bool:
        """Copy for about this long (seconds), and return whether the copy is complete."""
        end = time.monotonic() + seconds
        return all(time.monotonic() < end for _ in self._slices)

    def take(self) -> list[bytes]:
        """Take the content that was copied since the last call."""
        taken = self.parts[:]
        self.parts.clear()
        return taken

    def give_up(self) -> None:
        """Leave the copy incomplete: buckets that change need not be copied any more."""
        self._slices.close()
        self._table.end_copy()


def _copy(table: RequestTable, parts: list[bytes]) -> Generator[None, None, None]:
    """Copy a slice for each item. Not a method: a cycle would keep the buckets in memory until the next
    garbage collection."""
    sizes = array("I")
    while (copied := table.copy(_SLICE)) is not None:
        content, copied_sizes = copied
        parts.append(content)
        sizes.extend(copied_sizes)
        yield
    parts.append(sizes.tobytes())


class SnapshotFile:
    """The snapshot of one partition."""

    def __init__(
        self,
        folder: Path,
        app_id: str,
        log_id: str,
        partition: int,
        partitions: int,
        horizon: int,
    ) -> None:
        self._path = folder / f"join-{app_id}-{log_id}-{partition}.snapshot"
        self.shared_folder = f"{app_id}/{log_id}/{partition}"
        """The folder of the partition in a store that is shared."""
        self.wanted = (SNAPSHOT_VERSION, log_id, partition, partitions, horizon)
        """The values that the head of a snapshot of this partition begins with."""

    def capture(
        self, offset: int, state: JoinState, judged: Iterable[RequestRef] = ()
    ) -> StateCapture:
        """Begin a copy of a state; a copy of the same state that is not complete becomes void."""
        return StateCapture(Snapshot(*self.wanted, offset, state, list(judged)))

    def draft(self) -> "SnapshotDraft":
        """Begin a new file beside the existing one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return SnapshotDraft(self._path)

    def read(self) -> Snapshot | None:
        """Read the snapshot; None if there is none, or none for this log and these settings."""
        try:
            with self.open() as file:
                return read_snapshot(file, os.fstat(file.fileno()).st_size, self.wanted)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            logger.warning("snapshot %s cannot be used: %s; reading the log", self._path, error)
            return None

    def open(self) -> BinaryIO:
        """Open the file; it stays the same although a newer one replaces it."""
        return self._path.open("rb")

    def offset(self) -> int:
        """The offset of the snapshot; -1 if there is none that can be used."""
        try:
            with self.open() as file:
                return self.read_offset(file)
        except OSError:
            return -1

    def read_offset(self, file: BinaryIO) -> int:
        """The offset of an open snapshot, -1 if it cannot be used; only its head is read."""
        size = os.fstat(file.fileno()).st_size
        head = int.from_bytes(file.read(_LENGTH), "little")
        try:
            version, log_id, partition, partitions, horizon, offset = _decode_start(
                file.read(min(head, size))
            )
        except (ValueError, msgspec.DecodeError):
            return -1
        found = version, log_id, partition, partitions, horizon
        return offset if found == self.wanted else -1


def read_snapshot(
    file: BinaryIO, end: int, wanted: tuple[int, str, int, int, int]
) -> Snapshot | None:
    """Read a snapshot from the file's position to ``end``. None if its head does not begin with
    ``wanted``; `ValueError` or `msgspec.DecodeError` if it is damaged."""
    head = int.from_bytes(file.read(_LENGTH), "little")
    snapshot = _decode(file.read(min(head, end)))
    found = (
        snapshot.version,
        snapshot.log_id,
        snapshot.partition,
        snapshot.partitions,
        snapshot.horizon,
    )
    if found != wanted:
        return None
    _fill(snapshot, file, end)
    if is_worth_vacuuming(snapshot.state):
        vacuum_snapshot(snapshot)
    return snapshot


def vacuum_snapshot(snapshot: Snapshot) -> None:
    """Remove what no request refers to from a state that no fold uses."""
    refs = vacuum(snapshot.state)
    snapshot.judged = [
        (refs[number], request_id) for number, request_id in snapshot.judged if number in refs
    ]


class SnapshotDraft:
    """A snapshot file that is being written. The file is removed with the object unless it is kept; a
    crash may leave it behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        handle, name = tempfile.mkstemp(_UNFINISHED, f"{path.stem}.", path.parent)
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb")
        self.drop = weakref.finalize(self, _remove, self._file, self._temporary)
        """Close the file, and remove it if it was not kept."""
        self.drop.atexit = False  # a thread may be writing; the next start removes the file
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def append(self, content: Iterable[bytes]) -> None:
        """Write the next part of the content."""
        self._file.writelines(content)

    def read(self, wanted: tuple[int, str, int, int, int]) -> Snapshot | None:
        """Read what was written; see `read_snapshot`."""
        self._file.flush()
        with self._temporary.open("rb") as file:
            return read_snapshot(file, os.fstat(file.fileno()).st_size, wanted)

    def keep(self) -> None:
        """Replace the old file durably: after a crash either the old or the new file exists."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._path)
        sync_folder(self._path.parent)
        self.drop()


def sync_folder(folder: Path) -> None:
    """Make the names of the files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(file: BinaryIO, path: Path) -> None:
    with contextlib.suppress(OSError):  # the disk may be full
        file.close()
    with contextlib.suppress(OSError):
        path.unlink()


def _fill(snapshot: Snapshot, file: BinaryIO, end: int) -> None:
    """Read the buckets of a snapshot's tables, from the current position of the file."""
    table, sizes = snapshot.state.requests, array("I")
    buckets = sum(count for count, _ in table.outline())
    start, stop = file.tell(), end - buckets * sizes.itemsize
    file.seek(max(start, stop))
    sizes.frombytes(file.read(end - file.tell()))
    if start + sum(sizes) != stop:
        raise ValueError(f"{stop - start} bytes of tables, not {sum(sizes)}")
    file.seek(start)
    for first in range(0, buckets, _SLICE):
        some = list(sizes[first : first + _SLICE])
        table.fill(file.read(sum(some)), some)
