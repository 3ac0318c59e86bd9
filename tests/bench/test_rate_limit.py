"""A paced load is whole, in time, and on all partitions."""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest
from aiokafka import AIOKafkaConsumer

from bench.support.load import Event, Load
from bench.support.measure import BenchError
from bench.support.rate_limit import TICK, feeder, shares, sizes_at
from tests.support.servers import Broker


@pytest.mark.parametrize("rate", [3, 500, 45_123])
def test_sizes_meet_the_rate(rate: float) -> None:
    ticks = round(60 / TICK)

    sizes = list(islice(sizes_at(rate), ticks))

    assert sum(sizes) == 60 * rate
    assert max(sizes) - min(sizes) <= 1


def test_shares_hold_every_event_once() -> None:
    events = [Event([], str(number).encode()) for number in range(10)]

    found = list(shares(events, iter([0, 3, 0, 4, 99, 99])))

    assert [len(share) for share in found] == [0, 3, 0, 4, 3]
    assert [event for share in found for event in share] == events


@pytest.mark.parametrize("rate", [None, 2_000.0])
async def test_a_fed_load_is_on_the_topic(
    rate: float | None, kafka: Broker, topic: Callable[..., str]
) -> None:
    load, name = Load(requests=600), topic(partitions=8)
    wanted = Counter(event.value for event in load.events())

    with feeder(kafka.bootstrap, name, load, rate) as feed:
        feed.go()
        seconds = await asyncio.to_thread(feed.wait, 60)

    assert feed.events == wanted.total()
    # The last sending goes a tick before the time is over.
    assert rate is None or seconds >= feed.events / rate - 2 * TICK
    read: Counter[bytes] = Counter()
    partitions: Counter[int] = Counter()
    async with AIOKafkaConsumer(
        name, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        while read.total() < feed.events:
            batches = await consumer.getmany(timeout_ms=10_000)
            assert batches, f"only {read.total()} of {feed.events} came within 10 s"
            for partition, records in batches.items():
                partitions[partition.partition] += len(records)
                read.update(record.value for record in records)
    assert read == wanted
    assert max(partitions.values()) - min(partitions.values()) <= 1


@pytest.mark.long
async def test_a_load_that_cannot_be_sent_says_so(kafka: Broker) -> None:
    with (
        pytest.raises(BenchError, match="could not be packed"),
        feeder(kafka.bootstrap, "no-such-topic", Load(requests=1), None),
    ):
        pass
