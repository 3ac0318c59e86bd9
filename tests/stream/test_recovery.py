"""The recovery of Faust's table ends, whatever a rebalance does to it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from processor.kafka.clients import Kafka
from processor.kafka.topics import Topics, prepare
from processor.settings import Settings
from processor.stream.app import attach, make_app
from processor.stream.table_recovery import PATIENCE, TableRecovery
from tests.support.faults.cluster import until
from tests.support.servers import Broker

_PARTITIONS = 2


async def _deliver(partition: int, offset: int, timestamp: int, value: bytes) -> None:
    pass


@asynccontextmanager
async def _running(app: Any) -> AsyncIterator[asyncio.Event]:
    """Run the app; the event is set at the end of each recovery."""
    recovered = asyncio.Event()

    async def on_recovered(*args: Any, **kwargs: Any) -> None:
        recovered.set()

    app.on_rebalance_complete.connect(on_recovered, weak=False)
    await app.start()
    try:
        yield recovered
    finally:
        await app.stop()


def _settings(**values: str) -> Settings:
    return Settings.from_env({f"PROCESSOR_{name}": value for name, value in values.items()})


async def test_a_recovery_that_stands_still_starts_again_with_more_patience() -> None:
    server = "127.0.0.1:9"  # never connected to
    app = make_app(_settings(BROKER=f"kafka://{server}"), (server,))
    ends: list[None] = []
    watch = TableRecovery(app, lambda: ends.append(None))
    start = app.tables.recovery.signal_recovery_start

    def checks() -> int:
        count = 0
        while not start.is_set() and count < 9 * PATIENCE:
            watch.check()
            count += 1
        start.clear()
        return count

    await app.on_partitions_assigned.send(set())
    assert checks() == PATIENCE + 1
    assert checks() == 2 * PATIENCE
    assert checks() == 4 * PATIENCE
    # During a rebalance there is nothing to start.
    await app.on_partitions_revoked.send(set())
    assert checks() == 9 * PATIENCE
    await app.on_partitions_assigned.send(set())
    start.set()
    await app.on_rebalance_complete.send()
    assert not ends, "the end of the recovery before the one that is due"
    start.clear()
    await app.on_rebalance_complete.send()
    assert len(ends) == 1
    assert watch.recovered.is_set()
    assert checks() == 9 * PATIENCE


async def test_records_fetched_while_all_is_paused_come_again(
    kafka: Broker, app_id: str, tmp_path: Path
) -> None:
    """A request that is under way when a rebalance begins is answered after the recovery's seek, and
    before its first read."""
    settings = _settings(
        BROKER=f"kafka://{kafka.bootstrap}",
        APP_ID=app_id,
        PARTITIONS=str(_PARTITIONS),
        DATA=str(tmp_path),
    )
    await prepare(Kafka(settings, settings.broker), settings)
    topics = Topics.of(app_id)
    app = make_app(settings, settings.broker)
    table = attach(app, topics, _PARTITIONS, _deliver, _deliver)
    async with _running(app) as recovered:
        async with asyncio.timeout(60):
            await recovered.wait()
        await until(lambda: not app.rebalancing, 60, "the first recovery's end")
        # Records of another worker.
        written = {TopicPartition(topics.changelog, number) for number in range(_PARTITIONS)}
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for partition in range(_PARTITIONS):
                for number in range(3):
                    key = b"%d/%d" % (partition, number)
                    await producer.send_and_wait(topics.changelog, b"value", key, partition)
        requested, sought, answered = (threading.Event() for _ in range(3))
        thread, recovery = app.consumer._thread, app.tables.recovery
        fetcher = thread._consumer._fetcher
        fetch, seek = fetcher.fetched_records, recovery._seek_offsets

        async def late(*args: Any, **kwargs: Any) -> Any:
            if answered.is_set():
                return await fetch(*args, **kwargs)
            requested.set()
            await until(sought.is_set, 60, "the recovery's seek")
            await until(lambda: written <= fetcher._records.keys(), 60, "the records sought")
            found = await fetch(*args, **kwargs)
            answered.set()
            return found

        async def busy_after(*args: Any) -> None:
            await seek(*args)
            sought.set()
            await until(answered.is_set, 60, "the answer to the old request")

        fetcher.fetched_records, recovery._seek_offsets = late, busy_after
        await until(requested.is_set, 60, "a request under way")
        recovered.clear()
        thread.thread_loop.call_soon_threadsafe(thread._consumer._coordinator.request_rejoin)
        async with asyncio.timeout(60):
            await recovered.wait()
        assert len(table) == 3 * _PARTITIONS
