"""Work beside the stream: what it needs may be away, and it goes on."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from processor.errors import ArchiveError, BrokerError

logger = logging.getLogger(__name__)

#: Seconds between rounds, and the longest pause after one that failed.
_PAUSE, _LONGEST = 1.0, 60.0


class RetryLoop:
    """What has such work to do; ``name`` is for the log."""

    def __init__(self, name: str) -> None:
        self.last_error = ""
        """Why it can't be done at the moment."""
        self._name = name

    async def _run_forever(self, work: Callable[[], Awaitable[str]]) -> None:
        """Round after round until cancelled. ``work`` returns what was in its way and kept it from a
        part alone, empty if nothing was. A new trouble is told once; while one lasts that a round
        fails with, pauses grow."""
        delay = _PAUSE
        while True:
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            try:
                last_error = await work()
                delay = _PAUSE
            except (ArchiveError, BrokerError) as error:
                last_error = str(error)
                delay = min(delay * 2, _LONGEST) if last_error == self.last_error else _PAUSE
            if last_error and last_error != self.last_error:
                logger.warning("%s: %s; trying again", self._name, last_error)
            self.last_error = last_error
