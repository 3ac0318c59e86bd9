"""Reading a partition of the log with a separate consumer, without a group or commits."""

from collections.abc import AsyncIterator, Sequence

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from processor.kafka.clients import Kafka, running
from processor.kafka.reading import read_stretches

#: The most records in one batch.
_MAX_RECORDS = 500


class LogReader:
    """Reads ranges of offsets of one partition; each read has its own consumer."""

    def __init__(self, kafka: Kafka, topic: str, partition: int) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(topic, partition)
        self.records = 0
        """How many records this reader has read."""

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of the brokers."""
        return self._kafka.servers

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset of the partition, and the offset after its last record."""
        async with running(self._kafka.consumer()) as consumer:
            begin = await consumer.beginning_offsets([self._partition])
            end = await consumer.end_offsets([self._partition])
            return begin[self._partition], end[self._partition]

    async def read(self, start: int, end: int) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """Yield the records with start <= offset < end in order, in batches of at most 500."""
        if start >= end:
            return
        async with running(self._kafka.consumer()) as consumer:
            consumer.assign([self._partition])
            starts, ends = {self._partition: start}, {self._partition: end}
            async for (records,) in read_stretches(consumer, starts, ends, _MAX_RECORDS):
                self.records += len(records)
                yield records
