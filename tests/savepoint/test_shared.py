"""A save goes on from a shared snapshot, and reads the rest of the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from processor.domain.join.fold import JoinFold
from processor.kafka.clients import Kafka
from processor.savepoint.kafka_source import KafkaState
from processor.settings import Settings
from processor.stream.shared.snapshots import SharedSnapshots
from processor.stream.shared.stores import open_store
from processor.stream.snapshot_file import SnapshotFile
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import pack, prediction
from tests.support.domain.join_model import request_name
from tests.support.domain.snapshot_files import write

LOG_ID, HOUR = "0123456789abcdef", 3600


class _Log:
    """A log with records 5 to 40, none of which is read here."""

    async def bounds(self) -> tuple[int, int]:
        return 5, 40


def settings_of(data: Path, store: Path) -> Settings:
    return Settings.from_env({
        "PROCESSOR_BROKER": "kafka://localhost:1", "PROCESSOR_APP_ID": "app",
        "PROCESSOR_DATA": str(data), "PROCESSOR_SNAPSHOTS": f"file://{store}",
        "PROCESSOR_PARTITIONS": "4", "PROCESSOR_HORIZON": "1h",
    })  # fmt: skip


def file_of(settings: Settings) -> SnapshotFile:
    return SnapshotFile(settings.data, "app", LOG_ID, 2, 4, HOUR * 10**9)


def keep(settings: Settings, offset: int) -> SnapshotFile:
    """Write a local snapshot with as many requests as its offset."""
    fold, file = JoinFold(LOG_ID, 2, 4, None, Telemetry()), file_of(settings)
    fold.apply(0, 1, pack(*(prediction(request_name(number)) for number in range(offset))))
    capture = file.capture(offset, fold.state)
    while not capture.step(60.0):
        pass
    write(file, capture.take())
    return file


async def copy(settings: Settings, offset: int) -> None:
    """Write a local snapshot, and copy it."""
    shared = SharedSnapshots(open_store(settings.snapshots), settings.snapshots, Telemetry())
    copies = shared.of(keep(settings, offset))
    copies.begin_last(offset)
    await copies.copied(offset)


async def restored(settings: Settings) -> tuple[int, int]:
    """The requests that a save begins with, and the offset that it reads from."""
    state = KafkaState(settings, Kafka(settings, settings.broker))
    state._log_id = LOG_ID
    log: Any = _Log()
    fold, start = await state._restored(2, log)
    return len(fold.state.requests), start


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = tmp_path / "store"
    store.mkdir()
    return store


async def test_the_newest_snapshot_is_used(tmp_path: Path, store: Path) -> None:
    worker, own = settings_of(tmp_path / "worker", store), settings_of(tmp_path / "own", store)
    assert await restored(own) == (0, 5)
    await copy(worker, 20)
    assert await restored(own) == (20, 20)
    keep(own, 30)
    assert await restored(own) == (30, 30)
    assert not list(own.data.glob("*.new"))


async def test_a_store_that_is_away_costs_time_alone(
    tmp_path: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = settings_of(tmp_path / "own", store / "missing")
    with caplog.at_level(logging.WARNING):
        assert await restored(own) == (0, 5)
    assert "there is no folder" in caplog.text
    assert "more of the log is read" in caplog.text
