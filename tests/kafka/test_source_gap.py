"""The oldest record of a source topic, and the records it lost before they were read, on real Kafka."""

from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from processor.kafka.clients import Kafka, running
from processor.kafka.source_gap import Gap, find_gap, oldest_record
from processor.settings import Settings
from tests.support.servers import Broker

_TIMES = [1_795_000_000_000 + 1000 * number for number in range(10)]


def _kafka(broker: Broker) -> Kafka:
    return Kafka(Settings(), (broker.bootstrap,))


async def _produce(broker: Broker, topic: str, times: list[int]) -> None:
    """Send a record for each time (ms), in turn to two partitions."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        for number, time in enumerate(times):
            await producer.send_and_wait(topic, b"x", partition=number % 2, timestamp_ms=time)


async def _delete(broker: Broker, topic: str, before: int) -> None:
    async with running(AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        await admin.delete_records(
            {TopicPartition(topic, number): RecordsToDelete(before) for number in range(2)}
        )


async def _commit(broker: Broker, topic: str, group: str, offset: int, metadata: str) -> None:
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(2)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, (offset, metadata)))


async def _positions(broker: Broker, group: str) -> dict[int, int]:
    async with running(AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        found = await admin.list_consumer_group_offsets(group)
        return {partition.partition: at.offset for partition, at in found.items()}


async def test_the_oldest_record_of_all_partitions(
    kafka: Broker, topic: Callable[..., str]
) -> None:
    name = topic(partitions=2)
    assert await oldest_record(_kafka(kafka), (name, "no-such-topic")) is None
    await _produce(kafka, name, _TIMES)
    assert await oldest_record(_kafka(kafka), (name,)) == _TIMES[0] * 1_000_000
    await _delete(kafka, name, 2)
    assert await oldest_record(_kafka(kafka), (name,)) == _TIMES[4] * 1_000_000


async def test_records_lost_unread_are_counted(
    kafka: Broker, topic: Callable[..., str], app_id: str
) -> None:
    name = topic(partitions=2)
    await _produce(kafka, name, _TIMES)
    group = f"{app_id}-source"
    await _commit(kafka, name, group, 1, str(_TIMES[0]))
    newest = _TIMES[0] * 1_000_000
    assert await find_gap(_kafka(kafka), (name,), group, None) == Gap(0, None, newest)
    await _delete(kafka, name, 3)
    gap = await find_gap(_kafka(kafka), (name,), group, None)
    assert gap == Gap(4, newest, newest)
    await _commit(kafka, name, group, 1, "")  # as an older release commits it
    assert await find_gap(_kafka(kafka), (name,), group, None) == Gap(4, None)


async def test_positions_that_the_broker_dropped_are_set_to_requests_in_memory(
    kafka: Broker, topic: Callable[..., str], app_id: str
) -> None:
    """Older requests were read, have left memory, and would be counted again."""
    name = topic(partitions=2)
    await _produce(kafka, name, _TIMES)
    group = f"{app_id}-source"
    assert await find_gap(_kafka(kafka), (name,), group, None) == Gap(0, None)
    assert await _positions(kafka, group) == {}
    assert await find_gap(_kafka(kafka), (name,), group, _TIMES[7] * 1_000_000) == Gap(0, None)
    assert await _positions(kafka, group) == {0: 4, 1: 3}


async def test_a_topic_that_is_new_to_the_group_is_read_from_its_start(
    kafka: Broker, topic: Callable[..., str], app_id: str
) -> None:
    known, new = topic(partitions=2), topic(partitions=2)
    group = f"{app_id}-source"
    for name in (known, new):
        await _produce(kafka, name, _TIMES)
    await _commit(kafka, known, group, 5, str(_TIMES[9]))
    gap = await find_gap(_kafka(kafka), (known, new), group, _TIMES[7] * 1_000_000)
    assert gap == Gap(0, None, _TIMES[9] * 1_000_000)
    assert await _positions(kafka, group) == {0: 5, 1: 5}
