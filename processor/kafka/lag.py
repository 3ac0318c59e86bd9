"""The lag of each partition: its position compared with the end that the broker reports."""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from aiokafka import TopicPartition

from processor.kafka.clients import Kafka, running


class PartitionPosition(NamedTuple):
    """The position of a partition's reader.

    ``mark`` changes with each step forward, also with steps that do not move ``next_offset`` (reading a
    checkpoint).
    """

    next_offset: int
    up_to_date: bool
    mark: Hashable


class ProgressSample(NamedTuple):
    """The progress of one part of the worker: ``behind`` is how many records wait for it, and ``mark``
    changes with each step forward."""

    name: str
    behind: int
    mark: Hashable


async def measure_lag(
    kafka: Kafka, positions: Callable[[], Mapping[TopicPartition, PartitionPosition]]
) -> list[ProgressSample]:
    """Compare the position of each partition with the end of its log.

    Raises what the client raises if the broker is away (see `FAULTS`): the caller must not take this
    for a partition that stands still.
    """
    async with running(kafka.consumer()) as consumer:
        # The broker is asked in any case: aiokafka's client fails if it is stopped right after its
        # start, and a worker without partitions must learn that the broker is away too.
        known = await consumer.topics()
        ends = await consumer.end_offsets([tp for tp in positions() if tp.topic in known])
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
