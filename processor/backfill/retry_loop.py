"""Tasks beside the stream that continue after a fault of the archive or the broker."""

import logging
from collections.abc import Awaitable, Callable

from processor.backoff import LONGEST, Backoff
from processor.errors import ArchiveError, BrokerError

logger = logging.getLogger(__name__)

#: Seconds between rounds.
_PAUSE = 1.0


class RetryLoop:
    """The base of a task that repeats its work; ``name`` is used in log lines."""

    def __init__(self, name: str) -> None:
        self.last_error = ""
        """Why the work cannot be done at the moment; empty if it can."""
        self._name = name

    async def _run_forever(self, work: Callable[[], Awaitable[str]]) -> None:
        """Repeat ``work`` until cancelled.

        ``work`` returns the error that kept it from a part of its work, or an empty string. While rounds
        fail with the same error, the pauses between them grow.
        """
        backoff = Backoff(_PAUSE, LONGEST)
        while True:
            await backoff.sleep()
            try:
                last_error = await work()
                backoff.reset()
            except (ArchiveError, BrokerError) as error:
                last_error = str(error)
                if last_error != self.last_error:
                    backoff.reset()
            if last_error and last_error != self.last_error:
                # Who asks for `last_error` tells the user.
                logger.debug("%s: %s; trying again", self._name, last_error)
            self.last_error = last_error
