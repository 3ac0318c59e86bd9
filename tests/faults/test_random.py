"""Several kinds of faults, again and again, at random moments: the seed says which and when."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.crew import Crew

#: Seconds: the longer ones outlast the session, so that the frozen worker comes back as a zombie.
_FROZEN = (1.0, 14.0)
_MOST = 3

Strike = Callable[[Crew, random.Random], Awaitable[float]]


async def killed(crew: Crew, rng: random.Random) -> float:
    """kill -9; another one is started, with or without the data of one that was."""
    crew.kill(rng.choice(crew.workers))
    fault = time.monotonic()
    crew.start(f"empty-{fault}" if rng.random() < 0.5 else _folder(crew))
    return fault


async def ended(crew: Crew, rng: random.Random) -> float:
    fault = time.monotonic()
    await crew.terminate(rng.choice(crew.workers))
    crew.start(_folder(crew))
    return fault


async def frozen(crew: Crew, rng: random.Random) -> float:
    """SIGSTOP, SIGCONT."""
    worker = rng.choice(crew.workers)
    fault = time.monotonic()
    worker.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(rng.uniform(*_FROZEN))
    finally:
        worker.signal(signal.SIGCONT)
    return fault


async def added(crew: Crew, rng: random.Random) -> float:
    if len(crew.workers) < _MOST:
        crew.start(_folder(crew))
    return time.monotonic()


async def removed(crew: Crew, rng: random.Random) -> float:
    fault = time.monotonic()
    if len(crew.workers) > 1:
        await crew.terminate(rng.choice(crew.workers))
    return fault


async def broker_restarted(crew: Crew, rng: random.Random) -> float:
    """An orderly stop or a crash, and a start."""
    server = crew.server
    assert server is not None
    fault = time.monotonic()
    await asyncio.to_thread(rng.choice((server.stop, server.kill)))
    await asyncio.to_thread(server.start)
    return fault


KINDS: tuple[Strike, ...] = (killed, ended, frozen, added, removed, broker_restarted)


@pytest.mark.usefixtures("full")
async def test_several_kinds_at_random_moments(own_crew: Crew) -> None:
    """FAULT_SEED repeats a run as far as the machine lets it."""
    crew = own_crew
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
    print(f"FAULT_SEED={seed}")
    crew.outcome.fault += f" (FAULT_SEED={seed})"
    rng = random.Random(seed)
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    feed = crew.feed(seconds=60)
    await crew.until_grown(500)
    # A worker may end over a broker that is restarted.
    async with crew.restarting():
        while not feed.done:
            await asyncio.sleep(rng.uniform(0.1, 2.0))
            strike = rng.choice(KINDS)
            print(f"{strike.__name__} at {feed.sent} events")
            await crew.recovery(await strike(crew, rng))
        await feed.finish()
        await crew.until_exact()


def _folder(crew: Crew) -> str:
    """One that no running worker has: two must not share their snapshots' folder."""
    taken = {worker.data for worker in crew.workers}
    return next(name for number in range(99) if (name := f"data-{number}") not in taken)
