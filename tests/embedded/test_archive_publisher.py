"""The archive publisher: events on the log are noted in the archive."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from processor.archive.base import RequestKey
from processor.archive.sqlite import archive as sqlite
from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.requests import Note
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.embedded.archive_publisher import ArchiveSink
from processor.embedded.broker import EmbeddedBroker
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.telemetry import Telemetry
from tests.support.archive_harness import answer, event_of, new_publisher, publish
from tests.support.faults.cluster import until


def _structured(request_id: str) -> dict[str, object]:
    return {
        "specversion": "1.0", "id": "1", "source": "s", "requestid": request_id,
        "type": "io.seldon.serving.inference.response", "time": "2026-11-20T10:00:00Z",
        "namespace": "ns", "inferenceservicename": "dep", "endpoint": "default", "modelid": "clf",
        "data": {"data": {"ndarray": ["a"]}},
    }  # fmt: skip


async def test_every_event_of_a_batch_is_found(tmp_path: Path) -> None:
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    body = json.dumps([_structured(f"r{n}") for n in range(3)]).encode()
    batch = RawEvent([("content-type", b"application/cloudevents-batch+json")], body, 0)
    await archive.append([batch, event_of(answer("other", "a"))])
    await publish(archive)
    wanted = [RequestKey("ns", "dep", "r1"), RequestKey("ns", "dep", "r2")]
    found = [one async for some in archive.lookup(wanted, ModelRules()) for one in some]
    assert [record.request for record in found] == wanted
    sizes = [len(batch) async for batch in archive.scan(ModelRules())]
    assert sizes == [4]
    await archive.close()


async def test_events_of_other_types_are_counted_and_not_kept(tmp_path: Path) -> None:
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    telemetry = Telemetry()
    publisher = new_publisher(archive, telemetry)
    guard = BrokerMemoryGuard(EmbeddedBroker(), None)
    sink = ArchiveSink(archive, Decoder(ModelRules(), Telemetry()), publisher, guard)
    foreign = RawEvent([("ce_type", b"io.seldon.serving.inference.drift")], b"{}", 0)
    assert await sink.accept([foreign]) == [None]
    assert await archive.count() == 0
    assert await sink.accept([foreign, event_of(answer("r1", "a")), foreign]) == [None] * 3
    assert await archive.count() == 1
    assert telemetry.events == {"other": 3}
    await archive.close()


async def test_events_are_published_while_notes_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_NOTES", 1)
    path = tmp_path / "events.sqlite"
    archive = await SqliteArchive.open(path, busy_timeout=0.05)
    running_publisher = new_publisher(archive)
    memory_guard = BrokerMemoryGuard(EmbeddedBroker(), None)
    sink = ArchiveSink(archive, Decoder(ModelRules(), Telemetry()), running_publisher, memory_guard)
    running = asyncio.create_task(running_publisher.run())
    monkeypatch.setattr(archive, "note", _while_locked(archive, path))
    await sink.accept([event_of(answer("r1", "a"))])
    await until(lambda: running_publisher.position == 1, 60, "on the log")
    await until(lambda: "noting requests" in caplog.text, 60, "reported")
    await sink.accept([event_of(answer("r2", "a"))])
    await until(lambda: running_publisher.position == 2, 60, "on the log")
    running.cancel()
    await asyncio.wait([running])
    wanted = [RequestKey("ns", "dep", "r1"), RequestKey("ns", "dep", "r2")]
    found = [one async for some in archive.lookup(wanted, ModelRules()) for one in some]
    assert [record.request for record in found] == wanted
    await archive.close()


def _while_locked(
    archive: SqliteArchive, path: Path
) -> Callable[[Sequence[Note]], Awaitable[None]]:
    note, foreign = archive.note, sqlite3.connect(path, isolation_level=None)

    async def locked(notes: Sequence[Note]) -> None:
        """Note while another program holds the lock."""
        foreign.execute("BEGIN IMMEDIATE")
        try:
            await note(notes)
        finally:
            foreign.execute("ROLLBACK")

    return locked
