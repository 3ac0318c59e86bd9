"""`python -m bench.latency`: from an event on the topic to its number in /metrics.

Beside a load at shares of the top rate, probes are sent by the clock, whether the earlier ones have
shown or not: a prediction on each partition, and a feedback for the one before. A probe's time runs
from just before it is sent until a scrape that counts it has arrived, so the pause between scrapes
is part of it. At the end all counts must be exact.
"""

import argparse
import asyncio
import math
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer

from tests.support.servers import ServerError, kafka_server
from tests.support.servers.topics import create_topics

from .filled import PARTITIONS, say
from .load import SPAN_NS, Expected, Load, ModelCounts
from .measure import BenchError, differences, get, models, tail
from .ours import Worker, fresh_app_id, worker
from .pace import Feeder, feeder
from .probes import Probes
from .scale import shared

_START_SECONDS = 120.0
_END_SECONDS = 120.0


@dataclass(frozen=True)
class Level:
    """What was found at one rate: times in seconds, rates in events per second."""

    share: float
    asked: float
    sent: float
    latencies: list[float]
    scrapes: list[float]


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(levels: Sequence[Level]) -> str:
    lines = [
        "| of the top rate | events/s asked | events/s sent | p50 ms | p99 ms | max ms | probes "
        "| a scrape, median ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {level.share:.0%} | {level.asked:,.0f} | {level.sent:,.0f} "
        f"| {percentile(level.latencies, 0.5) * 1e3:,.0f} "
        f"| {percentile(level.latencies, 0.99) * 1e3:,.0f} "
        f"| {max(level.latencies) * 1e3:,.0f} | {len(level.latencies):,} "
        f"| {percentile(level.scrapes, 0.5) * 1e3:,.0f} |"
        for level in levels
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--top-rate", type=float, required=True, help="events/s, by `make bench`")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.01, 0.5, 0.9], help="of it (0.01 0.5 0.9)"
    )
    parser.add_argument("--seconds", type=float, default=20, help="of load each (%(default)s)")
    parser.add_argument("--models", type=int, default=10, help="in the load (%(default)s)")
    parser.add_argument(
        "--every", type=float, default=0.25, help="seconds between a lane's probes (%(default)s)"
    )
    parser.add_argument(
        "--scrape", type=float, default=0.1, help="seconds between scrapes (%(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        with kafka_server() as broker, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            levels = asyncio.run(_measure(options, broker.bootstrap, Path(folder)))
    except (BenchError, ServerError, aiohttp.ClientError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(levels))
    return 0


async def _measure(options: argparse.Namespace, bootstrap: str, folder: Path) -> list[Level]:
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    await create_topics(bootstrap, [topic], PARTITIONS)
    levels: list[Level] = []
    truth = Expected()
    with worker(bootstrap, topic, fresh_app_id(), folder) as one:
        await _until(lambda: shared([get(f"{one.url}/ready")]), one, _START_SECONDS, "not ready")
        async with (
            AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1) as producer,
            aiohttp.ClientSession() as session,
        ):
            probes = Probes(producer, topic, options.models)
            for number, share in enumerate(options.shares):
                rate = share * options.top_rate
                load = Load.of_events(
                    max(1, round(rate * options.seconds)), models=options.models,
                    start_ns=time.time_ns() - SPAN_NS,
                )  # fmt: skip
                # Other seeds, other requests: else they would be repetitions.
                load = replace(load, seed=number + 1)
                with feeder(bootstrap, topic, load, rate) as feed:
                    level = _Level(options, one, session, probes, feed)
                    levels.append(await level.run(share, rate))
                _add(truth, load.expected())
                await _until_exact(one, truth, probes)
                say(f"{share:.0%}: {len(levels[-1].latencies):,} probes, counts exact")
    return levels


class _Level:
    """One rate's load under way, with its probes and scrapes."""

    def __init__(
        self, options: argparse.Namespace, one: Worker, session: aiohttp.ClientSession,
        probes: Probes, feed: Feeder,
    ) -> None:  # fmt: skip
        self._options = options
        self._worker = one
        self._session = session
        self._probes = probes
        self._feed = feed
        self._latencies: list[float] = []
        self._scrapes: list[float] = []

    async def run(self, share: float, rate: float) -> Level:
        self._feed.go()
        over = asyncio.Event()
        scraping = asyncio.create_task(self._scrape())
        lanes = [asyncio.create_task(self._lane(number, over)) for number in range(PARTITIONS)]
        try:
            limit = 60 + 3 * self._options.seconds
            seconds = await asyncio.to_thread(self._feed.wait, limit)
            over.set()
            await asyncio.gather(*lanes)
            await _until(
                lambda: scraping.done() or not self._probes.waiting,
                self._worker, _END_SECONDS, "some probes never showed",
            )  # fmt: skip
        finally:
            for task in (*lanes, scraping):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await scraping
        return Level(share, rate, self._feed.events / seconds, self._latencies, self._scrapes)

    async def _lane(self, number: int, over: asyncio.Event) -> None:
        every = self._options.every
        due = time.monotonic() + every * number / PARTITIONS
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), max(0.0, due - time.monotonic()))
            await self._probes.send(number)
            due += every
        await self._probes.judge(number)

    async def _scrape(self) -> None:
        while True:
            begin = time.monotonic()
            async with self._session.get(f"{self._worker.url}/metrics") as answer:
                text = await answer.text()
            now = time.monotonic()
            self._scrapes.append(now - begin)
            self._latencies += self._probes.show(text, now)
            await asyncio.sleep(max(0.0, begin + self._options.scrape - time.monotonic()))


async def _until_exact(one: Worker, truth: Expected, probes: Probes) -> None:
    expected = Expected({**truth.models, **probes.expected()})
    wrong: list[str] = []

    def exact() -> bool:
        wrong[:] = differences(expected, models(one.url))
        return not wrong

    try:
        await _until(exact, one, _END_SECONDS, "the counts are wrong")
    except BenchError as error:
        raise BenchError(f"{'; '.join(wrong[:5])}; {error}") from None


async def _until(ready: Callable[[], bool], one: Worker, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(ready):
        if one.process.poll() is not None:
            raise BenchError(f"the worker ended with {one.process.returncode}:\n{tail(one.log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{what} after {seconds:g} s:\n{tail(one.log)}")
        await asyncio.sleep(0.1)


def _add(truth: Expected, more: Expected) -> None:
    for name, counts in more.models.items():
        total = truth.models.setdefault(name, ModelCounts())
        total.predictions += counts.predictions
        total.cells += counts.cells


if __name__ == "__main__":
    sys.exit(main())
