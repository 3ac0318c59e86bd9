"""Whether the counts of a worker are complete: include all that was stored when it started."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from aiokafka import TopicPartition

from processor.kafka.clients import FAULTS, Kafka, running

logger = logging.getLogger(__name__)

#: Seconds between looks.
_LOOK_EVERY = 0.25


class CountingWorker(Protocol):
    """The partitions of a worker, with their offsets."""

    takeovers: int
    """Changes whenever the worker is given partitions that it did not have."""
    kafka: Kafka

    @property
    def is_open(self) -> bool:
        """Whether the worker has joined its group, and all of its partitions are up to date."""
        ...

    def positions_of_joins(self) -> Mapping[TopicPartition, int]:
        """The offsets of the observations below which all deltas are on the log."""
        ...

    def positions_of_tallies(self) -> Mapping[TopicPartition, int]:
        """The next offsets of the deltas."""
        ...


class Completeness:
    """Follows what was stored at the start through the source, both logs and the counts.

    ``stored_is_read`` returns whether the source and the archive were read as far as they went at the
    start. A worker that takes over partitions begins again; in the whole app the counts are complete
    when they are so in every worker.
    """

    def __init__(self, worker: CountingWorker, stored_is_read: Callable[[], bool]) -> None:
        self._worker = worker
        self._stored_is_read = stored_is_read
        self._complete_at: int | None = None

    def __call__(self) -> bool:
        """Whether the counts are complete."""
        worker = self._worker
        return self._complete_at == worker.takeovers and worker.is_open

    async def run(self) -> None:
        """Follow until cancelled."""
        worker = self._worker
        while True:
            takeovers = worker.takeovers
            try:
                await self._until(self._stored_is_read)
                # One after the other: what the source gave goes by the observations to the deltas.
                await self._reach_end(worker.positions_of_joins)
                await self._reach_end(worker.positions_of_tallies)
            except FAULTS as error:
                logger.debug("the ends of the logs are not known: %s", error)
                await asyncio.sleep(1.0)
                continue
            if takeovers == worker.takeovers:
                self._complete_at = takeovers
                await self._until(lambda: worker.takeovers != takeovers)  # noqa: B023

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110  # many parts decide it
            await asyncio.sleep(_LOOK_EVERY)

    async def _reach_end(self, positions: Callable[[], Mapping[TopicPartition, int]]) -> None:
        await self._until(lambda: self._worker.is_open)
        async with running(self._worker.kafka.consumer()) as consumer:
            partitions = list(positions())
            ends = await consumer.end_offsets(partitions) if partitions else {}

        def reached() -> bool:
            now = positions()
            # Who has lost a partition has nothing to show of it.
            return all(now[one] >= end for one, end in ends.items() if one in now)

        await self._until(reached)
