"""Partitions of Kafka read to an end, and what is said of a broker's fault: for whoever reads topics."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from processor.errors import BrokerError

#: What a client raises when the broker is away or refuses.
FAULTS = (KafkaError, OSError, TimeoutError)
#: Seconds without a step forward after which a read has failed.
_PATIENCE = 60.0


def explain(error: BaseException, servers: Sequence[str]) -> BrokerError:
    """One line for a fault of the broker."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return BrokerError(f"Kafka at {', '.join(servers)} failed: {what}: check PROCESSOR_BROKER")


async def read_stretches(
    consumer: AIOKafkaConsumer,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    most: int,
) -> AsyncIterator[list[Sequence[ConsumerRecord]]]:
    """The records with start <= offset < end of each partition, which the consumer is assigned: in
    order within each, ``most`` at a time. `BrokerError` if no more come."""
    left = {partition: start for partition, start in starts.items() if start < ends[partition]}
    for partition, start in left.items():
        consumer.seek(partition, start)
    limit = time.monotonic() + _PATIENCE
    while left:
        found = await consumer.getmany(*left, timeout_ms=500, max_records=most)
        batches: list[Sequence[ConsumerRecord]] = []
        for partition, start in tuple(left.items()):
            end, records = ends[partition], found.get(partition, ())
            reached = start
            if records:
                reached = records[-1].offset + 1
                batches.append([r for r in records if r.offset < end] if reached > end else records)
            elif not found:
                # Offsets without records (markers of transactions) move the position too.
                reached = await consumer.position(partition)
            if reached > start:
                left[partition] = reached
                limit = time.monotonic() + _PATIENCE
            if reached >= end:
                del left[partition]
        if batches:
            yield batches
        elif left and time.monotonic() > limit:
            partition, offset = next(iter(left.items()))
            raise BrokerError(
                f"{partition.topic}/{partition.partition} can't be read at offset {offset}: nothing "
                f"comes for {_PATIENCE:.0f} s"
            )
