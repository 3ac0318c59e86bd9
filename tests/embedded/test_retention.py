"""Old events leave the archive once each saved state has them; no count changes."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

import processor.archive.sqlite.requests as requests
import processor.archive.sqlite.retention as steps
from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.timestamps import HOUR
from processor.embedded import retention as module
from processor.embedded.retention import Retention
from tests.embedded.process import Process
from tests.support.archives.harness import answer, event_of, truth

_DAY = 24 * HOUR


@pytest.fixture
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.setattr(steps, "_STEP", 3)
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(requests, "SEGMENT_BITS", 2)
    monkeypatch.setattr(steps, "SEGMENT_BITS", 2)
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    yield Process(tmp_path / "data", archive)
    await archive.close()


def _retention(process: Process, days: int) -> Retention:
    return Retention(process.archive, process.folder, days * 86_400, lambda: process.now)


def _rows(process: Process, table: str) -> int:
    with closing(sqlite3.connect(process.archive.path)) as connection:
        number: int = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
        return number


async def _ten_days(process: Process) -> None:
    for number in range(10):
        facts = answer(f"r{number}", "a"), truth(f"r{number}", "a")
        await process.put(*(event_of(fact)._replace(timestamp=process.now) for fact in facts))
        process.pass_hours(24)


async def test_nothing_goes_that_no_state_has(process: Process) -> None:
    await _ten_days(process)
    assert await _retention(process, 1).delete() == 0
    await process.saver.finish(process.fold)
    assert await _retention(process, 100).delete() == 0
    assert await process.archive.count() == 20


async def test_old_events_their_notes_and_no_counts_go(process: Process) -> None:
    await _ten_days(process)
    await process.saver.finish(process.fold)
    before = process.models
    # Days 6 to 9 are not older than 3 days before the last event.
    assert await _retention(process, 3).delete() == 12
    assert [number for number, _ in await process.archive.events(0, 1 << 20)] == list(range(13, 21))
    # The notes go by segments, here of four events.
    assert _rows(process, "requests") == 9
    assert await process.archive.first() == 13
    await process.restart()
    assert process.models == before
    # Feedback for a request whose events are gone waits for a prediction that does not come.
    await process.put(event_of(truth("r0", "b"))._replace(timestamp=process.now))
    assert process.models == before
    assert process.fold.join.state.unmatched == 1


async def test_the_newest_event_stays(process: Process) -> None:
    """The next one is numbered after it, also after a restart."""
    await _ten_days(process)
    await process.saver.finish(process.fold)
    process.pass_hours(24 * 100)
    await process.put(event_of(answer("last", "a"))._replace(timestamp=process.now))
    for _ in range(2):
        await process.saver.finish(process.fold)
        process.saver.saved_position = 0
    process.folder.paths()[1].unlink()
    assert await _retention(process, 3).delete() == 20
    path = process.archive.path
    await process.archive.close()
    process.archive = await SqliteArchive.open(path)
    assert await process.archive.append([event_of(answer("next", "a"))]) == 22


async def test_an_event_from_the_future_holds_nothing_back(process: Process) -> None:
    future = event_of(answer("future", "a"))._replace(timestamp=process.now + 1000 * _DAY)
    await process.put(future)
    await _ten_days(process)
    await process.saver.finish(process.fold)
    assert await _retention(process, 3).delete() == 13


async def test_old_outcomes_go(process: Process) -> None:
    await _ten_days(process)
    await process.saver.finish(process.fold)
    with closing(sqlite3.connect(process.archive.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO outcomes VALUES (?, 'ns', 'dep', '', '', 0, 'a', 'a', 1, ?, ?)",
            [(f"r{n}", time, time) for n, time in enumerate(["2020-01-01T00:00:00Z"] * 7)]
            + [("new", "2999-01-01T00:00:00Z", "2999-01-01T00:00:00Z")],
        )
    await _retention(process, 3).delete()
    assert _rows(process, "outcomes") == 1
