"""A worker that hangs in silence ends by itself; one that waits for its broker never does."""

import asyncio
import os
import signal
import time

import pytest

from tests.faults.crew import Crew, until
from tests.faults.log import read_topic


async def test_a_fold_that_hangs_ends_the_worker_and_the_next_one_goes_on(crew: Crew) -> None:
    worker = crew.start(fault="blocked_fold:100")
    await crew.until_ready()
    feed = crew.feed(seconds=2)
    said: list[str] = []

    async def unhealthy() -> bool:
        health = await crew.get(worker, "/health")
        if health and not health["alive"]:
            said.append(health["reason"])
        return bool(said)

    await until(unhealthy, 30, "an answer of /health that it is stuck")
    assert "there was no progress" in said[0]
    assert await crew.metric(worker, "processor_stalled_seconds") >= 3
    assert await worker.wait(30) == 1
    assert "StalledError" not in worker.text.splitlines()[-1] or "start again" in worker.text
    fault = time.monotonic()
    crew.workers.remove(worker)
    crew.start()
    await crew.recovery(fault)
    await feed.finish()
    await crew.until_exact()


async def test_a_recovery_of_the_table_that_hangs_starts_again(crew: Crew) -> None:
    """Faust waits for ever for records that it has lost; the worker does not."""
    crew.start()
    await crew.until_ready()
    feed = crew.feed(seconds=10)

    async def flushed() -> bool:
        return len(await read_topic(crew.bootstrap, f"{crew.app_id}-confusion-changelog")) > 20

    await until(flushed, 30, "a checkpoint in the table")
    fault = time.monotonic()
    hung = crew.start("other", fault="lost_changelog:2")
    await crew.recovery(fault)
    await feed.finish()
    await crew.until_exact()
    assert hung.text.count("recovery stands still") >= 2


@pytest.mark.usefixtures("full")
async def test_a_frozen_broker_is_waited_for(own_crew: Crew) -> None:
    """Longer than the watchdog's limit: it must not take the broker's halt for the worker's."""
    crew, server = own_crew, own_crew.server
    assert server is not None
    worker = crew.start(fault="short_watchdog:5")
    await crew.until_ready()
    feed = crew.feed(seconds=8)
    await crew.until_grown(500)
    os.kill(server.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    try:
        # Time is what is tested: past the limit and the end, short of the session's timeout.
        await asyncio.sleep(9)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert time.monotonic() - frozen > 8
    fault = time.monotonic()
    await crew.recovery(fault)
    await feed.finish()
    await crew.until_exact()
    assert worker.alive
