"""Snapshots of the join in local files: any of them is right, a newer one is only faster.

A file is the length of the head, the head, the packed tables bucket by bucket, and the size of each
bucket. They are copied a slice at a time while the fold goes on; what it changes meanwhile is copied
before.
"""

import logging
import os
import re
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from processor.domain.compaction import compact, is_worth_compacting
from processor.domain.join_state import JoinState
from processor.domain.observations import SCHEMA_VERSION
from processor.domain.packed_table import PackedTable
from processor.domain.request_store import RequestPlace

logger = logging.getLogger(__name__)


class Snapshot(msgspec.Struct, array_like=True):
    """The join's state of one partition: a function of the observations before ``offset``."""

    version: int
    epoch: str
    partition: int
    partitions: int
    horizon: int
    offset: int
    state: JoinState
    judged: list[RequestPlace] = []
    """Requests whose outcome the archive was not told yet; no part of the fold."""
    buckets: list[int] = []
    """How many there are, by packed table; the state's tables have none."""


#: Seconds after which a file that was being written belongs to nobody.
_ABANDONED = 3600.0


def remove_old_snapshots(folder: Path, app_id: str, epoch: str) -> None:
    """Remove what no start can use: snapshots of an earlier log of this app, and half-written ones
    of a process that was killed."""
    kept = f"join-{app_id}-{epoch}-"
    old = re.compile(rf"join-{re.escape(app_id)}-[0-9a-f]{{16}}-[0-9]+\.")
    for path in folder.glob("join-*"):
        if not old.match(path.name):
            continue
        try:
            abandoned = time.time() - path.stat().st_mtime > _ABANDONED
            if not path.name.startswith(kept) or (path.suffix == ".new" and abandoned):
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("old snapshot %s can't be removed: %s", path, error)


#: Of the file; the head has the log's schema too.
_VERSION = SCHEMA_VERSION * 100 + 2
_LENGTH = 8
#: Buckets that are copied at a time.
_SLICE = 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Capture:
    """A snapshot in the making: the state as it was at ``offset``, copied in slices."""

    def __init__(self, snapshot: Snapshot, tables: Sequence[PackedTable]) -> None:
        head = _encode(snapshot)
        self.offset = snapshot.offset
        self.parts = [len(head).to_bytes(_LENGTH, "little"), head]
        """The file's content, once it is complete."""
        self._tables = [(table, len(table.buckets)) for table in tables]
        for table in tables:
            table.copies = {}
        self._slices = self._copy()

    def step(self, seconds: float) -> bool:
        """Copy for about so long; whether it is complete."""
        end = time.monotonic() + seconds
        return all(time.monotonic() < end for _ in self._slices)

    def _copy(self) -> Iterator[None]:
        sizes = array("I")
        for table, count in self._tables:
            for start in range(0, count, _SLICE):
                copies = table.copies
                assert copies is not None
                buckets = table.buckets[start : min(start + _SLICE, count)]
                kept = map(copies.get, range(start, start + len(buckets)))
                pairs = zip(buckets, kept, strict=True)
                pieces = [now if was is None else was for now, was in pairs]
                self.parts.append(b"".join(pieces))
                sizes.extend(map(len, pieces))
                yield
            table.copies = None
        self.parts.append(sizes.tobytes())


class SnapshotFile:
    """The snapshot of one partition."""

    def __init__(
        self,
        folder: Path,
        app_id: str,
        epoch: str,
        partition: int,
        partitions: int,
        horizon: int,
    ) -> None:
        self._path = folder / f"join-{app_id}-{epoch}-{partition}.snapshot"
        self._epoch = epoch
        self._partition = partition
        self._partitions = partitions
        self._horizon = horizon

    def capture(
        self, offset: int, state: JoinState, judged: Iterable[RequestPlace] = ()
    ) -> Capture:
        """Begin a snapshot of a state; one that was begun before and is not complete is void."""
        outlines = [msgspec.structs.replace(each, buckets=[], copies=None) for each in state.packed]
        return Capture(
            Snapshot(
                _VERSION,
                self._epoch,
                self._partition,
                self._partitions,
                self._horizon,
                offset,
                msgspec.structs.replace(state, packed=outlines),
                list(judged),
                [len(table.buckets) for table in state.packed],
            ),
            state.packed,
        )

    def write(self, content: Iterable[bytes]) -> None:
        """Replace the file, durably: after a crash there is the old one or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            with temporary.open("wb") as file:
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self) -> Snapshot | None:
        """The snapshot, None if there is none that this log and these settings can use."""
        try:
            content = memoryview(self._path.read_bytes())
            head = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
            snapshot = _decode(content[_LENGTH:head])
            known = (
                snapshot.version,
                snapshot.epoch,
                snapshot.partition,
                snapshot.partitions,
                snapshot.horizon,
            )
            wanted = (_VERSION, self._epoch, self._partition, self._partitions, self._horizon)
            if known != wanted:
                return None
            _fill(snapshot, content[head:])
            if is_worth_compacting(snapshot.state):
                places = compact(snapshot.state)
                snapshot.judged = [
                    (places[number], request_id)
                    for number, request_id in snapshot.judged
                    if number in places
                ]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.DecodeError) as error:
            logger.warning("snapshot %s can't be used: %s; reading the log", self._path, error)
            return None
        return snapshot


def _fill(snapshot: Snapshot, content: memoryview) -> None:
    """Give the tables of a snapshot's state their buckets."""
    sizes = array("I")
    end = len(content) - sum(snapshot.buckets) * sizes.itemsize
    sizes.frombytes(content[max(0, end) :])
    start, remaining = 0, iter(sizes)
    for table, count in zip(snapshot.state.packed, snapshot.buckets, strict=True):
        for size in islice(remaining, count):
            table.buckets.append(bytearray(content[start : start + size]))
            start += size
    if start != end:
        raise ValueError(f"{end} bytes of tables, not {start}")
