"""A load that is sent at a limited rate, or all at once, from a process of its own.

The records are packed into batches beforehand, so that sending takes little CPU from the processes
that are measured.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count, islice, repeat
from multiprocessing.connection import Connection
from typing import Any

from aiokafka import AIOKafkaProducer

from .load import Event, Load
from .measure import BenchError

#: Seconds from one sending to the next: what a producer's linger would be.
TICK = 0.05
#: Events in a sending when all go at once.
_AT_ONCE = 2_000

#: Time limit for finding the topic.
_TOPIC_SECONDS = 10.0

#: (partition, a packed batch) of one sending.
Sending = list[tuple[int, Any]]


class Feeder:
    """A load of `events` that another process has packed, and sends after `go`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.events = self._receive(600, "packed")

    def go(self) -> None:
        """Start to send."""
        self._pipe.send(None)

    def wait(self, seconds: float) -> float:
        """The seconds that it took to send all; BenchError when it takes longer than this."""
        return float(self._receive(seconds, "sent"))

    def _receive(self, seconds: float, what: str) -> Any:
        if not self._pipe.poll(seconds):
            raise BenchError(f"the load was not {what} within {seconds:g} s")
        try:
            return self._pipe.recv()
        except EOFError:
            raise BenchError(f"the load could not be {what}: its process ended") from None


@contextmanager
def feeder(bootstrap: str, topic: str, load: Load, rate: float | None) -> Iterator[Feeder]:
    """A process with the packed load; `rate` in events per second, None: as the broker takes them."""
    with sending_process(_feed, bootstrap, topic, load, rate) as pipe:
        yield Feeder(pipe)


@contextmanager
def sending_process(send: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Run `send(*arguments, pipe)` in another process until the block ends; our end of its pipe."""
    # A fork would take over the event loop and the connections of this process.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=send, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()
        ours.close()


def _feed(bootstrap: str, topic: str, load: Load, rate: float | None, pipe: Connection) -> None:
    asyncio.run(_feed_all(bootstrap, topic, load, rate, pipe))


async def _feed_all(
    bootstrap: str, topic: str, load: Load, rate: float | None, pipe: Connection
) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks=1, max_batch_size=512 * 1024
    ) as producer:
        # The client would look for a topic that isn't there for as long as any request may take.
        partitions = len(await asyncio.wait_for(producer.partitions_for(topic), _TOPIC_SECONDS))
        sizes = repeat(_AT_ONCE) if rate is None else sizes_at(rate)
        events, sendings = 0, []
        for share in shares(load.events(), sizes):
            sendings.append(packed(producer, share, events, partitions))
            events += len(share)
        pipe.send(events)
        await asyncio.to_thread(pipe.recv)
        begin = time.monotonic()
        for number, sending in enumerate(sendings):
            if rate is not None:
                await asyncio.sleep(max(0.0, begin + number * TICK - time.monotonic()))
            for partition, batch in sending:
                await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
        pipe.send(time.monotonic() - begin)


def sizes_at(rate: float) -> Iterator[int]:
    """How many events go in each sending, so that the rate is met on the whole."""
    sent = 0
    for number in count(1):
        until = round(number * TICK * rate)
        yield until - sent
        sent = until


def shares(events: Iterable[Event], sizes: Iterable[int]) -> Iterator[list[Event]]:
    """The events in shares of these sizes, some of which may be empty; the last as it comes."""
    left = iter(events)
    for size in sizes:
        share = list(islice(left, size))
        if not share and size:
            return
        yield share


def packed(producer: Any, events: list[Event], first: int, partitions: int) -> Sending:
    """The events on one partition after the other, on from the `first`-th."""
    packed: Sending = []
    for number in range(partitions):
        partition = (first + number) % partitions
        batch = producer.create_batch()
        for headers, value in events[number::partitions]:
            record = {"key": None, "value": value, "headers": headers, "timestamp": None}
            if batch.append(**record) is None:
                packed.append((partition, batch))
                batch = producer.create_batch()
                batch.append(**record)
        if batch.record_count():
            packed.append((partition, batch))
    return packed
