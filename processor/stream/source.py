"""What the source topics still hold."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.errors import BrokerError
from processor.stream.connection import FAULTS, Kafka, explain

#: Seconds to wait for a partition's first record.
_PATIENCE = 30.0


async def oldest_record(kafka: Kafka, topics: tuple[str, ...]) -> int | None:
    """The least time (ns) among the first records of all partitions; None where there is none at
    all. `BrokerError` if one can't be read."""
    consumer = kafka.consumer()
    try:
        await consumer.start()
        # Only of topics that there are: to ask for the partitions of another could make it.
        known = await consumer.topics()
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            if topic in known
            for number in consumer.partitions_for_topic(topic) or ()
        ]
        times = [await _first(consumer, partition) for partition in partitions]
        return min((time for time in times if time is not None), default=None)
    except TimeoutError:
        raise BrokerError(f"no first record of {', '.join(topics)} in {_PATIENCE:.0f} s") from None
    except FAULTS as error:
        raise explain(error, kafka.servers) from None
    finally:
        await consumer.stop()


async def _first(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    begin = (await consumer.beginning_offsets([partition]))[partition]
    if begin >= (await consumer.end_offsets([partition]))[partition]:
        return None
    consumer.assign([partition])
    consumer.seek(partition, begin)
    async with asyncio.timeout(_PATIENCE):
        message = await consumer.getone(partition)
    return int(message.timestamp) * 1_000_000
