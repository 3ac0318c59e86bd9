"""A header name that is not UTF-8, which aiokafka cannot read, does not stop a partition."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import ConsumerRecord

from processor.kafka.clients import Kafka, running
from processor.settings import Settings
from tests.support.servers import Broker


class _NotText(str):
    """A header name that a client in C or Go may write."""

    def encode(self, *_: str) -> bytes:
        return b"ce_\xff"


@pytest.fixture
def any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the builder in Python, which asks a name for its bytes; the one in C does not."""
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)


@pytest.mark.usefixtures("any_bytes")
@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_a_name_that_is_not_text_stops_nothing(
    kafka: Broker, topic: Callable[..., str], compression: str | None
) -> None:
    """The records around it are read, and it is read like any other."""
    source = topic(partitions=2)
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, linger_ms=200, compression_type=compression
    ) as sender:
        sent = []
        for number in range(9):
            name = _NotText("name") if number in (3, 4, 7) else "ce_id"
            value = b"%d" % number
            headers = [(name, value), ("null", None)]
            sent.append(await sender.send(source, value, headers=headers, partition=number // 8))
        await asyncio.gather(*sent)
    settings = Settings.from_env({"PROCESSOR_BROKER": f"kafka://{kafka.bootstrap}"})
    found: dict[bytes, ConsumerRecord] = {}
    async with running(Kafka(settings, settings.broker).consumer()) as consumer:
        consumer.assign([TopicPartition(source, 0), TopicPartition(source, 1)])
        async with asyncio.timeout(60):
            while len(found) < 9:
                fetched = await consumer.getmany(timeout_ms=200)
                found |= {one.value: one for records in fetched.values() for one in records}
    for number in range(9):
        value = b"%d" % number
        name = "ce_\ufffd" if number in (3, 4, 7) else "ce_id"
        assert list(found[value].headers) == [(name, value), ("null", None)]
        assert (found[value].offset, found[value].partition) == (number % 8, number // 8)
