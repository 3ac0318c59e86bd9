"""Deleting the old events of the archive, in the embedded mode."""

import asyncio
import logging
import time
from collections.abc import Callable

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.timestamps import SECOND
from processor.embedded.state_file import StateFolder
from processor.errors import ArchiveError

logger = logging.getLogger(__name__)

#: Seconds between looks for old events, and between the steps of deleting them.
EVERY, _PAUSE = 60.0, 0.02


class Retention:
    """Deletes events that are more than ``seconds`` older than the last one of each saved state.

    Seen from now they may be older still: a start goes on from a saved state, and reads requests back
    as of the events that it folds again.
    """

    def __init__(
        self,
        archive: SqliteArchive,
        folder: StateFolder,
        seconds: int,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.last_error = ""
        """Why old events can't be deleted; empty if they can."""
        self._archive = archive
        self._folder = folder
        self._seconds = seconds
        self._clock = clock

    async def run(self) -> None:
        """Delete old events until cancelled."""
        while True:
            try:
                await self.delete()
                self.last_error = ""
            except ArchiveError as error:
                if not self.last_error:
                    logger.warning("deleting old events: %s; trying again", error)
                self.last_error = f"deleting old events: {error}"
            await asyncio.sleep(EVERY)

    async def delete(self) -> int:
        """Delete all events that are old now. Returns how many."""
        covered = await asyncio.to_thread(lambda: self._folder.covered)
        last = await self._archive.events(covered - 1, 1) if covered else []
        if not last or last[0][0] != covered:
            return 0
        now = self._clock()
        before = min(last[0][1].timestamp, now) - self._seconds * SECOND
        events = 0
        while True:
            deleted = await self._archive.delete_old(before, covered + 1, now)
            events += deleted.events
            if not any(deleted):
                break
            await asyncio.sleep(_PAUSE)
        if events:
            logger.debug("%d events are older than PROCESSOR_RETENTION and were deleted", events)
        return events
