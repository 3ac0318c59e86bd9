"""The sink of HTTP events: events that wait together are sent together, and fail together."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from processor.domain.events.decoder import Decoded
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import BrokerError
from processor.stream import kafka_sink
from processor.stream.kafka_sink import KafkaSink


class FakeProducer:
    """An `ObservationProducer` whose acknowledgements the test sets."""

    def __init__(self) -> None:
        self.added: list[bytes | None] = []
        self.sent: list[list[bytes | None]] = []
        self.acks: list[asyncio.Future[object]] = []
        self.sending = asyncio.Semaphore(0)

    def add(self, event: RawEvent, source: object, key: object = None) -> Decoded:
        self.added.append(event.value)
        letter = DeadLetter("bad_json", "bad")
        return Decoded((), ((event, letter),)) if event.value == b"bad" else Decoded()

    async def send(self) -> "list[asyncio.Future[object]]":
        self.sent.append(self.added)
        self.added = []
        self.acks.append(asyncio.get_running_loop().create_future())
        self.sending.release()
        return self.acks[-1:]


@pytest.fixture
async def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
async def sink(producer: FakeProducer) -> KafkaSink:
    return KafkaSink(producer, ("kafka:9092",))  # type: ignore[arg-type]


def event(value: bytes) -> RawEvent:
    return RawEvent((), value, 0)


async def test_events_that_wait_for_others_are_sent_together(
    sink: KafkaSink, producer: FakeProducer
) -> None:
    first = asyncio.create_task(sink.accept([event(b"1")]))
    await producer.sending.acquire()
    rest = [asyncio.create_task(sink.accept([event(v), event(b"x")])) for v in (b"bad", b"3")]
    cancelled = asyncio.create_task(sink.accept([event(b"cancelled")]))
    await asyncio.sleep(0)
    cancelled.cancel()
    producer.acks[0].set_result(None)
    assert await first == [None]
    await producer.sending.acquire()
    assert producer.sent == [[b"1"], [b"bad", b"x", b"3", b"x"]]
    assert not any(task.done() for task in rest)
    producer.acks[1].set_result(None)
    bad, good = [await task for task in rest]
    assert [verdict and verdict.reason for verdict in bad] == ["bad_json", None]
    assert good == [None, None]


async def test_a_failure_concerns_only_its_group(sink: KafkaSink, producer: FakeProducer) -> None:
    first = asyncio.create_task(sink.accept([event(b"1")]))
    await producer.sending.acquire()
    second = asyncio.create_task(sink.accept([event(b"2")]))
    await asyncio.sleep(0)
    producer.acks[0].set_exception(KafkaTimeoutError())
    with pytest.raises(BrokerError, match="kafka:9092"):
        await first
    await producer.sending.acquire()
    producer.acks[1].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await second
    third = asyncio.create_task(sink.accept([event(b"3")]))
    await producer.sending.acquire()
    producer.acks[2].set_result(None)
    assert await third == [None]


async def test_events_are_refused_while_a_broker_does_not_answer(
    sink: KafkaSink, producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "_STUCK", -1.0)
    first = asyncio.create_task(sink.accept([event(b"1")]))
    await producer.sending.acquire()
    with pytest.raises(BrokerError, match="acknowledged nothing"):
        await sink.accept([event(b"2")])
    producer.acks[0].set_result(None)
    assert await first == [None]
    second = asyncio.create_task(sink.accept([event(b"2")]))
    await producer.sending.acquire()
    producer.acks[1].set_result(None)
    assert await second == [None]
