"""How far each partition is, by the broker's own word."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition

from processor.kafka.clients import Kafka


class PartitionPosition(NamedTuple):
    """Where whoever reads a partition stands. ``mark`` changes with each step forward, also with
    those that do not move ``next_offset`` (reading a checkpoint)."""

    next_offset: int
    up_to_date: bool
    mark: Hashable


class ProgressSample(NamedTuple):
    """``behind``: what waits for this part, 0 if nothing does."""

    name: str
    behind: int
    mark: Hashable


async def measure_lag(
    kafka: Kafka, positions: Callable[[], Mapping[TopicPartition, PartitionPosition]]
) -> list[ProgressSample]:
    """Each partition's place held against its log's end. What the broker raises while it is away is
    for the caller: then nobody can make progress."""
    consumer = kafka.consumer()
    try:
        await consumer.start()
        # A real question to the broker in any case: aiokafka's client does not survive a stop that
        # follows its start at once, and a worker without partitions wants to know too.
        known = await consumer.topics()
        ends = await consumer.end_offsets([tp for tp in positions() if tp.topic in known])
    finally:
        await consumer.stop()
    now = positions()
    return [
        ProgressSample(
            f"{partition.topic}/{partition.partition}",
            max(end - now[partition].next_offset, 0 if now[partition].up_to_date else 1),
            now[partition].mark,
        )
        for partition, end in ends.items()
        if partition in now
    ]
