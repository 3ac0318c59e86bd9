"""The worker of the embedded mode: it follows its archive, and publishes nothing that lacks the past."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from processor.archive.base import RequestKey
from processor.archive.sqlite import archive as sqlite
from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.file import StoredEvent
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.embedded import saver
from processor.embedded import worker as module
from processor.embedded.sink import ArchiveSink
from processor.embedded.worker import EmbeddedWorker
from processor.errors import ArchiveError
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.archives.harness import answer, event_of, truth
from tests.support.faults.cluster import until

_EVENTS = [event_of(fact(f"r{n}", "a")) for n in range(50) for fact in (answer, truth)]


@pytest.fixture
async def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteArchive]:
    monkeypatch.setattr(module, "_TICK", 0.01)
    monkeypatch.setattr(module, "_GATHER", 0.0)
    archive = await SqliteArchive.open(tmp_path / "events.sqlite", busy_timeout=0.05)
    yield archive
    await archive.close()


@asynccontextmanager
async def running(archive: SqliteArchive, **settings: str) -> AsyncIterator[EmbeddedWorker]:
    """A worker that runs, and saves its state at its end."""
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    env["PROCESSOR_DATA"] = str(archive.path.parent)
    worker = EmbeddedWorker(Settings.from_env(env), archive, ModelRules(), Telemetry())
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        task.cancel()
        await asyncio.wait([task])
        await worker.stop()


def _sink(archive: SqliteArchive, worker: EmbeddedWorker) -> ArchiveSink:
    return ArchiveSink(archive, ModelRules(), worker.fold._live, worker.wake)


def _judged(worker: EmbeddedWorker) -> int:
    models = worker.windows(0.0)["all", "request"]
    return sum(counts.judged for counts in models.values())


async def test_nothing_is_published_before_the_past_is_counted(
    archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.append(_EVENTS)
    monkeypatch.setattr(module, "SLICE", 1)
    async with running(archive) as worker:
        seen = 0
        while not worker.complete.is_set():
            found = worker.windows(0.0)["all", "request"], worker.buckets(0, "request")
            assert not any((*found, worker.cohorts(), list(worker.advance(0.0))))
            assert worker.joins() == {}
            seen += worker.fold.position > 0
            await asyncio.sleep(0)
        assert seen > 10
        assert _judged(worker) == 50
        assert worker.fold._live.events.total() == 0
        assert worker.fold._live.bootstrap_documents == 100
        await _sink(archive, worker).accept([event_of(answer("new", "a"))])
        await until(lambda: worker.fold._live.events.total() == 1, 60, "the new event")


async def test_a_start_folds_only_what_is_new(archive: SqliteArchive) -> None:
    async with running(archive) as worker:
        await _sink(archive, worker).accept(_EVENTS[:60])
        await until(lambda: _judged(worker) == 30, 60, "counted")
    async with running(archive) as worker:
        await asyncio.wait_for(worker.complete.wait(), 60)
        assert (worker.fold._live.bootstrap_documents, _judged(worker)) == (0, 30)
        await _sink(archive, worker).accept(_EVENTS[60:])
        await until(lambda: _judged(worker) == 50, 60, "counted")
        assert worker.gauges().watermark_timestamp_seconds


async def test_full_folds_the_whole_archive(archive: SqliteArchive) -> None:
    async with running(archive) as worker:
        await _sink(archive, worker).accept(_EVENTS)
        await until(lambda: _judged(worker) == 50, 60, "counted")
    async with running(archive, bootstrap="full") as worker:
        await asyncio.wait_for(worker.complete.wait(), 60)
        assert (worker.fold._live.bootstrap_documents, _judged(worker)) == (100, 50)


async def test_requests_leave_at_the_limit_and_count_all_the_same(archive: SqliteArchive) -> None:
    """`PROCESSOR_MAX_MEMORY`: requests of an earlier hour leave, and their feedback finds them."""
    hour = 3600 * 1_000_000_000
    old = [event._replace(timestamp=hour) for event in _EVENTS[::2]]
    later = [event._replace(timestamp=5 * hour) for event in _EVENTS[1::2]]
    async with running(archive, max_memory="1KiB") as worker:
        sink = _sink(archive, worker)
        await sink.accept(old)
        await sink.accept([event_of(answer("x", "a"))._replace(timestamp=5 * hour)])
        await until(lambda: worker.fold.has_left, 60, "requests have left")
        assert worker.fold._live.evicted_requests == 0
        await sink.accept(later)
        await until(lambda: _judged(worker) == 50, 60, "counted")
        assert worker.fold._live.recalled == 50
        assert worker.fold._live.late == 0


async def test_a_missing_state_and_deleted_events_are_reported(
    archive: SqliteArchive, caplog: pytest.LogCaptureFixture
) -> None:
    await archive.append(_EVENTS)
    await archive.delete_old(1, 41, 1 << 62)
    async with running(archive) as worker:
        await asyncio.wait_for(worker.complete.wait(), 60)
        assert "events before number 41 were deleted" in caplog.text
        assert _judged(worker) == 30


async def test_an_archive_that_cannot_be_read_is_reported_and_tried_again(
    archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, broken = archive.stored_events, True

    async def read(after: int, limit_bytes: int) -> list[StoredEvent]:
        if broken:
            raise ArchiveError("the archive can't be read: the disk fails")
        return await events(after, limit_bytes)

    monkeypatch.setattr(archive, "stored_events", read)
    await archive.append(_EVENTS)
    async with running(archive) as worker:
        await until(lambda: "the disk fails" in worker.last_error, 60, "reported")
        broken = False
        await until(lambda: _judged(worker) == 50, 60, "counted")
        assert worker.last_error == ""


async def test_events_are_counted_while_notes_cannot_be_written(
    archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_NOTES", 1)
    await archive.append(_EVENTS[:1])
    foreign = sqlite3.connect(archive.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    async with running(archive) as worker:
        await until(lambda: "noting requests" in caplog.text, 60, "reported")
        assert worker.fold.position == 1
        foreign.execute("ROLLBACK")
        foreign.close()
        await _sink(archive, worker).accept(_EVENTS[1:2])
        await until(lambda: _judged(worker) == 1, 60, "counted")
    wanted = [RequestKey("ns", "dep", "r0")]
    assert [len(found) async for found in archive.lookup(wanted, ModelRules())] == [2]


async def test_events_of_other_types_are_counted_and_not_kept(archive: SqliteArchive) -> None:
    foreign = RawEvent([("ce_type", b"io.seldon.serving.inference.drift")], b"{}", 0)
    async with running(archive) as worker:
        sink = _sink(archive, worker)
        assert await sink.accept([foreign]) == [None]
        assert await archive.count() == 0
        assert await sink.accept([foreign, _EVENTS[0], foreign]) == [None] * 3
        assert await archive.count() == 1
        assert worker.fold._live.events["other"] == 3


async def test_refused_events_are_reported_until_one_is_stored(archive: SqliteArchive) -> None:
    async with running(archive) as worker:
        sink = _sink(archive, worker)
        foreign = sqlite3.connect(archive.path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(ArchiveError):
            await sink.accept(_EVENTS[:1])
        assert "new events are refused" in sink.last_error
        foreign.execute("ROLLBACK")
        foreign.close()
        await sink.accept(_EVENTS[:1])
        assert sink.last_error == ""


async def test_the_state_is_saved_while_events_come(
    archive: SqliteArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERY", "AT_LEAST"):
        monkeypatch.setattr(saver, name, 0.0)
    async with running(archive) as worker:
        sink = _sink(archive, worker)
        for event in _EVENTS:
            await sink.accept([event])
        await until(lambda: worker.saver.saved_position == 100, 60, "saved")
        assert worker.gauges().checkpoint_age_seconds == 0
        assert len(worker.folder.paths()) <= 2
