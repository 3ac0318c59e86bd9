"""Sending deltas: in order, pipelined, and knowing which are on the log."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

logger = logging.getLogger(__name__)


class Acks:
    """Which source offsets of one partition still have deltas on their way."""

    def __init__(self) -> None:
        self._pending: dict[int, int] = {}

    def expect(self, offset: int, records: int) -> None:
        """``records`` deltas of this offset are about to be sent."""
        if records:
            self._pending[offset] = self._pending.get(offset, 0) + records

    def arrived(self, offset: int) -> None:
        """One of them is on the log."""
        left = self._pending.get(offset, 0) - 1
        if left > 0:
            self._pending[offset] = left
        else:
            self._pending.pop(offset, None)

    def below(self, next_offset: int) -> int:
        """All deltas of records below this offset are on the log."""
        return min(self._pending, default=next_offset)


class DeltaProducer:
    """Sends to the deltas with one idempotent producer. A failed send ends the process through
    ``fail``: what was pipelined behind it is on its way, so a lone retry would come too late."""

    def __init__(
        self, producer: AIOKafkaProducer, topic: str, fail: Callable[[BaseException], None]
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._fail = fail

    async def send(self, partition: int, value: bytes, offset: int, acks: Acks) -> None:
        """Queue one record; waits for room only. ``acks`` must expect it already."""
        try:
            future = await self._producer.send(self._topic, value, partition=partition)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
            raise
        future.add_done_callback(lambda done: self._done(done, offset, acks))

    def _done(self, future: "asyncio.Future[object]", offset: int, acks: Acks) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            acks.arrived(offset)
        else:
            self._fail(error)
