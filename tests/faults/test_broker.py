"""Trouble on the broker's side: offsets, table values, and the broker itself."""

import asyncio
import shutil
import time

from aiokafka.structs import ConsumerRecord

from processor.domain.observations import SCHEMA_VERSION
from processor.stream.records import Tick, encode
from tests.faults.crew import Crew, until
from tests.faults.log import move_offsets_to_end, read_topic, write, write_again


async def test_stale_table_values_over_newer_ones_change_nothing(crew: Crew) -> None:
    """A zombie's late writes to the changelog: old values, old floors, or both."""
    changelog = f"{crew.app_id}-confusion-changelog"
    crew.start()
    await crew.until_ready()
    feed = crew.feed(seconds=10)
    worker = crew.workers[0]
    old: list[ConsumerRecord] = []

    async def flushed() -> bool:
        nonlocal old
        old = await read_topic(crew.bootstrap, changelog)
        return len(old) > 20

    await until(flushed, 30, "first flush")
    assert not feed.done
    await feed.finish()
    await crew.until_exact()
    # A floor's key is the shortest of its partition: it names the partition alone.
    floors = [record for record in old if len(record.key) <= 2]
    values = [record for record in old if len(record.key) > 2]
    assert floors
    for stale in (values, floors, old):
        await crew.terminate(worker)
        await write_again(crew.bootstrap, stale)
        worker = crew.start(f"empty-{len(stale)}")
        await crew.until_exact()


async def test_group_offsets_moved_to_the_end_skip_nothing(crew: Crew) -> None:
    """The position of a fold is its checkpoint's, never the group's."""
    worker = crew.start()
    await crew.until_ready()
    feed = crew.feed(seconds=5)
    await feed.reach(crew.size.events // 2)
    await crew.until_grown(500)
    await crew.terminate(worker)
    shutil.rmtree(crew.data("data"))
    names = ("observations", "deltas", "confusion-changelog")
    topics = [f"{crew.app_id}-{name}" for name in names]
    await move_offsets_to_end(crew.bootstrap, crew.app_id, topics)
    crew.start()
    await feed.finish()
    await crew.until_exact()


async def test_a_record_of_another_log_ends_the_worker_with_one_line(crew: Crew) -> None:
    """What can't be counted rightly isn't counted: exit code 1, the remedy, and no traceback."""
    worker = crew.start()
    await crew.until_ready()
    foreign = encode(Tick(SCHEMA_VERSION, "another log", 0))
    await write(crew.bootstrap, f"{crew.app_id}-deltas", 3, [(None, foreign)])
    assert await worker.wait(20) == 1
    assert "use a new PROCESSOR_APP_ID" in worker.text.splitlines()[-1]
    assert "Traceback" not in worker.text


async def test_a_broker_that_is_away_for_a_while_costs_time_alone(own_crew: Crew) -> None:
    """A worker may end over it, with a line that says so; then it is started again."""
    crew, server = own_crew, own_crew.server
    assert server is not None
    crew.start("data-0")
    crew.start("data-1")
    await crew.until_ready()
    feed = crew.feed(seconds=12)
    await crew.until_grown(crew.size.events // 6)
    away = time.monotonic()
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(max(0.0, away + 8 - time.monotonic()))
    await asyncio.to_thread(server.start)
    print(f"broker away for {time.monotonic() - away:.1f} s")
    fault = time.monotonic()
    async with crew.restarting():
        await crew.recovery(fault)
        await feed.finish()
        await crew.until_exact()


async def test_a_worker_ends_in_time_while_the_broker_is_away(own_crew: Crew) -> None:
    """SIGTERM must not wait for a broker that does not answer."""
    crew, server = own_crew, own_crew.server
    assert server is not None
    worker = crew.start()
    await crew.until_ready()
    crew.feed(seconds=6)
    await crew.until_grown(500)
    await asyncio.to_thread(server.kill)
    fault = time.monotonic()
    try:
        code = await worker.terminate()
        print(f"ended in {time.monotonic() - fault:.1f} s")
        assert code == 0 or "processor: stopping took more" in worker.text.splitlines()[-1]
    finally:
        # The feed wants to end in order too.
        await asyncio.to_thread(server.start)
