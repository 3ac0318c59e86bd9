"""The tally's checkpoint in a table, where it is not the fold's own matter."""

import pytest

from processor.domain.observations import SCHEMA_VERSION
from processor.domain.telemetry import Telemetry
from processor.domain.windows import parse_window
from processor.errors import LogMismatchError
from processor.stream.records import Tick, encode
from processor.stream.tally import TallyStage

_TICK = encode(Tick(SCHEMA_VERSION, "e", 0))


def _stage(table: dict[bytes, bytes]) -> TallyStage:
    return TallyStage(3, "e", "deltas", (parse_window("all"),), table, Telemetry())


async def test_an_idle_partition_opens_when_its_log_was_trimmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ticks alone there is nothing to save but the position, and that must be saved."""
    now = 1000.0
    monkeypatch.setattr("processor.stream.tally.time.monotonic", lambda: now)
    table: dict[bytes, bytes] = {}
    stage = _stage(table)
    assert await stage.load(0, 0) == 0
    for offset in range(100):
        now += 60.0
        stage.fold(offset, offset * 60 * 10**9, _TICK)
        stage.maybe_flush()
    again = _stage(table)
    assert await again.load(50, 100) >= 50


async def test_a_checkpoint_before_the_log_begins_is_refused() -> None:
    with pytest.raises(LogMismatchError, match="new PROCESSOR_APP_ID"):
        await _stage({}).load(50, 100)


async def test_a_topic_that_was_emptied_is_refused() -> None:
    table: dict[bytes, bytes] = {}
    stage = _stage(table)
    await stage.load(0, 0)
    stage.fold(7, 10**9, _TICK)
    stage.flush()
    with pytest.raises(LogMismatchError, match="emptied"):
        await _stage(table).load(0, 3)
