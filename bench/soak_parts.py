"""What `bench.soak` runs: places for workers, and a load that comes for long."""

import asyncio
import json
import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from .again import ROUNDS, PackedLoad
from .filled import PARTITIONS
from .load import SPAN_NS, Expected, Load
from .measure import BenchError, get, tail
from .ours import Worker, worker
from .pace import TICK, packed

#: Requests of the load, which is sent again and again under other ids.
_PART = 20_000
#: Within which a worker ends after SIGTERM, and is ready after its start.
_END_SECONDS, _READY_SECONDS = 60.0, 180.0


class Slot:
    """The place of a worker: whoever runs there has the same data."""

    def __init__(self, bootstrap: str, topic: str, app_id: str, folder: Path) -> None:
        self._start = bootstrap, topic, app_id, folder
        self._stack = ExitStack()
        self._worker: Worker | None = None
        self._ending: tuple[str, float] | None = None
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator["Slot"]:
        """Somebody runs here, until the end."""
        with self._stack:
            self._begin()
            yield self

    def _begin(self) -> None:
        self._worker = self._stack.enter_context(worker(*self._start))
        self._since, self._ending = time.monotonic(), None

    @property
    def _here(self) -> Worker:
        assert self._worker is not None
        return self._worker

    @property
    def url(self) -> str:
        """Where it shows itself."""
        return self._here.url

    @property
    def log(self) -> str:
        """The last that it wrote."""
        return tail(self._here.log)

    @property
    def state(self) -> dict[str, Any] | None:
        """What it says of itself; None while it does not answer."""
        body = None if self._ending else get(f"{self.url}/ready")
        found: dict[str, Any] | None = None if body is None else json.loads(body)
        return found

    @property
    def ready(self) -> bool:
        """Whether it takes part."""
        state = self.state
        if state is None and time.monotonic() - self._since > _READY_SECONDS:
            raise BenchError(f"a worker is not ready after {_READY_SECONDS:g} s:\n{self.log}")
        return state is not None and state["lag"] is not None

    @property
    def memory(self) -> int | None:
        """Bytes that it holds now."""
        try:
            status = Path(f"/proc/{self._here.process.pid}/status").read_text()
        except OSError:
            return None
        held = status.partition("VmRSS:")[2].split()
        return int(held[0]) * 1024 if held else None

    def end(self, kind: str) -> None:
        """End it by SIGTERM, or at once."""
        if kind == "SIGTERM":
            self._here.process.terminate()
        else:
            self._here.process.kill()
        self._ending = kind, time.monotonic() + _END_SECONDS

    def see_to(self) -> None:
        """Start the next one where one has ended as it should; BenchError where not."""
        code = self._here.process.poll()
        if self._ending is None:
            if code is not None:
                raise BenchError(f"a worker ended by itself, with {code}:\n{self.log}")
            return
        kind, deadline = self._ending
        if code is None:
            if time.monotonic() > deadline:
                raise BenchError(f"{kind} did not end a worker:\n{self.log}")
            return
        if code != (0 if kind == "SIGTERM" else -signal.SIGKILL):
            raise BenchError(f"{kind} ended a worker with {code}:\n{self.log}")
        self._stack.close()
        self._begin()


class Feed:
    """The load on its way; ``expected`` is the truth, once it is done."""

    def __init__(self, pipe: Connection, sent: Any) -> None:
        self._pipe, self._sent = pipe, sent
        self.expected = Expected()

    @property
    def sent(self) -> int:
        """Events, by now."""
        return int(self._sent.value)

    @property
    def done(self) -> bool:
        """Whether all is on the topic."""
        if not self._pipe.poll():
            return False
        try:
            self.expected = self._pipe.recv()
        except EOFError:
            raise BenchError("the load's process ended") from None
        return True


@contextmanager
def feeding(
    bootstrap: str, topic: str, rate: float, seconds: float, deployments: int
) -> Iterator[Feed]:
    """Send so many events a second, for so many seconds and to the end of a round."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sent = context.Value("Q", 0)
    process = context.Process(
        target=_feed, args=(bootstrap, topic, rate, seconds, deployments, sent, theirs)
    )
    process.start()
    theirs.close()
    try:
        yield Feed(ours, sent)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _feed(
    bootstrap: str, topic: str, rate: float, seconds: float, deployments: int, sent: Any,
    pipe: Connection,
) -> None:  # fmt: skip
    pipe.send(asyncio.run(_feed_for(bootstrap, topic, rate, seconds, deployments, sent)))


async def _feed_for(
    bootstrap: str, topic: str, rate: float, seconds: float, deployments: int, sent: Any
) -> Expected:
    expected = Expected()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=512 * 1024
    ) as producer:
        load = Load(_PART, deployments, start_ns=time.time_ns() - SPAN_NS)
        truth, events = load.expected(), load.events()
        size, first, sendings = max(1, round(rate * TICK)), 0, []
        while share := list(islice(events, size)):
            sendings.append(packed(producer, share, first, PARTITIONS))
            first += len(share)
        loads = PackedLoad(sendings)
        begin = time.monotonic()
        for number in range(ROUNDS):
            for records, sending in loads.again(number, round(time.time() * 1000)):
                for partition, batch in sending:
                    await producer.send_batch(batch, topic, partition=partition)
                sent.value += records
                ahead = begin + sent.value / rate - time.monotonic()
                await asyncio.sleep(max(0.0, ahead))
            expected.add(truth)
            if time.monotonic() - begin >= seconds:
                break
        await producer.flush()
    return expected
