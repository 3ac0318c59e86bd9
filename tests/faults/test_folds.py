"""Failures inside the folds, planted by `tests.faults.worker`."""

import time

import pytest

from tests.faults.crew import Crew
from tests.faults.size import FULL, Size
from tests.faults.worker import CRASHED

_TORN = ("crash_before_floor", "crash_between_values")


@pytest.mark.parametrize("fold", ["join", "tally"])
async def test_an_exception_halfway_in_a_fold_leaves_no_trace(crew: Crew, fold: str) -> None:
    """Part of a record was folded: that memory is thrown away, and the process goes on."""
    worker = crew.start(fault=f"{fold}_halfway:20")
    await crew.until_ready()
    feed = crew.feed(seconds=4)
    await feed.finish()
    await crew.until_exact()
    assert worker.text.count("PlantedError: half-way") == 1
    # Everything was folded since: what the log alone says is the same.
    await crew.terminate(worker)
    crew.start("empty")
    await crew.until_exact()


async def test_a_crash_in_midflush_loses_nothing(crew: Crew) -> None:
    """The table has values, all of them or half, without the floor that goes with them."""
    torn = [crew.start(f"data-{fault}", f"{fault}:6") for fault in _TORN]
    await crew.until_ready()
    # Flushes are 5 s apart, and the first of a partition tears nothing: there is no floor yet.
    feed = crew.feed(seconds=15)
    for worker in torn:
        assert await worker.wait(60) == CRASHED
        crew.workers.remove(worker)
        # The other one takes over what is left, then goes the same way.
    crashed = time.monotonic()
    for fault in _TORN:
        crew.start(f"data-{fault}")
    await crew.recovery(crashed)
    await feed.finish()
    await crew.until_exact()


async def test_what_follows_a_lost_delta_is_held_until_that_is_sent_again(
    crew: Crew, size: Size
) -> None:
    """Nothing is counted in its place, no snapshot passes it, and the next start sends it."""
    worker = crew.start(fault="lost_delta:100")
    await crew.until_ready()
    feed = crew.feed(seconds=4)
    await feed.finish()
    await crew.until_settled()
    assert "planted: the delta" in worker.text
    assert await crew.held_deltas() > 0
    assert await crew.differences()
    fault = time.monotonic()
    if size is FULL:
        crew.kill(worker)
    else:  # 10 s less: the group need not wait for the session's end.
        await crew.terminate(worker)
    crew.start()
    await crew.until_exact()
    crew.recovered(fault)
