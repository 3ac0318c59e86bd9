"""Measure the time from an event on the topic until its number shows in /metrics.

Beside a load at shares of the top rate, probes are sent by the clock, whether earlier ones have shown
or not: a prediction on each partition, and a feedback for the one before. The time of a probe runs
from just before it is sent until a scrape that counts it has arrived, so the pause between scrapes is
part of it. At the end all counts must be exact.
"""

import argparse
import asyncio
import math
import random
import re
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer

from .scale import wait_until_shared
from .support.command import command, kafka_and_folder, parser, say
from .support.load import (
    NAMES,
    SPAN_NS,
    Event,
    Expected,
    Load,
    ModelCounts,
    deployment,
    right_answer,
)
from .support.measure import BenchError, Service, wait_until, wait_until_exact
from .support.processor_app import fresh_name, worker
from .support.rate_limit import Feeder, feeder
from .support.topic_fill import PARTITIONS, fresh_topic

_END_SECONDS = 120.0
_SERIES = re.compile(r"^model_(predictions|judged)\{(.*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Level:
    """The results at one rate: times in seconds, rates in events per second."""

    share: float
    asked: float
    sent: float
    latencies: list[float]
    scrapes: list[float]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(levels: Sequence[Level]) -> str:
    """Markdown: a row for each rate."""
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


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.latency", __doc__, "--top-rate 20000 --shares 0.5 --seconds 5")
    line.add_argument(
        "--top-rate", type=float, required=True,
        help="events per second that the processor reached in `python -m bench`",
    )  # fmt: skip
    line.add_argument(
        "--shares", type=float, nargs="+", default=[0.01, 0.5, 0.9],
        help="shares of the top rate, a run each (0.01 0.5 0.9)",
    )  # fmt: skip
    line.add_argument("--seconds", type=float, default=20, help="load of a run (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    line.add_argument(
        "--every", type=float, default=0.25,
        help="seconds between the probes of a partition (%(default)s)",
    )  # fmt: skip
    line.add_argument(
        "--scrape", type=float, default=0.1, help="seconds between scrapes (%(default)s)"
    )
    options = line.parse_args(arguments)
    with kafka_and_folder() as (bootstrap, folder):
        topic = fresh_topic(bootstrap)
        with worker(bootstrap, topic, fresh_name(), folder) as one:
            wait_until_shared([one])
            try:
                levels = asyncio.run(_measure(options, bootstrap, topic, one))
            except aiohttp.ClientError as error:
                raise BenchError(str(error)) from error
    print(table(levels))
    return 0


async def _measure(
    options: argparse.Namespace, bootstrap: str, topic: str, one: Service
) -> list[Level]:
    levels: list[Level] = []
    truth = Expected()
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
            truth.add(load.expected())
            wanted = Expected({**truth.models, **probes.expected()})
            await asyncio.to_thread(wait_until_exact, [one], wanted, _END_SECONDS)
            say(f"{share:.0%}: {len(levels[-1].latencies):,} probes, counts exact")
    return levels


class Lane:
    """The probes of one deployment: the times at which they were sent, and how many have shown.

    Probes may overtake each other on the way, so the n-th that shows is compared with the n-th that
    was sent; the sum over all is the same.
    """

    def __init__(self) -> None:
        self.sent: dict[str, list[float]] = {"predictions": [], "judged": []}
        self._shown = {"predictions": 0, "judged": 0}

    def show(self, family: str, number: int, now: float) -> list[float]:
        """Latencies of the probes that `number` counts for the first time, at the monotonic `now`."""
        sent, before = self.sent[family], self._shown[family]
        if number > len(sent):
            raise BenchError(f"{number} {family} of a probe's deployment, {len(sent)} were sent")
        self._shown[family] = max(before, number)
        return [now - at for at in sent[before:number]]

    @property
    def waiting(self) -> int:
        """How many have not shown yet."""
        return sum(len(self.sent[family]) - shown for family, shown in self._shown.items())


class Probes:
    """A lane for each partition; each is a deployment that nothing else counts for."""

    def __init__(self, producer: Any, topic: str, first_model: int) -> None:
        self._producer = producer
        self._topic = topic
        self._rng = random.Random(uuid.uuid4().int)
        self._lanes = {deployment(first_model + number): Lane() for number in range(PARTITIONS)}
        self._first = first_model
        self._judgements: dict[int, Event] = {}

    async def send(self, number: int) -> None:
        """Send a prediction to a partition, and the feedback for the one before."""
        await self.judge(number)
        answer, judgement = right_answer(self._first + number, time.time_ns(), self._rng)
        await self._put(number, "predictions", answer)
        self._judgements[number] = judgement

    async def judge(self, number: int) -> None:
        """Send the feedback for the last prediction of a partition, if it has none yet."""
        if number in self._judgements:
            await self._put(number, "judged", self._judgements.pop(number))

    async def _put(self, number: int, family: str, event: Event) -> None:
        lane = self._lanes[deployment(self._first + number)]
        lane.sent[family].append(time.monotonic())
        await self._producer.send_and_wait(
            self._topic, event.value, headers=event.headers, partition=number
        )

    def show(self, text: str, now: float) -> list[float]:
        """The latencies of the probes that a scrape counts for the first time."""
        return [
            latency
            for name, family, number in counted(text)
            if name in self._lanes
            for latency in self._lanes[name].show(family, number, now)
        ]

    @property
    def waiting(self) -> int:
        """How many probes have not shown yet."""
        return sum(lane.waiting for lane in self._lanes.values())

    def expected(self) -> dict[str, ModelCounts]:
        """The exact counts of the probes so far, by deployment."""
        return {
            name: ModelCounts(
                len(lane.sent["predictions"]),
                Counter({(NAMES[0], NAMES[0]): len(lane.sent["judged"])}),
            )
            for name, lane in self._lanes.items()
        }


def counted(text: str) -> Iterator[tuple[str, str, int]]:
    """(deployment, family, number) of the counts of all time by request time in a scrape."""
    for family, labels, value in _SERIES.findall(text):
        if 'window="all"' in labels and 'by="request"' in labels:
            yield labels.partition(',deployment="')[2].partition('"')[0], family, int(float(value))


class _Level:
    """A run at one rate: the load, the probes and the scrapes."""

    def __init__(
        self, options: argparse.Namespace, one: Service, session: aiohttp.ClientSession,
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
            await asyncio.to_thread(
                wait_until, lambda: scraping.done() or not self._probes.waiting,
                [self._worker], _END_SECONDS, lambda: "some probes never showed",
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


if __name__ == "__main__":
    sys.exit(main())
