"""The load comes in while workers run, at a bounded rate."""

import asyncio
import math
import time
from itertools import islice

from aiokafka import AIOKafkaProducer

from bench.support.load import Event, Load

_PARTITIONS = 8
#: Events between two looks at the clock.
_STEP = 200


class Feed:
    """Puts a load on a topic with null keys; ``sent`` says how far it is."""

    def __init__(self, bootstrap: str, topic: str, load: Load, rate: float) -> None:
        self.sent = 0
        self._log: list[tuple[float, int, int]] = []
        self._requests: set[bytes] = set()
        self._bootstrap = bootstrap
        self._topic = topic
        self._load = load
        self._rate = rate
        self._task = asyncio.create_task(self._run())

    @property
    def done(self) -> bool:
        return self._task.done()

    def sent_since(self, moment: float) -> int:
        """Events sent after a moment of the monotonic clock."""
        return self.sent - max((sent for when, sent, _ in self._log if when <= moment), default=0)

    def predictions_at(self, moment: float) -> int | None:
        """Predictions among the events that were sent by the first step after a moment; None before
        there was one."""
        for when, _, predictions in self._log:
            if when > moment:
                return predictions
        return len(self._requests) if self.done else None

    def hold(self) -> None:
        """Go on slowly, a step a second: the load lasts for as long as something takes that a slow
        machine does slowly."""
        self._rate = _STEP

    def release(self) -> None:
        """Send the rest of a held load at once."""
        self._rate = math.inf

    async def finish(self) -> None:
        """Wait for the last event's acknowledgement."""
        await self._task

    async def reach(self, sent: int) -> None:
        """Wait until so many events were sent."""
        while self.sent < sent and not self.done:
            await asyncio.sleep(0.02)
        if self.done:
            self._task.result()

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        # A broker that is away for a while only delays it; repeats are harmless by contract.
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            linger_ms=20,
            request_timeout_ms=120_000,
            retry_backoff_ms=500,
        )
        async with producer:
            events = self._load.events()
            due = clock()
            while step := list(islice(events, _STEP)):
                batches = [producer.create_batch() for _ in range(_PARTITIONS)]
                for number, (headers, value) in enumerate(step, start=self.sent):
                    batches[number % _PARTITIONS].append(
                        key=None, value=value, headers=headers, timestamp=None
                    )
                for partition, batch in enumerate(batches):
                    if batch.record_count():
                        await producer.send_batch(batch, self._topic, partition=partition)
                self.sent += len(step)
                self._requests.update(filter(None, map(_predicted, step)))
                self._log.append((time.monotonic(), self.sent, len(self._requests)))
                due += len(step) / self._rate
                await asyncio.sleep(max(0.0, due - clock()))
            await producer.flush()


def _predicted(event: Event) -> bytes | None:
    """The request that a response answers."""
    headers = dict(event.headers)
    return headers["ce_requestid"] if headers["ce_type"].endswith(b"response") else None
