"""A header's name that is no UTF-8, which the client can't read, holds nothing up."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import ConsumerRecord

from processor.kafka.clients import Kafka
from processor.settings import Settings
from tests.support.servers import Broker


class _NoText(str):
    """A header's name as a client in C or Go may write it."""

    def encode(self, *_: str) -> bytes:
        return b"ce_\xff"


@pytest.fixture
def any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder that is written in Python asks a name for its bytes, the one in C does not."""
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)


@pytest.mark.usefixtures("any_bytes")
@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_name_that_is_no_text_stops_nothing(
    kafka: Broker, topic: Callable[..., str], compression: str | None
) -> None:
    """The records round it are read, and it is one like any other."""
    source = topic(partitions=2)
    sender = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, linger_ms=200, compression_type=compression
    )
    await sender.start()
    try:
        sent = []
        for number in range(9):
            name = _NoText("name") if number in (3, 4, 7) else "ce_id"
            value = b"%d" % number
            headers = [(name, value), ("null", None)]
            sent.append(await sender.send(source, value, headers=headers, partition=number // 8))
        await asyncio.gather(*sent)
    finally:
        await sender.stop()
    settings = Settings.from_env({"PROCESSOR_BROKER": f"kafka://{kafka.bootstrap}"})
    consumer = Kafka(settings, settings.broker).consumer()
    await consumer.start()
    found: dict[bytes, ConsumerRecord] = {}
    try:
        consumer.assign([TopicPartition(source, 0), TopicPartition(source, 1)])
        async with asyncio.timeout(60):
            while len(found) < 9:
                fetched = await consumer.getmany(timeout_ms=200)
                found |= {one.value: one for records in fetched.values() for one in records}
    finally:
        await consumer.stop()
    for number in range(9):
        value = b"%d" % number
        name = "ce_\ufffd" if number in (3, 4, 7) else "ce_id"
        assert list(found[value].headers) == [(name, value), ("null", None)]
        assert (found[value].offset, found[value].partition) == (number % 8, number // 8)
