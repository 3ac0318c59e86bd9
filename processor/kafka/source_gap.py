"""What the source topics still hold, and what they have lost before it was read."""

import asyncio
import logging
import time
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import OffsetAndMetadata

from processor.errors import BrokerError
from processor.kafka.clients import FAULTS, Kafka, explain

logger = logging.getLogger(__name__)

#: Seconds to wait for a partition's first record.
_PATIENCE = 30.0


class Gap(NamedTuple):
    """Records that a retention removed unread; ``since`` is the time (ns) of the last one that was
    read before them, None where it is not known."""

    records: int
    since: int | None


async def oldest_record(kafka: Kafka, topics: tuple[str, ...]) -> int | None:
    """The least time (ns) among the first records of all partitions; None where there is none at
    all. `BrokerError` if one can't be read."""
    consumer = kafka.consumer()
    try:
        await consumer.start()
        firsts = [await _first(consumer, one) for one in await kafka.partitions(topics)]
        return min((first for first in firsts if first is not None), default=None)
    except TimeoutError:
        raise BrokerError(f"no first record of {', '.join(topics)} in {_PATIENCE:.0f} s") from None
    except FAULTS as error:
        raise explain(error, kafka.servers) from None
    finally:
        await consumer.stop()


async def find_gap(
    kafka: Kafka, topics: tuple[str, ...], group: str, in_memory_from: int | None
) -> Gap:
    """What was lost between the group's position and the topics' first records. To be called before
    the group reads on: then the first worker after an outage sees it.

    Where the broker has dropped the group's positions (after a week without a worker), it is set to
    ``in_memory_from`` (ns), since what is older was read and would count again; None for a new log.
    """
    consumer = kafka.consumer(group_id=group)
    admin = kafka.admin()
    try:
        await consumer.start()
        await admin.start()
        partitions = await kafka.partitions(topics)
        begins = await consumer.beginning_offsets(partitions)
        committed = await _positions(admin, group, partitions)
        records, times = 0, []
        for partition in partitions:
            offset, metadata = committed.get(partition) or (-1, "")
            if 0 <= offset < begins[partition]:
                records += begins[partition] - offset
                times.append(int(metadata) * 1_000_000 if metadata.isdigit() else None)
        known = [last for last in times if last is not None]
        # All of them: a topic that is new to the group has no position either, and was never read.
        dropped = all((committed.get(one) or (-1, ""))[0] < 0 for one in partitions)
        if dropped and partitions and in_memory_from is not None:
            await _skip_to(consumer, partitions, in_memory_from)
        return Gap(records, min(known) if len(known) == len(times) and known else None)
    finally:
        await consumer.stop()
        await admin.close()


async def _positions(
    admin: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata]
            found = await admin.list_consumer_group_offsets(group, partitions=partitions)
            return found
        except GroupCoordinatorNotAvailableError:
            # The first group of a fresh cluster makes the topic of the positions.
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def _skip_to(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], time_ns: int
) -> None:
    """Set the group's position in these partitions to a time."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, time_ns // 1_000_000))
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    positions = {
        one: at.offset if (at := found.get(one)) is not None else ends[one] for one in partitions
    }
    await consumer.commit(positions)
    logger.warning(
        "the broker has dropped this group's positions in %d partitions of the source: reading on "
        "where requests are in memory still",
        len(partitions),
    )


async def _first(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    begin = (await consumer.beginning_offsets([partition]))[partition]
    if begin >= (await consumer.end_offsets([partition]))[partition]:
        return None
    consumer.assign([partition])
    consumer.seek(partition, begin)
    async with asyncio.timeout(_PATIENCE):
        message = await consumer.getone(partition)
    return int(message.timestamp) * 1_000_000
