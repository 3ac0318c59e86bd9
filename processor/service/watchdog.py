"""The watchdog of a worker process.

A stream can hang silently, as in a recovery that never ends. A part that has work to do, has a broker
that answers, and makes no progress is stuck: its process must end, so that another one takes over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence

from processor.errors import ProcessorError, StalledError
from processor.kafka.clients import FAULTS
from processor.kafka.lag import ProgressSample

logger = logging.getLogger(__name__)

#: Seconds between checks, and the seconds that a check may take before the broker counts as away.
EVERY, PATIENCE = 10.0, 15.0
#: Seconds without progress after which the process is not healthy, and after which it ends.
LIMIT, END = 300.0, 360.0


class Watchdog:
    """Ends the process through ``fail`` when a part that ``measure`` samples makes no progress.

    While the broker is away all parts wait, for as long as it takes, and no time is counted. Nor is
    any while the process itself is frozen, because the watchdog counts its checks and reads no clock.
    """

    def __init__(
        self,
        measure: Callable[[], Awaitable[Sequence[ProgressSample]]],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.stalled = 0.0
        """Seconds without progress of the part that has had work and made none for the longest time."""
        self.last_error = ""
        """The name and the work of that part, once it has made no progress for `LIMIT` seconds."""
        self._measure = measure
        self._fail = fail
        self._seen: dict[str, tuple[Hashable, float]] = {}

    async def run(self) -> None:
        """Check every `EVERY` seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.check()

    async def check(self) -> None:
        """Compare the position of each part with its position at the last check."""
        try:
            async with asyncio.timeout(PATIENCE):
                samples = await self._measure()
        except (*FAULTS, ProcessorError) as error:
            logger.debug("no part can make progress: %s", error)
            samples = []
        seen: dict[str, tuple[Hashable, float]] = {}
        worst = ProgressSample("", 0, None)
        self.stalled = 0.0
        for sample in samples:
            mark, still = self._seen.get(sample.name, (None, 0.0))
            still = still + EVERY if sample.behind and mark == sample.mark else 0.0
            seen[sample.name] = sample.mark, still
            if still > self.stalled:
                self.stalled, worst = still, sample
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
