"""Processes that are killed, ended, and frozen."""

import asyncio
import shutil
import signal
import time

import pytest

from tests.faults.crew import Crew, until

#: The session timeout of the workers' consumer groups.
_SESSION = 10


@pytest.mark.parametrize("keeps", [True, False], ids=["keeping_its_data", "losing_its_data"])
async def test_killed_workers_lose_and_repeat_nothing(crew: Crew, keeps: bool) -> None:
    """kill -9 under load; the worker comes back at once, with its data folder or without."""
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    times = crew.size.times
    feed = crew.feed(seconds=8 + 3 * (times - 1))
    await crew.until_grown(500)
    for number in range(times):
        await feed.reach(crew.size.events * (number + 1) // (times + 2))
        killed, name = crew.workers[0], f"data-{number % 2}"
        crew.kill(killed)
        fault = time.monotonic()
        if not keeps:
            shutil.rmtree(crew.data(name))
        crew.start(name)
        await crew.recovery(fault)
    await feed.finish()
    await crew.until_exact()


async def test_ended_workers_lose_and_repeat_nothing(crew: Crew) -> None:
    """SIGTERM under load, three times, each worker started again at once."""
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    feed = crew.feed(seconds=10)
    await crew.until_grown(500)
    for number in range(3):
        await feed.reach(crew.size.events * (number + 1) // 5)
        fault = time.monotonic()
        await crew.terminate(crew.workers[0])
        print(f"ended in {time.monotonic() - fault:.1f} s")
        crew.start(f"data-{number % 2}")
        await crew.recovery(fault)
    await feed.finish()
    await crew.until_exact()


async def test_a_frozen_worker_comes_back_under_load(crew: Crew) -> None:
    """SIGSTOP past the session timeout, and SIGCONT while the load still runs."""
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    feed = crew.feed(seconds=18)
    await crew.until_grown(500)
    frozen = crew.workers[0]
    frozen.signal(signal.SIGSTOP)
    fault = time.monotonic()
    crew.workers.remove(frozen)
    await crew.recovery(fault)
    await asyncio.sleep(max(0.0, fault + _SESSION + 2 - time.monotonic()))
    assert not feed.done
    frozen.signal(signal.SIGCONT)
    crew.workers.append(frozen)
    await feed.finish()
    await crew.until_exact()


async def test_late_writes_of_a_zombie_change_nothing(crew: Crew) -> None:
    """SIGCONT after the load: what the zombie had on its way comes after its successor's. Then all
    start over, and nothing but the broker remembers."""
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    feed = crew.feed(seconds=6)
    await crew.until_grown(500)
    await feed.reach(crew.size.events // 3)
    frozen = crew.workers[0]
    frozen.signal(signal.SIGSTOP)
    crew.workers.remove(frozen)
    await feed.finish()
    await crew.until_exact()
    frozen.signal(signal.SIGCONT)
    crew.workers.append(frozen)
    await crew.until_exact()
    for worker in tuple(crew.workers):
        await crew.terminate(worker)
    crew.start("empty")
    await crew.until_exact()


async def test_two_first_starts_at_once_share_the_work(crew: Crew) -> None:
    """Fresh topics, two workers at the very same moment."""
    feed = crew.feed(seconds=5)
    crew.start("data-0")
    crew.start("data-1")
    held: list[dict[str, list[int]]] = []

    async def spread() -> bool:
        nonlocal held
        states = [await crew.get(worker, "/ready") for worker in crew.workers]
        held = [state["partitions"] for state in states if state]
        return all(
            sorted(number for each in held for number in each[what]) == list(range(8))
            and min((len(each[what]) for each in held), default=0) > 0
            for what in ("observations", "deltas")
        )

    await feed.finish()
    await crew.until_exact()
    await until(spread, 20, f"partitions spread over both: {held}")
