"""A fresh topic, empty or with a whole load on it."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.topics import create_topics

from ..messages.kind import Kind
from .command import say
from .load import PLAIN, SPAN_NS, Expected, Load, produce
from .measure import Job
from .processor_app import fresh_name

PARTITIONS = 8


@dataclass(frozen=True)
class FilledTopic:
    """A topic with `events` records, and the counts that they come to."""

    bootstrap: str
    topic: str
    events: int
    expected: Expected

    def job(self, folder: Path) -> Job:
        """The work of reading the topic; makes the folder, which may not exist yet."""
        folder.mkdir(parents=True)
        return Job(self.bootstrap, self.topic, PARTITIONS, self.events, self.expected, folder)


def fresh_topic(bootstrap: str, partitions: int = PARTITIONS) -> str:
    """Make an empty topic; its name."""
    topic = fresh_name()
    asyncio.run(create_topics(bootstrap, [topic], partitions))
    return topic


def fill(
    bootstrap: str, events: int, models: int, kinds: tuple[Kind, ...] = (PLAIN,)
) -> FilledTopic:
    """A fresh topic with about so many events, null keys over 8 partitions.

    The kinds get equally many models, so there may be some more models. The last event is now: in a
    live run too, events fall into open windows.
    """
    models += -models % len(kinds)
    start_ns = time.time_ns() - SPAN_NS
    load = Load.of_events(events, models=models, start_ns=start_ns, kinds=kinds)
    expected = load.expected()
    topic = fresh_topic(bootstrap)
    begin = time.perf_counter()
    count = asyncio.run(produce(bootstrap, topic, load, PARTITIONS))
    rate = count / (time.perf_counter() - begin)
    say(f"{count:,} events, {expected.judged:,} judged rows; produced at {rate:,.0f}/s")
    return FilledTopic(bootstrap, topic, count, expected)
