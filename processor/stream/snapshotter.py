"""Making the snapshots of one partition of the join, in short steps between its records."""

import asyncio
import logging
import time
from collections.abc import Callable

from processor.domain.join.fold import JoinFold
from processor.stream.delta_producer import Acks
from processor.stream.shared.snapshots import SharedSnapshot, newest_snapshot
from processor.stream.snapshot_file import Snapshot, SnapshotDraft, SnapshotFile, StateCapture
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: The least seconds between snapshots of a partition; more if copying one takes long.
_EVERY = 30.0
#: Seconds that one step of copying may block the event loop.
_STEP = 0.01
#: The share of the time that copying may block the event loop, on average.
_MAX_SHARE = 0.02


class Snapshotter:
    """Copies a slice of the state, lets a thread write it, then copies the next one, so that the stream
    never waits for the disk. ``topic`` is used in log lines. ``shared`` gets a copy of complete
    snapshots."""

    def __init__(
        self,
        file: SnapshotFile,
        topic: str,
        telemetry: Telemetry,
        thread: WriterThread,
        shared: SharedSnapshot | None = None,
    ) -> None:
        self.file = file
        self._shared = shared
        self._topic = topic
        self._telemetry = telemetry
        self._thread = thread
        self._writer: SnapshotWriter | None = None
        self._kept_offset = 0
        self._fails = False
        self._due = time.monotonic() + _EVERY

    async def newest(self) -> tuple[Snapshot | None, str]:
        """Read the newest snapshot, and say in a word or two where it was."""
        return await newest_snapshot(self.file, self._shared)

    def restart(self) -> None:
        """Drop the snapshot that was begun, because the fold continues from another state."""
        self._writer = None

    def advance(self, offset: int, fold: JoinFold, acks: Acks) -> None:
        """Take the next step, if one is due. The fold has applied all records before ``offset``.

        A snapshot is kept only if all deltas before its offset are acknowledged: a delta that is lost
        must be sent again by the next start.
        """
        if self._writer is not None:
            self._take_step(self._writer, acks)
        elif time.monotonic() >= self._due and offset > self._kept_offset:
            self._begin(offset, fold)
        if self._shared is not None:
            self._shared.advance(self._kept_offset)

    async def finish(self, offset: int, fold: JoinFold, acks: Acks) -> None:
        """Write a last snapshot as of ``offset``, if all deltas are acknowledged."""
        if self._writer is not None:
            await self._writer.written()
            self._note_result(self._writer)
        if self._writer is not None and self._writer.capture.offset < offset:
            self._drop(self._writer)
        if self._writer is None and offset > self._kept_offset:
            self._begin(offset, fold)
        while self._writer is not None:
            if acks.below(offset) < offset:
                self._drop(self._writer)
                return
            self._take_step(self._writer, acks)
            if self._writer is not None:
                await self._writer.written()

    def begin_last_copy(self) -> None:
        """Begin to copy the last snapshot to the shared store."""
        if self._shared is not None:
            self._shared.begin_last(self._kept_offset)

    async def copied(self) -> None:
        """Wait until the last snapshot is in the shared store, or cannot get there."""
        if self._shared is not None:
            await self._shared.copied(self._kept_offset)

    def _begin(self, offset: int, fold: JoinFold) -> None:
        started = time.monotonic()
        self._due = started + _EVERY
        capture = self.file.capture(offset, fold.state, fold.judged or ())
        self._writer = SnapshotWriter(self.file, capture, self._thread, time.monotonic() - started)

    def _take_step(self, writer: "SnapshotWriter", acks: Acks) -> None:
        if not self._note_result(writer):
            return
        try:
            if not writer.complete:
                writer.copy()
            elif acks.below(writer.capture.offset) >= writer.capture.offset:
                writer.keep()
        except Exception as error:
            self._failed(writer, error)

    def _note_result(self, writer: "SnapshotWriter") -> bool:
        """Note the result of the thread's work; returns whether the next step can be taken."""
        try:
            if writer.is_writing():
                return False
        except Exception as error:
            self._failed(writer, error)
            return False
        if writer.kept:
            self._kept_offset = writer.capture.offset
            self._fails = False
            self._end(writer)
        return not writer.kept

    def _failed(self, writer: "SnapshotWriter", error: Exception) -> None:
        """Log and drop a snapshot that failed: it makes only the next start slower."""
        if isinstance(error, OSError):
            # The disk is told as a problem; here once, until a snapshot is written again.
            level = logging.DEBUG if self._fails else logging.WARNING
            logger.log(level, "snapshot of %s not written: %s", self._topic, error)
            self._fails = True
        else:
            logger.error("snapshot of %s not written", self._topic, exc_info=error)
        self._telemetry.snapshot_failures += 1
        self._drop(writer)

    def _drop(self, writer: "SnapshotWriter") -> None:
        writer.drop()
        self._end(writer)

    def _end(self, writer: "SnapshotWriter") -> None:
        self._writer = None
        self._due = time.monotonic() + max(_EVERY, writer.seconds / _MAX_SHARE)


class SnapshotWriter:
    """Writes one snapshot; ``seconds`` is how long it has blocked the event loop so far."""

    def __init__(
        self, file: SnapshotFile, capture: StateCapture, thread: WriterThread, seconds: float
    ) -> None:
        self.capture = capture
        self.complete = self.kept = False
        self.seconds = seconds
        self._file = file
        self._thread = thread
        self._draft: SnapshotDraft | None = None
        self._write: asyncio.Future[None] | None = None

    def is_writing(self) -> bool:
        """Whether the thread is writing; raises the error of a write that failed."""
        if self._write is None:
            return False
        if self._write.done():
            write, self._write = self._write, None
            write.result()
        return self._write is not None

    async def written(self) -> None:
        """Wait until the thread has written."""
        if self._write is not None:
            await asyncio.wait([self._write])

    def copy(self) -> None:
        """Copy a slice, and let the thread write it."""
        started = time.monotonic()
        self.complete = self.capture.step(_STEP)
        self.seconds += time.monotonic() - started
        self._start(self._append)

    def keep(self) -> None:
        """Let the thread replace the old snapshot with this one."""
        self._start(self._keep)

    def drop(self) -> None:
        """Leave the snapshot unfinished; the thread must not be writing."""
        self.capture.give_up()
        if self._draft is not None:
            self._draft.drop()

    def _append(self) -> None:
        if self._draft is None:
            self._draft = self._file.draft()
        self._draft.append(self.capture.take())

    def _keep(self) -> None:
        assert self._draft is not None
        self._draft.keep()
        self.kept = True

    def _start(self, work: Callable[[], None]) -> None:
        self._write = self._thread.do(work)
