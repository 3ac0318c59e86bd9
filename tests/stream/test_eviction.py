"""The limit on the join's memory: evictions are recorded on the log, and the oldest hour goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from processor.backfill.bootstrap_policy import in_memory_from
from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.timestamps import HOUR
from processor.kafka.control_log import ControlLog, ControlRecord
from processor.stream.eviction import EvictionPolicy
from processor.stream.join_stage import JoinStage
from processor.stream.snapshot_file import SnapshotFile
from processor.stream.snapshotter import Snapshotter
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import pack, prediction
from tests.support.domain.join_model import request_name


class _Control:
    """Keeps the records that are written to the control topic."""

    def __init__(self) -> None:
        self.written: list[ControlRecord] = []

    async def write(self, record: ControlRecord) -> None:
        self.written.append(record)


def _stage(telemetry: Telemetry) -> JoinStage:
    fold = JoinFold("log", 0, 1, None, telemetry)
    file = SnapshotFile(Path("unused"), "app", "log", 0, 1, 0)
    snapshotter = Snapshotter(file, "t/0", telemetry, WriterThread())
    return JoinStage(fold, "t/0", cast(Any, None), snapshotter, cast(Any, None), telemetry)


def _fill(stage: JoinStage, hour: int, first: int) -> None:
    predictions = [prediction(request_name(number)) for number in range(first, first + 30)]
    stage.fold(stage.next_offset, hour * HOUR, encode(pack(*predictions)))


async def test_the_oldest_hour_of_all_partitions_is_evicted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry = Telemetry()
    stages = {0: _stage(telemetry), 3: _stage(telemetry)}
    _fill(stages[0], 11, 0)
    _fill(stages[3], 10, 30)
    for stage in stages.values():
        _fill(stage, 12, 60)
    control = _Control()
    total = sum(stage.join.approx_bytes for stage in stages.values())
    assert await EvictionPolicy(total, cast(ControlLog, control)).next_eviction(stages) is None
    assert not control.written
    policy = EvictionPolicy(1, cast(ControlLog, control))
    evicted = []
    while (next_eviction := await policy.next_eviction(stages)) is not None:
        evicted.append(next_eviction)
        assert await policy.next_eviction(stages) == next_eviction  # until the heartbeat is folded
        number, before = next_eviction
        stage = stages[number]
        heartbeat = stage.heartbeat(before)
        assert heartbeat == Heartbeat(SCHEMA_VERSION, "log", stage.sent_below, before)
        stage.fold(stage.next_offset, 12 * HOUR, encode(heartbeat))
    assert evicted == [(3, 11), (0, 12)]
    assert [record.position for record in control.written] == [11 * HOUR, 12 * HOUR]
    assert telemetry.evicted_requests == 60
    lines = [record.message for record in caplog.records]
    assert len(lines) == 3
    assert "partition 3" in lines[0]
    assert "the running hour" in lines[2]
    assert await policy.next_eviction(stages) is None
    assert len(caplog.records) == 3


def test_requests_that_were_evicted_may_have_been_counted() -> None:
    """Otherwise late feedback and later starts would count them again."""
    now, horizon = 1000 * HOUR, 168 * HOUR
    assert in_memory_from(now, horizon) == in_memory_from(now, horizon, 800 * HOUR)
    assert in_memory_from(now, horizon, 990 * HOUR) == 992 * HOUR
