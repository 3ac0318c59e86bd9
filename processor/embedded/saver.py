"""Saving the state of the embedded mode every few minutes, beside the fold."""

import asyncio
import logging
import time

from processor.archive.sqlite.archive import SqliteArchive
from processor.embedded.event_fold import EventFold
from processor.embedded.state_file import (
    END_OF_BLOCKS,
    StateFolder,
    StateWriter,
    encode_block,
    encode_head,
)
from processor.errors import ArchiveError
from processor.stream.snapshot_file import StateCapture
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Seconds between saves while events come, the least seconds between them, and the events after which
#: one is due in between: these are what a start has to fold.
EVERY, AT_LEAST, EVENTS = 120.0, 30.0, 100_000
#: Seconds that one step of copying may block the event loop, and the share of the time that saving may
#: take.
_STEP, _MAX_SHARE = 0.01, 0.05


class StateSaver:
    """Saves the state of a fold in files of a folder.

    The tally is encoded while the fold waits; then the join is copied in slices while the fold goes on.
    """

    def __init__(self, folder: StateFolder, archive: SqliteArchive, telemetry: Telemetry) -> None:
        self.last_error = ""
        """Why the state could not be saved last; empty if it was."""
        self.saved_at = time.time()
        """The last time at which the newest state had all events, in seconds since 1970."""
        self.saved_position = 0
        """The event up to which the newest state has folded the archive; 0 before the first."""
        self._folder = folder
        self._archive = archive
        self._telemetry = telemetry
        self._saving: asyncio.Task[None] | None = None
        self._due = time.monotonic() + AT_LEAST

    def is_due(self, fold: EventFold) -> bool:
        """Whether the fold has changed so much, or for so long, that it should be saved now."""
        if self._saving is not None and not self._saving.done():
            return False
        changed, now = fold.position - self.saved_position, time.monotonic()
        if not changed:
            return False
        return now >= self._due + (0.0 if changed >= EVENTS else EVERY - AT_LEAST)

    def note_all_saved(self, fold: EventFold) -> None:
        """Note the time if the newest state has all events; to be called before more are folded."""
        if fold.position == self.saved_position:
            self.saved_at = time.time()

    async def begin(self, fold: EventFold) -> None:
        """Begin to save the fold as it is now. It may go on once this returns."""
        started = time.monotonic()
        self._due = started + AT_LEAST
        try:
            # The notes of the events up to here are never made again.
            await self._archive.flush_notes()
        except ArchiveError as error:
            self._failed(error)
            return
        flush, content = fold.tally.flush_all(), []
        for written in flush.blocks:
            if written is not None:
                content.append(encode_block(*written))
            else:
                await asyncio.sleep(0)
        content = [*encode_head(fold.head(flush.manifest())), *content, END_OF_BLOCKS]
        capture = StateCapture(fold.snapshot())
        self._saving = asyncio.create_task(self._save(fold.position, content, capture, started))

    async def finish(self, fold: EventFold) -> None:
        """Save the fold as it is now, and wait until it is saved."""
        if self._saving is not None and not self._saving.done():
            self._saving.cancel()
            await asyncio.wait([self._saving])
        if fold.position != self.saved_position:
            await self.begin(fold)
            if self._saving is not None:
                await self._saving

    async def _save(
        self, position: int, content: list[bytes], capture: StateCapture, started: float
    ) -> None:
        writer: StateWriter | None = None
        complete = False
        try:
            writer = await asyncio.to_thread(self._folder.new, position)
            await asyncio.to_thread(writer.append, content)
            while not complete:
                complete = capture.step(_STEP)
                await asyncio.to_thread(writer.append, capture.take())
            await asyncio.to_thread(writer.keep)
            await asyncio.to_thread(self._folder.prune)
        except OSError as error:
            self._failed(error)
            return
        finally:
            if not complete:
                capture.give_up()
            if writer is not None:
                writer.drop()
        seconds = time.monotonic() - started
        self._due = started + max(AT_LEAST, seconds / _MAX_SHARE)
        self.saved_position, self.saved_at, self.last_error = position, time.time(), ""
        logger.debug("state of event %d saved in %.2f s", position, seconds)

    def _failed(self, error: Exception) -> None:
        """Log an error: without this state only the next start takes longer."""
        self._telemetry.snapshot_failures += 1
        if not self.last_error:
            logger.warning("the state can't be saved: %s; trying again", error)
        self.last_error = f"the state can't be saved: {error}"
