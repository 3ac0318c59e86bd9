"""The source topics: others make them, and may do so later."""

import asyncio
import logging
import random

from processor.kafka.clients import Kafka

logger = logging.getLogger(__name__)

#: Seconds after which missing topics are looked for again, at most.
_LOOK_AGAIN = 30.0


class SourceTopics:
    """Those of the settings. No client may ask for one before it is known to be there: with
    ``auto.create.topics.enable`` that would make it."""

    def __init__(self, kafka: Kafka, names: tuple[str, ...]) -> None:
        self.last_error = ""
        """Which are missing."""
        self._kafka = kafka
        self._names = names
        self._next_look = 0.0

    async def wait(self) -> tuple[str, ...]:
        """Those that there are; waits for the first one."""
        delay = 0.5
        while not (there := await self._check_now()):
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 2, _LOOK_AGAIN)
        return there

    async def have_changed(self) -> bool:
        """Whether others are missing than before; looks now and then where some are."""
        if not self.last_error or asyncio.get_running_loop().time() < self._next_look:
            return False
        before = self.last_error
        await self._check_now()
        return self.last_error != before

    async def _check_now(self) -> tuple[str, ...]:
        self._next_look = asyncio.get_running_loop().time() + _LOOK_AGAIN
        known = {partition.topic for partition in await self._kafka.partitions(self._names)}
        missing = [name for name in self._names if name not in known]
        last_error = f"source topics missing: {', '.join(missing)}" if missing else ""
        if last_error and last_error != self.last_error:
            logger.warning("%s: make them, or correct PROCESSOR_TOPICS", last_error)
        self.last_error = last_error
        return tuple(name for name in self._names if name in known)
