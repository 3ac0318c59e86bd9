"""A topic with a load on it."""

import asyncio
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.topics import create_topics

from .load import SPAN_NS, Expected, Load, produce
from .measure import Job

PARTITIONS = 8


@dataclass(frozen=True)
class Filled:
    bootstrap: str
    topic: str
    events: int
    expected: Expected

    def job(self, folder: Path) -> Job:
        """The work of reading it, in a new folder of that path."""
        folder.mkdir(parents=True)
        return Job(self.bootstrap, self.topic, PARTITIONS, self.events, self.expected, folder)


def fill(bootstrap: str, events: int, models: int) -> Filled:
    """A fresh topic with about so many events, null keys over 8 partitions.

    The last event is now: in a live run too, events fall into open windows.
    """
    load = Load.of_events(events, models=models, start_ns=time.time_ns() - SPAN_NS)
    topic = f"bench-{uuid.uuid4().hex[:12]}"
    expected = load.expected()
    asyncio.run(create_topics(bootstrap, [topic], PARTITIONS))
    begin = time.perf_counter()
    count = asyncio.run(produce(bootstrap, topic, load, PARTITIONS))
    rate = count / (time.perf_counter() - begin)
    say(f"{count:,} events, {expected.judged:,} judged; produced at {rate:,.0f}/s")
    return Filled(bootstrap, topic, count, expected)


def say(line: str) -> None:
    """Progress, apart from the table on stdout."""
    print(line, file=sys.stderr, flush=True)
