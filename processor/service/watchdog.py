"""A stream can hang in silence: a recovery that never ends, an agent that waits for nothing. Whoever
has work to do, has a broker that answers, and takes no step, is stuck, and its process must end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence

from processor.errors import ProcessorError, StalledError
from processor.kafka.clients import FAULTS
from processor.kafka.lag import ProgressSample

logger = logging.getLogger(__name__)

#: Seconds between looks, and how long one may take before the broker counts as away.
EVERY, PATIENCE = 10.0, 15.0
#: Seconds without a step after which the process is not healthy, and when it ends by itself.
LIMIT, END = 300.0, 360.0


class Watchdog:
    """``measure`` says where each part stands; ``fail`` ends the process.

    A broker that is away makes everybody wait, for as long as it takes: nothing is counted then. Nor
    while the process itself is frozen: looks are counted, not a clock read.
    """

    def __init__(
        self,
        measure_lag: Callable[[], Awaitable[Sequence[ProgressSample]]],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.stalled = 0.0
        """Seconds since the part that stands still longest, though it has work, last took a step."""
        self.last_error = ""
        """Which part that is, once it takes too long."""
        self._measure = measure_lag
        self._fail = fail
        self._seen: dict[str, tuple[Hashable, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.check()

    async def check(self) -> None:
        """Hold all parts against where they stood at the last look."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._measure()
        except (*FAULTS, ProcessorError) as error:
            logger.debug("nobody can make progress: %s", error)
            found = []
        seen: dict[str, tuple[Hashable, float]] = {}
        worst = ProgressSample("", 0, None)
        self.stalled = 0.0
        for part in found:
            mark, still = self._seen.get(part.name, (None, 0.0))
            still = still + EVERY if part.behind and mark == part.mark else 0.0
            seen[part.name] = part.mark, still
            if still > self.stalled:
                self.stalled, worst = still, part
        self._seen = seen
        self.last_error = ""
        if self.stalled >= LIMIT:
            self.last_error = (
                f"{worst.name} has {worst.behind} records to take in, Kafka answers, and for "
                f"{self.stalled:.0f} s there was no progress"
            )
            logger.error("%s", self.last_error)
        if self.stalled >= END:
            self._fail(StalledError(f"{self.last_error}: start again, nothing is lost"))
