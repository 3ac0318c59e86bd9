"""The source topics: other programs create them, perhaps after this one has started."""

import asyncio
import logging

from processor.backoff import Backoff
from processor.kafka.clients import Kafka

logger = logging.getLogger(__name__)

#: The most seconds between two checks for missing topics.
_CHECK_EVERY = 30.0


class SourceTopics:
    """The source topics of the settings, and which of them exist.

    A client must not ask for a topic before this class has found it: with
    ``auto.create.topics.enable`` the request would create the topic.
    """

    def __init__(self, kafka: Kafka, names: tuple[str, ...]) -> None:
        self.last_error = ""
        """Which topics are missing; empty if none is."""
        self._kafka = kafka
        self._names = names
        self._next_check = 0.0

    async def wait(self) -> tuple[str, ...]:
        """Wait until at least one topic exists, and return the topics that exist."""
        backoff = Backoff(0.5, _CHECK_EVERY)
        while not (existing := await self._check_now()):
            await backoff.sleep()
        return existing

    async def have_changed(self) -> bool:
        """Whether other topics are missing than before.

        The broker is asked only if a topic is missing, and at most every 30 s.
        """
        if not self.last_error or asyncio.get_running_loop().time() < self._next_check:
            return False
        before = self.last_error
        await self._check_now()
        return self.last_error != before

    async def _check_now(self) -> tuple[str, ...]:
        self._next_check = asyncio.get_running_loop().time() + _CHECK_EVERY
        known = {partition.topic for partition in await self._kafka.partitions(self._names)}
        missing = [name for name in self._names if name not in known]
        last_error = f"source topics missing: {', '.join(missing)}" if missing else ""
        if last_error and last_error != self.last_error:
            logger.warning("%s: create them, or correct PROCESSOR_TOPICS", last_error)
        self.last_error = last_error
        return tuple(name for name in self._names if name in known)
