"""Makes the snapshots of one partition of the join, a little between its records."""

import asyncio
import logging
import time
from collections.abc import Callable

from processor.domain.join.fold import JoinFold
from processor.stream.delta_producer import Acks
from processor.stream.snapshot_file import SnapshotDraft, SnapshotFile, StateCapture
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Least seconds between snapshots of a partition; more if copying one takes long.
_EVERY = 30.0
#: Seconds that it may stop the stream at a time.
_SLICE = 0.01
#: A snapshot may stop the loop for this share of the time, on average.
_SHARE = 0.02


class Snapshotter:
    """Copies a slice of the state, lets a thread write it, copies the next one; the stream never
    waits for the disk. ``topic`` is for the log."""

    def __init__(
        self, file: SnapshotFile, topic: str, telemetry: Telemetry, thread: WriterThread
    ) -> None:
        self.file = file
        self._topic = topic
        self._telemetry = telemetry
        self._thread = thread
        self._making: SnapshotWriter | None = None
        self._kept_offset = 0
        self._due = time.monotonic() + _EVERY

    def restart(self) -> None:
        """The fold goes on from another state: what was begun is void."""
        self._making = None

    def go_on(self, offset: int, fold: JoinFold, acks: Acks) -> None:
        """Do what is next, if anything is. The fold has taken in all before ``offset``. A snapshot
        never passes a delta that is not acknowledged: after a loss the next start sends it."""
        if self._making is not None:
            self._step(self._making, acks)
        elif time.monotonic() >= self._due and offset > self._kept_offset:
            self._begin(offset, fold)

    async def finish(self, offset: int, fold: JoinFold, acks: Acks) -> None:
        """Write a last one, if all deltas are acknowledged."""
        if self._making is not None:
            await self._making.written()
            self._take_note(self._making)
        if self._making is not None and self._making.capture.offset < offset:
            self._drop(self._making)
        if self._making is None and offset > self._kept_offset:
            self._begin(offset, fold)
        while self._making is not None:
            if acks.below(offset) < offset:
                self._drop(self._making)
                return
            self._step(self._making, acks)
            if self._making is not None:
                await self._making.written()

    def _begin(self, offset: int, fold: JoinFold) -> None:
        started = time.monotonic()
        self._due = started + _EVERY
        capture = self.file.capture(offset, fold.state, fold.judged or ())
        self._making = SnapshotWriter(self.file, capture, self._thread, time.monotonic() - started)

    def _step(self, making: "SnapshotWriter", acks: Acks) -> None:
        if not self._take_note(making):
            return
        try:
            if not making.complete:
                making.copy()
            elif acks.below(making.capture.offset) >= making.capture.offset:
                making.keep()
        except Exception as error:
            self._failed(making, error)

    def _take_note(self, making: "SnapshotWriter") -> bool:
        """Of what the thread has done; whether the next step can be taken."""
        try:
            if making.is_writing():
                return False
        except Exception as error:
            self._failed(making, error)
            return False
        if making.kept:
            self._kept_offset = making.capture.offset
            self._end(making)
        return not making.kept

    def _failed(self, making: "SnapshotWriter", error: Exception) -> None:
        """Only the next start gets slower."""
        if isinstance(error, OSError):
            logger.warning("snapshot of %s not written: %s", self._topic, error)
        else:
            logger.error("snapshot of %s not written", self._topic, exc_info=error)
        self._telemetry.snapshot_failures += 1
        self._drop(making)

    def _drop(self, making: "SnapshotWriter") -> None:
        making.drop()
        self._end(making)

    def _end(self, making: "SnapshotWriter") -> None:
        self._making = None
        self._due = time.monotonic() + max(_EVERY, making.seconds / _SHARE)


class SnapshotWriter:
    """A snapshot that was begun; ``seconds`` is for how long it has stopped the stream."""

    def __init__(
        self, file: SnapshotFile, capture: StateCapture, thread: WriterThread, seconds: float
    ) -> None:
        self.capture = capture
        self.complete = self.kept = False
        self.seconds = seconds
        self._file = file
        self._thread = thread
        self._draft: SnapshotDraft | None = None
        self._writing: asyncio.Future[None] | None = None

    def is_writing(self) -> bool:
        """Whether the thread is at it; raises what that has raised."""
        if self._writing is None:
            return False
        if self._writing.done():
            writing, self._writing = self._writing, None
            writing.result()
        return self._writing is not None

    async def written(self) -> None:
        """Wait for the thread."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def copy(self) -> None:
        """Copy a slice, and have it written."""
        started = time.monotonic()
        self.complete = self.capture.step(_SLICE)
        self.seconds += time.monotonic() - started
        self._start(self._append)

    def keep(self) -> None:
        """Have it take its place."""
        self._start(self._keep)

    def drop(self) -> None:
        """Leave it unfinished; no thread may be at it."""
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
        self._writing = self._thread.do(work)
