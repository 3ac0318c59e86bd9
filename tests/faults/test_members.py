"""Workers that come and go while events come in."""

import time

from tests.faults.crew import Crew


async def test_workers_added_and_removed_under_load(crew: Crew) -> None:
    crew.start("data-0")
    await crew.until_ready()
    feed = crew.feed(seconds=9)
    await crew.until_grown(500)
    for number in range(crew.size.times):
        for name in ("b", "c"):
            added = time.monotonic()
            crew.start(f"data-{number}-{name}")
            await crew.recovery(added)
        for _ in range(2):
            removed = time.monotonic()
            await crew.terminate(crew.workers[0])
            await crew.recovery(removed)
    await feed.finish()
    await crew.until_exact()
