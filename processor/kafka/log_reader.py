"""Reading a partition of the log with a consumer of one's own: no group, no commits."""

from collections.abc import AsyncIterator, Sequence

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from processor.kafka.clients import Kafka
from processor.kafka.reading import read_stretches

#: Records of a batch at most.
_RECORDS = 500


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
            stretch = {self._partition: start}, {self._partition: end}
            async for (records,) in read_stretches(consumer, *stretch, _RECORDS):
                self.records += len(records)
                yield records
        finally:
            await consumer.stop()
