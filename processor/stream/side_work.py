"""Work beside the stream: what it needs may be away, and it goes on."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from processor.errors import ArchiveError, BrokerError

logger = logging.getLogger(__name__)

#: Seconds between rounds, and the longest pause after one that failed.
_PAUSE, _LONGEST = 1.0, 60.0


class SideWork:
    """What has such work to do; ``name`` is for the log."""

    def __init__(self, name: str) -> None:
        self.trouble = ""
        """Why it can't be done at the moment."""
        self._name = name

    async def _go_on(self, work: Callable[[], Awaitable[str]]) -> None:
        """Round after round until cancelled. ``work`` returns what was in its way and kept it from a
        part alone, empty if nothing was. A new trouble is told once; while one lasts that a round
        fails with, pauses grow."""
        delay = _PAUSE
        while True:
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            try:
                trouble = await work()
                delay = _PAUSE
            except (ArchiveError, BrokerError) as error:
                trouble = str(error)
                delay = min(delay * 2, _LONGEST) if trouble == self.trouble else _PAUSE
            if trouble and trouble != self.trouble:
                logger.warning("%s: %s; trying again", self._name, trouble)
            self.trouble = trouble
