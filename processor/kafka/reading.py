"""Reading partitions from one offset to another, and describing a broker's fault."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from processor.errors import BrokerError

#: The errors that a client raises if the broker is away or refuses a request.
FAULTS = (KafkaError, OSError, TimeoutError)
#: Seconds without progress after which a read has failed.
_PATIENCE = 60.0


def explain(error: BaseException, servers: Sequence[str]) -> BrokerError:
    """Describe a fault of the broker in one line."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return BrokerError(f"Kafka at {', '.join(servers)} failed: {what}: check PROCESSOR_BROKER")


async def read_stretches(
    consumer: AIOKafkaConsumer,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    max_records: int,
) -> AsyncIterator[list[Sequence[ConsumerRecord]]]:
    """Yield the records with start <= offset < end of each partition, at most ``max_records`` at a time.

    The partitions must be assigned to the consumer. Each item is a list of record sequences, each from
    one partition; the records of a partition come in order. `BrokerError` after 60 s without progress.
    """
    positions = {one: start for one, start in starts.items() if start < ends[one]}
    for partition, start in positions.items():
        consumer.seek(partition, start)
    limit = time.monotonic() + _PATIENCE
    while positions:
        found = await consumer.getmany(*positions, timeout_ms=500, max_records=max_records)
        batches: list[Sequence[ConsumerRecord]] = []
        for partition, start in tuple(positions.items()):
            end, records = ends[partition], found.get(partition, ())
            reached = start
            if records:
                reached = records[-1].offset + 1
                batches.append([r for r in records if r.offset < end] if reached > end else records)
            elif not found:
                # Offsets without records (transaction markers) move the position too.
                reached = await consumer.position(partition)
            if reached > start:
                positions[partition] = reached
                limit = time.monotonic() + _PATIENCE
            if reached >= end:
                del positions[partition]
        if batches:
            yield batches
        elif positions and time.monotonic() > limit:
            partition, offset = next(iter(positions.items()))
            raise BrokerError(
                f"{partition.topic}/{partition.partition} can't be read at offset {offset}: nothing "
                f"comes for {_PATIENCE:.0f} s"
            )
