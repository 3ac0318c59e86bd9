"""Producing deltas: in order and pipelined, with a record of which are acknowledged."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

logger = logging.getLogger(__name__)


class Acks:
    """The offsets of one partition of the observations whose deltas are not all acknowledged."""

    def __init__(self) -> None:
        self._pending: dict[int, int] = {}

    def expect(self, offset: int, records: int) -> None:
        """Note that ``records`` delta records of this offset are about to be sent."""
        if records:
            self._pending[offset] = self._pending.get(offset, 0) + records

    def arrived(self, offset: int) -> None:
        """Note that one delta record of this offset is acknowledged."""
        pending = self._pending.get(offset, 0) - 1
        if pending > 0:
            self._pending[offset] = pending
        else:
            self._pending.pop(offset, None)

    def below(self, next_offset: int) -> int:
        """Return the offset below which all deltas are acknowledged."""
        return min(self._pending, default=next_offset)


class DeltaProducer:
    """Sends deltas with one idempotent producer.

    A failed send ends the process through ``fail``: later deltas of the pipeline are already under way,
    so a single retry would come out of order.
    """

    def __init__(
        self, producer: AIOKafkaProducer, topic: str, fail: Callable[[BaseException], None]
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._fail = fail

    async def send(self, partition: int, value: bytes, offset: int, acks: Acks) -> None:
        """Queue one record of the deltas topic; waits only for space in the producer's buffer.

        ``offset`` is that of the observations that it came from; ``acks`` must expect it already.
        """
        try:
            future = await self._producer.send(self._topic, value, partition=partition)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)
            raise
        future.add_done_callback(lambda sent: self._on_sent(sent, offset, acks))

    def _on_sent(self, future: "asyncio.Future[object]", offset: int, acks: Acks) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            acks.arrived(offset)
        else:
            self._fail(error)
