"""The log behind the HTTP door: what comes together goes together, and who fails."""

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError

from processor.domain.events.decoder import Decoded
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import BrokerError
from processor.stream import kafka_sink as door_module
from processor.stream.kafka_sink import KafkaSink


class FakePacker:
    """A `ObservationProducer` whose acknowledgements the test gives."""

    def __init__(self) -> None:
        self.added: list[bytes | None] = []
        self.sent: list[list[bytes | None]] = []
        self.acks: list[asyncio.Future[object]] = []
        self.sending = asyncio.Semaphore(0)

    def add(self, event: RawEvent, origin: object, key: object = None) -> Decoded:
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
async def observation_producer() -> FakePacker:
    return FakePacker()


@pytest.fixture
async def door(observation_producer: FakePacker) -> KafkaSink:
    return KafkaSink(observation_producer, ("kafka:9092",))  # type: ignore[arg-type]


def event(value: bytes) -> RawEvent:
    return RawEvent((), value, 0)


async def test_what_comes_while_others_are_on_their_way_goes_together(
    door: KafkaSink, observation_producer: FakePacker
) -> None:
    first = asyncio.create_task(door.accept([event(b"1")]))
    await observation_producer.sending.acquire()
    rest = [asyncio.create_task(door.accept([event(v), event(b"x")])) for v in (b"bad", b"3")]
    gone = asyncio.create_task(door.accept([event(b"gone")]))
    await asyncio.sleep(0)
    gone.cancel()
    observation_producer.acks[0].set_result(None)
    assert await first == [None]
    await observation_producer.sending.acquire()
    assert observation_producer.sent == [[b"1"], [b"bad", b"x", b"3", b"x"]]
    assert not any(task.done() for task in rest)
    observation_producer.acks[1].set_result(None)
    bad, good = [await task for task in rest]
    assert [verdict and verdict.reason for verdict in bad] == ["bad_json", None]
    assert good == [None, None]


async def test_a_failure_is_that_of_its_group(
    door: KafkaSink, observation_producer: FakePacker
) -> None:
    first = asyncio.create_task(door.accept([event(b"1")]))
    await observation_producer.sending.acquire()
    second = asyncio.create_task(door.accept([event(b"2")]))
    await asyncio.sleep(0)
    observation_producer.acks[0].set_exception(KafkaTimeoutError())
    with pytest.raises(BrokerError, match="kafka:9092"):
        await first
    await observation_producer.sending.acquire()
    observation_producer.acks[1].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await second
    third = asyncio.create_task(door.accept([event(b"3")]))
    await observation_producer.sending.acquire()
    observation_producer.acks[2].set_result(None)
    assert await third == [None]


async def test_behind_a_broker_that_says_nothing_nobody_waits(
    door: KafkaSink, observation_producer: FakePacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "_STUCK", -1.0)
    first = asyncio.create_task(door.accept([event(b"1")]))
    await observation_producer.sending.acquire()
    with pytest.raises(BrokerError, match="acknowledged nothing"):
        await door.accept([event(b"2")])
    observation_producer.acks[0].set_result(None)
    assert await first == [None]
    second = asyncio.create_task(door.accept([event(b"2")]))
    await observation_producer.sending.acquire()
    observation_producer.acks[1].set_result(None)
    assert await second == [None]
