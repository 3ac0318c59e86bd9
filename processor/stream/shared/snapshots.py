"""Copies of the snapshots in a store that all workers share: a worker that takes a partition over goes
on from the newest copy, and need not read the log from its start.

A copy is a shortcut, as a snapshot is: whatever fails here makes an opening slower, and changes no
count. A copy is the snapshot's file followed by the SHA-256 of its bytes.
"""

import asyncio
import hashlib
import logging
import re
import secrets
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from processor.errors import without_credentials
from processor.stream.shared.stores import Store
from processor.stream.snapshot_file import Snapshot, SnapshotDraft, SnapshotFile
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: The least seconds between copies of a partition, how many times as long as copying took, and the
#: seconds after a failure.
_EVERY, _PAUSE, _RETRY = 300.0, 20.0, 30.0
#: Seconds without progress after which a store is taken for one that is away.
_STALLED = 30.0
#: Copies of a partition that are kept: the newest one may be damaged.
_KEPT = 2
_BLOCK = 4 << 20
_NAME = re.compile(r"([0-9]{1,18})-[0-9a-f]+\.snapshot")
_DIGEST = hashlib.sha256().digest_size


class SharedSnapshots:
    """The copies of all partitions of a worker. ``place`` is how messages name the store."""

    def __init__(self, store: Store, place: str, telemetry: Telemetry) -> None:
        self.store = store
        self.place = without_credentials(place)
        self.telemetry = telemetry
        self.worker = secrets.token_hex(4)
        self.thread = WriterThread()
        # The partitions that this worker holds: one that it lost has no problem any more.
        self._partitions: weakref.WeakSet[SharedSnapshot] = weakref.WeakSet()

    def of(self, file: SnapshotFile) -> "SharedSnapshot":
        """The copies of a partition, whose local snapshot is ``file``."""
        copies = SharedSnapshot(self, file)
        self._partitions.add(copies)
        return copies

    @property
    def error(self) -> str:
        """The error that the store gives; empty if none is known."""
        return min(filter(None, (one.trouble() for one in self._partitions)), default="")


async def newest_snapshot(
    file: SnapshotFile, shared: "SharedSnapshot | None"
) -> tuple[Snapshot | None, str]:
    """Read the newest snapshot of a partition, its file or a copy, and say in a word or two where it
    was. None if there is none that can be used."""
    if shared is not None:
        snapshot = await shared.newest()
        if snapshot is not None:
            return snapshot, "shared snapshot"
    return await asyncio.to_thread(file.read), "snapshot"


class _Copy(NamedTuple):
    offset: int
    name: str
    size: int


class SharedSnapshot:
    """The copies of one partition. Nothing here waits on the event loop's thread."""

    def __init__(self, shared: SharedSnapshots, file: SnapshotFile) -> None:
        self._shared = shared
        self._file = file
        self._folder = file.shared_folder
        self._error = ""
        self._copied = 0
        self._due = 0.0
        self._copying: asyncio.Future[None] | None = None
        self._began = 0.0
        self._moved_at = 0.0

    def trouble(self) -> str:
        """The error that the store gave this partition last; empty without one."""
        if self._copying is not None and time.monotonic() - self._moved_at > _STALLED:
            return _NO_ANSWER
        return self._error

    def advance(self, kept: int) -> None:
        """Begin to copy the local snapshot, which is as of offset ``kept``, if that is due."""
        self._note_end()
        if self._copying is None and kept > self._copied and time.monotonic() >= self._due:
            self._begin()

    def begin_last(self, kept: int) -> None:
        """Begin to copy the local snapshot, due or not."""
        self._note_end()
        if kept > self._copied and self._copying is None:
            self._begin()

    async def copied(self, kept: int) -> None:
        """Wait until the local snapshot is copied, or cannot be."""
        while self._copying is not None:
            await asyncio.wait([self._copying])
            self._note_end()
            if not self._error:
                self.begin_last(kept)  # the one that just ended may be of an older snapshot

    async def newest(self) -> Snapshot | None:
        """Read the newest sound copy; None if there is none that is newer than the local snapshot."""
        local = await asyncio.to_thread(self._file.offset)
        try:
            copies = await self._patiently(self._list)
        except OSError as error:
            self._failed(f"they can't be read: {error}")
            return None
        for copy in copies:
            if copy.offset <= local:
                break
            try:
                draft = await self._patiently(partial(self._fetch, copy))
                try:
                    snapshot = await asyncio.to_thread(draft.read, self._file.wanted)
                finally:
                    draft.drop()
            except (OSError, ValueError, msgspec.DecodeError) as error:
                self._shared.telemetry.snapshot_copy_failures += 1
                logger.warning("shared snapshot %s cannot be used: %s", self._path(copy), error)
                continue
            if snapshot is None:
                logger.info("shared snapshot %s is of other settings or another release", copy.name)
                continue
            self._copied = copy.offset
            logger.info("shared snapshot %s is read", self._path(copy))
            return snapshot
        if copies and copies[0].offset > local:
            logger.warning("no shared snapshot of %s can be used", self._folder)
        return None

    # -- on the event loop

    def _begin(self) -> None:
        self._began = self._moved_at = time.monotonic()
        self._copying = self._shared.thread.do(self._copy)

    def _note_end(self) -> None:
        if self._copying is None or not self._copying.done():
            return
        ended, self._copying = self._copying, None
        now = time.monotonic()
        error = ended.exception()
        if error is None:
            self._error = ""
            self._due = now + max(_EVERY, _PAUSE * (now - self._began))
            return
        self._due = now + _RETRY
        self._failed(f"they can't be written: {error}")

    def _failed(self, what: str) -> None:
        self._shared.telemetry.snapshot_copy_failures += 1
        self._error = what
        logger.debug("shared snapshots of %s: %s", self._folder, what)

    async def _patiently(self, work: Callable[[], T]) -> T:
        """Do work in a thread of its own, which nothing waits for once it makes no progress."""
        results: list[T] = []
        thread = WriterThread()
        self._moved_at = time.monotonic()
        future = thread.do(lambda: results.append(work()))
        while not future.done():
            left = self._moved_at + _STALLED - time.monotonic()
            if left <= 0:
                raise TimeoutError(_NO_ANSWER)
            await asyncio.wait([future], timeout=left)
        thread.close()
        future.result()
        return results.pop()

    def _path(self, copy: _Copy) -> str:
        return f"{self._shared.place.rstrip('/')}/{self._folder}/{copy.name}"

    # -- in a thread

    def _list(self) -> list[_Copy]:
        """The copies, the newest first."""
        return sorted(
            (
                _Copy(int(match[1]), name, size)
                for name, size in self._shared.store.sizes(self._folder).items()
                if (match := _NAME.fullmatch(name))
            ),
            reverse=True,
        )

    def _copy(self) -> None:
        copies = self._list()
        with self._file.open() as file:
            offset = self._file.read_offset(file)
            if offset < 0:
                raise ValueError("the local snapshot is damaged")
            # Another worker may be ahead: this one has lost the partition, and does not know it yet.
            if not copies or copies[0].offset < offset:
                name = f"{offset}-{self._shared.worker}.snapshot"
                file.seek(0)
                blocks = iter(lambda: file.read(_BLOCK), b"")
                self._shared.store.put(f"{self._folder}/{name}", self._sealed(blocks))
                copies.insert(0, _Copy(offset, name, 0))
        self._copied = offset
        if old := copies[_KEPT:]:
            self._shared.store.remove([f"{self._folder}/{copy.name}" for copy in old])

    def _sealed(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
            yield block
            self._moved_at = time.monotonic()
        yield digest.digest()

    def _fetch(self, copy: _Copy) -> SnapshotDraft:
        """Copy an object into a local file, which lasts as long as the draft; `ValueError` if it is not
        what was written."""
        draft, digest, tail = self._file.draft(), hashlib.sha256(), b""
        try:
            for block in self._shared.store.read(f"{self._folder}/{copy.name}", copy.size):
                self._moved_at = time.monotonic()
                content = tail + block
                content, tail = content[:-_DIGEST], content[-_DIGEST:]
                digest.update(content)
                draft.append([content])
            if tail != digest.digest():
                raise ValueError("its checksum is wrong")
        except BaseException:
            draft.drop()
            raise
        return draft


_NO_ANSWER = f"the store does not answer for {_STALLED:.0f} s"
