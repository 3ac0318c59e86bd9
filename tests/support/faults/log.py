"""Reading and writing an app's internal topics from outside, as nobody but a test does."""

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from processor.domain.log.records import Heartbeat, RecordChunk, decode_delta


async def read_topic(bootstrap: str, topic: str, partitions: int = 8) -> list[ConsumerRecord]:
    """All records that the topic holds now."""
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        records: list[ConsumerRecord] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return [r for r in records if r.offset < ends[TopicPartition(r.topic, r.partition)]]
    finally:
        await consumer.stop()


async def write(
    bootstrap: str, topic: str, partition: int, records: Sequence[tuple[bytes | None, bytes]]
) -> None:
    """Put keys and values on a partition."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for key, value in records:
            await producer.send(topic, value, key=key, partition=partition)
        await producer.flush()


async def write_again(bootstrap: str, records: Sequence[ConsumerRecord]) -> None:
    """Put old records on their partitions once more."""
    for topic, partition in sorted({(record.topic, record.partition) for record in records}):
        old = [(r.key, r.value) for r in records if (r.topic, r.partition) == (topic, partition)]
        await write(bootstrap, topic, partition, old)


async def move_offsets_to_end(
    bootstrap: str, group: str, topics: Sequence[str], partitions: int = 8
) -> None:
    """What a committed offset that runs ahead looks like, at its worst; nobody is in the group."""
    places = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.commit(ends)
    finally:
        await consumer.stop()


async def check_deltas(bootstrap: str, topic: str) -> None:
    """A delta that was sent again is the same one: its content is a function of the log."""
    seen: dict[tuple[int, int, int, int], bytes] = {}
    repeats = 0
    for record in await read_topic(bootstrap, topic):
        delta = decode_delta(record.value)
        if isinstance(delta, Heartbeat):
            continue
        number = delta.number if isinstance(delta, RecordChunk) else 0
        key = (record.partition, delta.source, delta.offset, number)
        repeats += key in seen
        assert seen.setdefault(key, record.value) == record.value, f"{key}: another content"
    print(f"{len(seen)} deltas, {repeats} repeats")
