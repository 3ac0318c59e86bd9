"""When a worker has read what there was: its partitions of the source, and those of a log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from processor.kafka.log_reader import LogReader
from processor.stream.ingest import _Backlog
from processor.stream.partition_fold import PartitionFold
from processor.stream.partition_manager import PartitionManager
from tests.support.faults.cluster import until

_A, _B = TopicPartition("source", 0), TopicPartition("source", 1)


class _Consumer:
    """A consumer of a group, whose positions and ends a test sets."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] = set()
        self.ends = {_A: 10, _B: 0}
        self.positions = {_A: 0, _B: 0}

    def assignment(self) -> set[TopicPartition]:
        return set(self.assigned)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {one: self.ends[one] for one in partitions}

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]


async def _done(backlog: _Backlog, consumer: _Consumer, is_idle: bool = True) -> bool:
    await backlog.check(cast(AIOKafkaConsumer, consumer), is_idle)
    return backlog.done


async def test_the_backlog_is_done_when_all_that_there_was_is_on_the_log() -> None:
    backlog, consumer = _Backlog(), _Consumer()
    assert not await _done(backlog, consumer)  # not in the group yet
    consumer.assigned = {_A, _B}
    backlog.on_partitions_assigned(consumer.assigned)
    assert not await _done(backlog, consumer)
    consumer.ends[_A] = 99  # what comes later is no part of it
    consumer.positions[_A] = 10
    assert not await _done(backlog, consumer, is_idle=False)  # read, and still on its way
    backlog.on_log({_A: (9, "")})
    assert not await _done(backlog, consumer, is_idle=False)
    backlog.on_log({_A: (10, "")})
    # The empty partition has nothing on its way, which is known when all is on the log.
    assert await _done(backlog, consumer, is_idle=True)


async def test_a_member_without_partitions_has_no_backlog() -> None:
    backlog, consumer = _Backlog(), _Consumer()
    backlog.on_partitions_assigned(())
    assert await _done(backlog, consumer)


async def test_what_was_committed_before_needs_no_reading() -> None:
    backlog, consumer = _Backlog(), _Consumer()
    consumer.assigned, consumer.positions[_A] = {_A}, 10
    backlog.on_partitions_assigned(consumer.assigned)
    assert await _done(backlog, consumer)


class _Stage:
    """Counts what is folded."""

    def __init__(self) -> None:
        self.folded: list[int] = []

    async def load(self, begin: int, end: int) -> int:
        return begin

    def fold(self, offset: int, timestamp: int, value: bytes) -> None:
        self.folded.append(offset)

    async def emit(self) -> None:
        pass


class _Log:
    """A partition of a log, as its reader; reading waits until a test allows it."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.records = 0
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def bounds(self) -> tuple[int, int]:
        return 0, self.end

    async def read(self, start: int, end: int) -> AsyncIterator[Sequence[Any]]:
        await self.may_read.wait()
        if start < end:
            yield [SimpleNamespace(offset=n, timestamp=0, value=b"") for n in range(start, end)]


async def test_a_partition_that_was_silent_at_a_rebalance_is_read_to_its_end_again() -> None:
    log, stage = _Log(5), _Stage()
    fold = PartitionFold(stage, cast(LogReader, log), "tally")
    manager = PartitionManager(lambda number: (fold, stage), lambda error: None)
    manager.assign({0})
    manager.open()
    await until(lambda: manager.are_open, 60, "open")
    manager.assign({0}, trusted=60.0)
    assert manager.are_open  # its gauges stay, whatever joins or leaves the group
    log.end = 8
    fold.current_at -= 61.0
    manager.assign({0}, trusted=60.0)
    assert manager.open_stages() == []
    manager.open()
    await until(lambda: manager.are_open, 60, "open again")
    assert stage.folded == list(range(8))
    await manager.close()


async def test_after_a_standstill_a_partition_is_read_to_its_end_before_it_is_shown() -> None:
    log, stage, errors = _Log(5), _Stage(), list[BaseException]()

    def make(number: int) -> tuple[PartitionFold, _Stage]:
        return PartitionFold(stage, cast(LogReader, log), "join"), stage

    manager = PartitionManager(make, errors.append)
    assert manager.are_open  # of none
    manager.assign({0})
    manager.open()
    assert not manager.are_open
    await until(lambda: manager.are_open, 60, "open")
    assert stage.folded == list(range(5))
    # Another worker has counted on, while this one stood still.
    log.end = 8
    log.may_read.clear()
    manager.check_ends()
    assert (manager.are_open, manager.open_stages()) == (False, [])
    await asyncio.sleep(0)
    assert not manager.are_open
    log.may_read.set()
    await until(lambda: manager.are_open, 60, "open again")
    assert stage.folded == list(range(8))
    await manager.close()
    assert errors == []
