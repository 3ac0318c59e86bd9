"""The tally's checkpoints in a table: when they are written, and which are refused."""

from itertools import pairwise

import pytest

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.model_key import ModelKey
from processor.domain.tally.windows import parse_window
from processor.errors import LogMismatchError
from processor.stream.large_table import table_key
from processor.stream.tally_stage import TallyStage, value_key
from processor.telemetry import Telemetry

_HEARTBEAT = encode(Heartbeat(SCHEMA_VERSION, "e", 0))
_DELTA = encode(DeltaBatch(SCHEMA_VERSION, "e", 0, 0, -1, [], [], []))


def _stage(table: dict[bytes, bytes]) -> TallyStage:
    return TallyStage(3, "e", "deltas", (parse_window("all"),), table, Telemetry())


async def test_an_idle_partition_opens_when_its_log_was_trimmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With heartbeats only, nothing but the position changes, and it must be saved."""
    now = 1000.0
    monkeypatch.setattr("processor.stream.tally_stage.time.monotonic", lambda: now)
    table: dict[bytes, bytes] = {}
    stage = _stage(table)
    assert await stage.load(0, 0) == 0
    for offset in range(100):
        now += 60.0
        stage.fold(offset, offset * 60 * 10**9, _HEARTBEAT)
        stage.maybe_flush()
    again = _stage(table)
    assert await again.load(50, 100) >= 50


@pytest.mark.parametrize(("took", "pause"), [(0.001, 5.0), (0.004, 20.0), (9.0, 120.0)])
async def test_slow_checkpoints_are_written_less_often(
    took: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weeks of feedback change the blocks of weeks, of every model: that must not block the loop."""
    now = 1000.0
    monkeypatch.setattr("processor.stream.tally_stage.time.monotonic", lambda: now)

    class Slow(dict[bytes, bytes]):
        def __setitem__(self, key: bytes, value: bytes) -> None:
            nonlocal now
            now += took
            flushed.append(now)
            super().__setitem__(key, value)

    flushed: list[float] = []
    stage = _stage(Slow())
    await stage.load(0, 0)
    for offset in range(1000):
        stage.fold(offset, offset * 10**9, _DELTA)
        now += 0.5
        stage.maybe_flush()
    pauses = [after - before for before, after in pairwise(flushed)]
    assert len(pauses) >= 2
    assert all(pause <= one <= pause + took + 1 for one in pauses)


def _delta(offset: int, models: list[ModelKey]) -> bytes:
    """One prediction of each model."""
    deltas = [Delta(number, 0, 0, (1, 0, 0, 0, 0, 0, 0), []) for number in range(len(models))]
    return encode(DeltaBatch(SCHEMA_VERSION, "e", 0, offset, offset - 1, models, [], deltas))


async def test_a_flush_stops_the_stream_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record waits for a part of the flush, and is folded before the next part. A start from what
    was written counts everything, wherever the flush was cut short."""
    now = 1000.0
    monkeypatch.setattr("processor.stream.tally_stage.time.monotonic", lambda: now)

    class Slow(dict[bytes, bytes]):
        def __setitem__(self, key: bytes, value: bytes) -> None:
            nonlocal now
            now += 0.001
            super().__setitem__(key, value)

    models = [ModelKey("seldon", f"model-{number}", "default", "a") for number in range(100)]
    table, stops, manifests = Slow(), [], []
    stage = _stage(table)
    await stage.load(0, 0)
    records = [_delta(offset, models) for offset in range(200)]
    for offset, record in enumerate(records):
        stage.fold(offset, offset * 10**9, record)
        now += 1.0
        before = now
        stage.maybe_flush()
        stops.append(now - before)
        manifests.append(table.get(table_key(value_key(3, None))))
        if stops[-1]:
            again = _stage(dict(table))
            for rest in range(await again.load(0, offset + 1), offset + 1):
                again.fold(rest, rest * 10**9, records[rest])
            assert _predictions(again) == dict.fromkeys(models, offset + 1)
    assert 0.02 <= max(stops) < 0.03
    assert 3 <= len(set(manifests)) < sum(stop > 0 for stop in stops) / 3
    assert stage.dirty


def _predictions(stage: TallyStage) -> dict[ModelKey, int]:
    return {key: counts.predictions for key, _, by, counts in stage.board(0.0) if by == "request"}


async def test_a_checkpoint_before_the_log_begins_is_refused() -> None:
    with pytest.raises(LogMismatchError, match="new PROCESSOR_APP_ID"):
        await _stage({}).load(50, 100)


async def test_a_topic_that_was_emptied_is_refused() -> None:
    table: dict[bytes, bytes] = {}
    stage = _stage(table)
    await stage.load(0, 0)
    stage.fold(7, 10**9, _HEARTBEAT)
    stage.flush()
    with pytest.raises(LogMismatchError, match="emptied"):
        await _stage(table).load(0, 3)
