"""Snapshots of the join in local files: any of them is right, a newer one is only faster."""

import logging
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from processor.domain.join import RequestPlace
from processor.domain.join_state import JoinState
from processor.domain.observations import SCHEMA_VERSION

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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


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

    def encode(self, offset: int, state: JoinState, judged: Iterable[RequestPlace] = ()) -> bytes:
        """The file's content for a state."""
        return _encode(
            Snapshot(
                SCHEMA_VERSION,
                self._epoch,
                self._partition,
                self._partitions,
                self._horizon,
                offset,
                state,
                list(judged),
            )
        )

    def write(self, content: bytes) -> None:
        """Replace the file, durably: after a crash there is the old one or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def read(self) -> Snapshot | None:
        """The snapshot, None if there is none that this log and these settings can use."""
        try:
            snapshot = _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            logger.warning("snapshot %s can't be used: %s; reading the log", self._path, error)
            return None
        known = (
            snapshot.version,
            snapshot.epoch,
            snapshot.partition,
            snapshot.partitions,
            snapshot.horizon,
        )
        wanted = (SCHEMA_VERSION, self._epoch, self._partition, self._partitions, self._horizon)
        return snapshot if known == wanted else None
