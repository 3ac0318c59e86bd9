"""Single events whose way is timed: each counts for a deployment that nothing else counts for."""

import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .filled import PARTITIONS
from .load import NAMES, Event, ModelCounts, deployment, right_answer
from .measure import BenchError

_SERIES = re.compile(r"^model_(predictions|judged)\{(.*)\} (\S+)$", re.MULTILINE)


class Lane:
    """The probes of one deployment, in order: when each was sent, and how many have shown.

    They may overtake each other on the way, so the n-th to show is held against the n-th sent:
    the sum over all is the same.
    """

    def __init__(self) -> None:
        self.sent: dict[str, list[float]] = {"predictions": [], "judged": []}
        self._shown = {"predictions": 0, "judged": 0}

    def show(self, family: str, number: int, now: float) -> list[float]:
        """The latencies of those that are counted for the first time."""
        sent, before = self.sent[family], self._shown[family]
        if number > len(sent):
            raise BenchError(f"{number} {family} of a probe's deployment, {len(sent)} were sent")
        self._shown[family] = max(before, number)
        return [now - at for at in sent[before:number]]

    @property
    def waiting(self) -> int:
        return sum(len(self.sent[family]) - shown for family, shown in self._shown.items())


class Probes:
    """A lane for each partition, each with a deployment of its own above the load's."""

    def __init__(self, producer: Any, topic: str, first_model: int) -> None:
        self._producer = producer
        self._topic = topic
        self._rng = random.Random(uuid.uuid4().int)
        self._lanes = {deployment(first_model + number): Lane() for number in range(PARTITIONS)}
        self._first = first_model
        self._judgements: dict[int, Event] = {}

    async def send(self, number: int) -> None:
        """A prediction, and the feedback for the lane's one before."""
        await self.judge(number)
        answer, judgement = right_answer(self._first + number, time.time_ns(), self._rng)
        await self._put(number, "predictions", answer)
        self._judgements[number] = judgement

    async def judge(self, number: int) -> None:
        """The feedback for the lane's last prediction, if it has none yet."""
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
        return sum(lane.waiting for lane in self._lanes.values())

    def expected(self) -> dict[str, ModelCounts]:
        return {
            name: ModelCounts(
                len(lane.sent["predictions"]),
                Counter({(NAMES[0], NAMES[0]): len(lane.sent["judged"])}),
            )
            for name, lane in self._lanes.items()
        }


def counted(text: str) -> Iterator[tuple[str, str, int]]:
    """(deployment, family, number) of all predictions and judgements by request in a scrape."""
    for family, labels, value in _SERIES.findall(text):
        if 'window="all"' in labels and 'by="request"' in labels:
            yield labels.partition(',deployment="')[2].partition('"')[0], family, int(float(value))
