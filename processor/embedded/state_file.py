"""The state of the embedded mode in files: the join, the tally, and how far the archive was read.

A file holds a head, the blocks of the tally, a snapshot of the join as `snapshot_file` describes it, and
a checksum of all that. It is as of one event of the archive: a start loads it and folds the events after
that one. Anything else can be made again from the archive, so an older file is as correct, only slower.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

import msgspec

from processor.domain.tally.tally import BlockKey, BucketBlock, CheckpointManifest, PackedBlock
from processor.errors import ArchiveError
from processor.stream.snapshot_file import (
    SNAPSHOT_VERSION,
    Snapshot,
    SnapshotDraft,
    read_snapshot,
)
from processor.telemetry import RecentDeadLetter

logger = logging.getLogger(__name__)

#: The version of a file's format; it contains that of the join's snapshots too.
STATE_VERSION = SNAPSHOT_VERSION * 100 + 1
_MAGIC = b"FMP-STATE\n"
_LENGTH, _CHECKSUM = 8, 4
#: Files that are kept: a damaged one falls back to the one before.
_KEPT = 2
#: Bytes that are read at a time to test the checksum.
_READ = 4 << 20


class StateHead(msgspec.Struct, array_like=True):
    """The head of a file. The archive with the id ``archive`` was folded up to and with the event
    ``position``, in ``offset`` batches.

    ``rules`` is a digest of the models file, which holds for the events from ``rules_since`` on.
    ``has_left`` says whether requests have left memory, ``dead_letters`` are the newest ones.
    """

    version: int
    archive: str
    position: int
    offset: int
    rules: str
    rules_since: int
    has_left: bool
    dead_letters: list[RecentDeadLetter]
    manifest: CheckpointManifest


class State(NamedTuple):
    """The content of a file."""

    head: StateHead
    blocks: dict[BlockKey, BucketBlock]
    join: Snapshot


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(StateHead).decode
_decode_version = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_decode_block = msgspec.msgpack.Decoder(tuple[BlockKey, BucketBlock]).decode


def encode_head(head: StateHead) -> list[bytes]:
    """The beginning of a file."""
    content = _encode(head)
    return [_MAGIC, len(content).to_bytes(_LENGTH, "little"), content]


def encode_block(key: BlockKey, block: PackedBlock) -> bytes:
    """A block of the tally, as it follows the head; `END_OF_BLOCKS` follows the last one."""
    content = _encode((key, block))
    return len(content).to_bytes(_LENGTH, "little") + content


END_OF_BLOCKS = bytes(_LENGTH)


def read_state(path: Path) -> State:
    """Read a file. `ArchiveError` if it is damaged, or was written by another release."""
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size - _CHECKSUM
            _check(file, end)
            head = _read_head(file)
            blocks = dict(_read_blocks(file, end))
            join = read_snapshot(file, end, (SNAPSHOT_VERSION, head.archive, 0, 1, 0))
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"the state {path} can't be used: {error}") from None
    if join is None:
        raise ArchiveError(f"the state {path} can't be used: its join is of another release")
    return State(head, blocks, join)


def _check(file: BinaryIO, end: int) -> None:
    if end < len(_MAGIC) or file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is not a state")
    file.seek(0)
    found, left = 0, end
    while left > 0:
        content = file.read(min(_READ, left))
        if not content:
            break
        found, left = crc32(content, found), left - len(content)
    if int.from_bytes(file.read(_CHECKSUM), "little") != found:
        raise ValueError("its checksum is wrong, so it is damaged")
    file.seek(len(_MAGIC))


def _read_head(file: BinaryIO) -> StateHead:
    content = file.read(int.from_bytes(file.read(_LENGTH), "little"))
    # Another release may have another form of head, but its first field is the version.
    version = msgspec.msgpack.decode(content)[0]
    if version != STATE_VERSION:
        raise ValueError(f"another release wrote it (version {version}, not {STATE_VERSION})")
    return _decode_head(content)


def _read_blocks(file: BinaryIO, end: int) -> Iterator[tuple[BlockKey, BucketBlock]]:
    while (length := int.from_bytes(file.read(_LENGTH), "little")) > 0:
        yield _decode_block(file.read(min(length, end)))


class StateWriter:
    """Writes a new file; it replaces nothing until `keep`."""

    def __init__(self, path: Path) -> None:
        self._draft = SnapshotDraft(path)
        self._checksum = 0

    def append(self, content: Iterable[bytes]) -> None:
        """Write the next parts of the content."""
        parts = list(content)
        for part in parts:
            self._checksum = crc32(part, self._checksum)
        self._draft.append(parts)

    def keep(self) -> None:
        """Complete the file durably."""
        self._draft.append([self._checksum.to_bytes(_CHECKSUM, "little")])
        self._draft.keep()

    def drop(self) -> None:
        """Remove the file if it was not kept."""
        self._draft.drop()


class StateFolder:
    """The files of one archive: the newest two are kept."""

    def __init__(self, folder: Path, archive: str) -> None:
        self._folder = folder
        self._archive = archive

    def paths(self) -> list[Path]:
        """The complete files, the newest first."""
        return sorted(self._folder.glob(f"embedded-{self._archive}-*.state"), reverse=True)

    def new(self, position: int) -> StateWriter:
        """Begin the file as of an event."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return StateWriter(self._folder / f"embedded-{self._archive}-{position:016d}.state")

    @property
    def covered(self) -> int:
        """The event up to which each of the kept files has folded the archive; 0 without a file."""
        positions = [position(path) for path in self.paths()]
        return min(positions, default=0)

    def prune(self) -> None:
        """Remove all files but the newest ones."""
        for path in self.paths()[_KEPT:]:
            path.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what a process that was killed has left behind."""
        for path in self._folder.glob("embedded-*.new"):
            path.unlink(missing_ok=True)

    def load(self, last: int) -> State | None:
        """Read the newest sound file that is not ahead of the archive, whose newest event is ``last``.

        A file that can't be used is logged and removed. None if there is none that can.
        """
        for path in self.paths():
            try:
                state = read_state(path)
                if state.head.position <= last:
                    return state
                reason = (
                    f"the state {path} is of event {state.head.position}, and the archive ends at "
                    f"{last}: an older archive was put in its place"
                )
            except ArchiveError as error:
                reason = str(error)
            logger.error("%s; falling back to the one before, or to the whole archive", reason)
            path.unlink(missing_ok=True)
        return None


def position(path: Path) -> int:
    """The event up to which a file has folded the archive, from its name."""
    match = re.fullmatch(r"embedded-[0-9a-f]+-([0-9]+)\.state", path.name)
    return int(match[1]) if match else 0
