"""The source topics' oldest records, and the records that retention removed before they were read."""

import asyncio
import logging
import time
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import OffsetAndMetadata

from processor.errors import BrokerError
from processor.kafka.clients import FAULTS, Kafka, explain, running

logger = logging.getLogger(__name__)

#: Seconds to wait for a partition's first record.
_PATIENCE = 30.0


class Gap(NamedTuple):
    """The records that retention removed before they were read.

    ``since`` is the time (ns) of the last record that was read before them, None if it is not known;
    ``newest`` is that of the newest record of the source that was read at all.
    """

    records: int
    since: int | None
    newest: int | None = None


async def oldest_record(kafka: Kafka, topics: tuple[str, ...]) -> int | None:
    """Return the earliest time (ns) among the first records of all partitions.

    None if all partitions are empty. `BrokerError` if a first record cannot be read.
    """
    try:
        async with running(kafka.consumer()) as consumer:
            times = [await _first_time(consumer, one) for one in await kafka.partitions(topics)]
    except TimeoutError:
        raise BrokerError(f"no first record of {', '.join(topics)} in {_PATIENCE:.0f} s") from None
    except FAULTS as error:
        raise explain(error, kafka.servers) from None
    return min((time_ns for time_ns in times if time_ns is not None), default=None)


async def find_gap(
    kafka: Kafka, topics: tuple[str, ...], group: str, in_memory_from: int | None
) -> Gap:
    """Count the records between the group's positions and the topics' first records.

    Call it before the group reads on: then the first worker after an outage finds the gap.

    The broker drops a group's positions after a week without a worker. Then they are set to the time
    ``in_memory_from`` (ns), since older records were read and would be counted again; None for a new
    log, whose group has no positions yet.
    """
    async with running(kafka.consumer(group_id=group)) as consumer, running(kafka.admin()) as admin:
        partitions = await kafka.partitions(topics)
        begins = await consumer.beginning_offsets(partitions)
        committed = await group_positions(admin, group, partitions)
        records, times, newest = 0, [], None
        for partition in partitions:
            offset, metadata = committed.get(partition) or (-1, "")
            last_read = int(metadata) * 1_000_000 if metadata.isdigit() else None
            newest = max(filter(None, (newest, last_read)), default=None)
            if 0 <= offset < begins[partition]:
                records += begins[partition] - offset
                times.append(last_read)
        known = [last for last in times if last is not None]
        # All partitions: a topic that is new to the group has no position either, and was never read.
        dropped = all((committed.get(one) or (-1, ""))[0] < 0 for one in partitions)
        if dropped and partitions and in_memory_from is not None:
            await _skip_to(consumer, partitions, in_memory_from)
        since = min(known) if len(known) == len(times) and known else None
        return Gap(records, since, newest)


async def group_positions(
    admin: AIOKafkaAdminClient, group: str, partitions: list[TopicPartition] | None = None
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return the committed positions of a group in some partitions, -1 where there is none, or all that
    it has."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found: dict[TopicPartition, OffsetAndMetadata]
            found = await admin.list_consumer_group_offsets(group, partitions=partitions)
            return found
        except GroupCoordinatorNotAvailableError:
            # The first group of a new cluster creates the topic of the positions.
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def _skip_to(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], time_ns: int
) -> None:
    """Commit the first offsets at or after a time as the group's positions."""
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, time_ns // 1_000_000))
    ends = await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    positions = {
        one: at.offset if (at := found.get(one)) is not None else ends[one] for one in partitions
    }
    await consumer.commit(positions)
    logger.warning(
        "the broker has dropped this group's positions in %d partitions of the source: reading on "
        "from the time since which all requests are still in memory",
        len(partitions),
    )


async def _first_time(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    begin = (await consumer.beginning_offsets([partition]))[partition]
    if begin >= (await consumer.end_offsets([partition]))[partition]:
        return None
    consumer.assign([partition])
    consumer.seek(partition, begin)
    async with asyncio.timeout(_PATIENCE):
        message = await consumer.getone(partition)
    return int(message.timestamp) * 1_000_000
