"""Pauses between tries of something that may be away for a while."""

import asyncio
import random

#: The longest pause (s) of work whose error is shown as a problem: so its end shows within 5 s too.
LONGEST = 4.0


class Backoff:
    """Pauses that double from ``first`` to ``longest`` seconds, each with 20 % of jitter.

    The jitter keeps workers that failed at the same moment from all coming back at the same moment.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.delay = first
        """Seconds that the next pause takes, before jitter."""

    def reset(self) -> None:
        """Begin with the first pause again, because a try has succeeded."""
        self.delay = self._first

    async def sleep(self, asked: float | None = None) -> None:
        """Pause for `delay`, or for at least the seconds that a server has ``asked`` for, and double
        `delay` for the next time."""
        delay = self.delay
        self.delay = min(2 * delay, self._longest)
        if asked is None:
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
        else:
            await asyncio.sleep(asked * random.uniform(1.0, 1.2))
