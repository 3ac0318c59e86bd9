"""When the counts of a worker include all that was stored at its start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from processor.kafka.clients import Kafka
from processor.service import completeness
from processor.service.completeness import Completeness
from tests.support.faults.cluster import until

_JOIN, _TALLY = TopicPartition("observations", 0), TopicPartition("deltas", 0)


class _Worker:
    """A worker whose offsets a test sets; it is also its own broker."""

    def __init__(self) -> None:
        self.takeovers = 1
        self.is_open = False
        self.joins, self.tallies = {_JOIN: 0}, {_TALLY: 0}
        self.ends = {_JOIN: 10, _TALLY: 5}
        self.kafka = cast(Kafka, self)
        self.asked: list[TopicPartition] = []

    def positions_of_joins(self) -> dict[TopicPartition, int]:
        return self.joins

    def positions_of_tallies(self) -> dict[TopicPartition, int]:
        return self.tallies

    def consumer(self) -> Any:
        return self

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked += partitions
        return {one: self.ends[one] for one in partitions}


@asynccontextmanager
async def _running(client: Any) -> AsyncIterator[Any]:
    yield client


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> _Worker:
    monkeypatch.setattr(completeness, "running", _running)
    monkeypatch.setattr(completeness, "_LOOK_EVERY", 0.001)
    return _Worker()


async def test_it_follows_what_was_stored_through_both_logs(worker: _Worker) -> None:
    read: list[bool] = []
    complete = Completeness(worker, lambda: bool(read))
    task = asyncio.create_task(complete.run())
    try:
        worker.is_open = True
        for _ in range(10):
            await asyncio.sleep(0)
        assert not worker.asked
        read.append(True)
        await until(lambda: worker.asked == [_JOIN], 60, "the end of the observations")
        worker.joins[_JOIN] = 9
        assert not complete()
        worker.joins[_JOIN] = 10
        await until(lambda: worker.asked == [_JOIN, _TALLY], 60, "the end of the deltas")
        assert not complete()
        worker.tallies[_TALLY] = 5
        await until(complete, 60, "complete")
        worker.ends[_TALLY] = 50  # what comes later does not make the start less complete
        assert complete()
        # A partition that opens, or one that is taken over, does.
        worker.is_open = False
        assert not complete()
        worker.is_open, worker.takeovers = True, 2
        assert not complete()
        await until(lambda: len(worker.asked) == 4, 60, "the ends again")
        assert not complete()
        worker.tallies[_TALLY] = 50
        await until(complete, 60, "complete again")
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_worker_without_partitions_is_complete(worker: _Worker) -> None:
    worker.joins, worker.tallies, worker.is_open = {}, {}, True
    complete = Completeness(worker, lambda: True)
    task = asyncio.create_task(complete.run())
    try:
        await until(complete, 60, "complete")
    finally:
        task.cancel()
        await asyncio.wait([task])
