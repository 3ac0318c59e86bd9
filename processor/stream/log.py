"""Reading a partition of the log with a consumer of one's own: no group, no commits."""

import time
from collections.abc import AsyncIterator, Sequence

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from processor.errors import BrokerError
from processor.stream.connection import Kafka

#: Seconds without a record after which a read has failed.
_PATIENCE = 60.0


class LogReader:
    """Reads stretches of one partition."""

    def __init__(self, kafka: Kafka, topic: str, partition: int) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(topic, partition)
        self.records = 0
        """How many were read, ever."""

    async def bounds(self) -> tuple[int, int]:
        """The first offset there is, and the one after the last."""
        consumer = self._kafka.consumer()
        try:
            await consumer.start()
            begin = await consumer.beginning_offsets([self._partition])
            end = await consumer.end_offsets([self._partition])
            return begin[self._partition], end[self._partition]
        finally:
            await consumer.stop()

    async def read(self, start: int, end: int) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """The records with start <= offset < end, in order, in batches."""
        if start >= end:
            return
        consumer = self._kafka.consumer()
        try:
            await consumer.start()
            consumer.assign([self._partition])
            consumer.seek(self._partition, start)
            limit = time.monotonic() + _PATIENCE
            while start < end:
                found = await consumer.getmany(self._partition, timeout_ms=500, max_records=500)
                messages = found.get(self._partition, ())
                if messages:
                    start = messages[-1].offset + 1
                    self.records += len(messages)
                    limit = time.monotonic() + _PATIENCE
                    if start > end:
                        messages = [m for m in messages if m.offset < end]
                    yield messages
                else:
                    # Offsets without records (markers of transactions) move the position too.
                    start = max(start, await consumer.position(self._partition))
                    if time.monotonic() > limit:
                        raise BrokerError(
                            f"{self._partition.topic}/{self._partition.partition} can't be read "
                            f"at offset {start}"
                        )
        finally:
            await consumer.stop()
