"""The SQLite archive: stored events survive a crash, and errors name the remedy."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from processor.archive.base import RequestKey
from processor.archive.sqlite import file as sqlite_file
from processor.archive.sqlite.archive import SqliteArchive, SqliteReader
from processor.archive.sqlite.file import to_row
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from tests.support.archives.harness import answer, event_of, publish


def event(number: int, value: bytes | None = b"{}") -> RawEvent:
    headers = (("ce_id", str(number).encode()), ("content-type", b"\xff not text"))
    return RawEvent(headers, value, 1795165439330716836 + number)


async def everything(archive: SqliteReader) -> list[tuple[int, RawEvent]]:
    events: list[tuple[int, RawEvent]] = []
    while batch := await archive.events(events[-1][0] if events else 0, 100):
        events += batch
    return events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events #1%.sqlite"


async def test_stored_events_come_back_in_order(path: Path) -> None:
    events = [event(1), event(2, None), event(3, b""), event(4, b"\x00\xff")]
    archive = await SqliteArchive.open(path)
    assert (await archive.count(), await archive.last()) == (0, 0)
    assert await archive.append(events[:2]) == 2
    assert await archive.append(events[2:]) == 4
    assert await archive.append([]) == 4
    await archive.close()
    await archive.close()

    archive = await SqliteArchive.open(path)
    stored = await everything(archive)
    assert [seq for seq, _ in stored] == [1, 2, 3, 4]
    assert [one for _, one in stored] == events
    assert (await archive.count(), await archive.last()) == (4, 4)
    assert await archive.append([event(5)]) == 5
    await archive.close()
    assert not path.with_name(path.name + "-wal").exists()


async def test_a_read_is_bounded_by_bytes_but_gives_at_least_one_event(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    await archive.append([event(n, b"x" * 1000) for n in range(10)])
    assert [seq for seq, _ in await archive.events(0, 1)] == [1]
    assert [seq for seq, _ in await archive.events(3, 2500)] == [4, 5, 6]
    assert len(await archive.events(0, 1 << 20)) == 10
    assert await archive.events(10, 1 << 20) == []
    await archive.close()


async def test_concurrent_callers_share_commits_and_each_gets_its_number(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    counter = sqlite3.connect(path)
    before = counter.execute("PRAGMA data_version").fetchone()
    numbers = await asyncio.gather(*(archive.append([event(n), event(n)]) for n in range(200)))
    assert sorted(numbers) == list(range(2, 401, 2))
    assert counter.execute("PRAGMA data_version").fetchone() != before
    counter.close()
    for n, (_, one) in zip(sorted(range(200)), (await everything(archive))[::2], strict=True):
        assert numbers[int(one.headers[0][1])] == 2 * n + 2
    await archive.close()


async def test_a_cancelled_caller_affects_no_other(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    gone = asyncio.create_task(archive.append([event(1)]))
    await asyncio.sleep(0)
    gone.cancel()
    await archive.append([event(2)])
    assert [one.headers[0][1] for _, one in await everything(archive)] == [b"1", b"2"]
    await archive.close()


async def test_an_event_that_cannot_be_stored_fails_its_caller_only(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    outcomes = await asyncio.gather(
        archive.append([event(1)]),
        archive.append([event(2), event(3)._replace(timestamp=1 << 63)]),
        archive.append([event(4)]),
        return_exceptions=True,
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], ArchiveError)
    assert outcomes[2] == 2
    await archive.close()


async def test_a_failed_commit_fails_its_callers_and_no_later_ones(path: Path) -> None:
    archive = await SqliteArchive.open(path, busy_timeout=0.05)
    await archive.append([event(1)])
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    outcomes = await asyncio.gather(
        *(archive.append([event(n)]) for n in range(5)), return_exceptions=True
    )
    for outcome in outcomes:
        assert isinstance(outcome, ArchiveError)
        assert str(path) in str(outcome)
        assert "another program holds its lock" in str(outcome)
    foreign.execute("ROLLBACK")
    foreign.close()
    assert await archive.append([event(9)]) == 2
    assert await archive.count() == 2
    await archive.close()


async def test_a_full_disk_is_named_and_appends_work_again_afterwards(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    connection = archive._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(ArchiveError, match="the disk is full: free space"):
        await archive.append([event(1, b"x" * 100_000)])
    assert await archive.count() == 0
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await archive.append([event(1, b"x" * 100_000)]) == 1
    await archive.close()


async def test_a_file_that_was_moved_or_replaced_is_refused(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    path.rename(path.with_name("moved"))
    with pytest.raises(ArchiveError, match=r"can't be written"):
        await archive.append([event(1)])
    path.write_bytes(b"")
    with pytest.raises(ArchiveError, match="was replaced"):
        await archive.append([event(1)])
    await archive.close()


async def test_acknowledged_events_survive_a_kill(path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from processor.archive.sqlite.archive import SqliteArchive\n"
        "from processor.domain.events.raw_event import RawEvent\n"
        "async def main():\n"
        "    archive = await SqliteArchive.open(Path(sys.argv[1]))\n"
        "    while True:\n"
        "        print(await archive.append([RawEvent((), b'{}', 0)] * 10), flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        try:
            for _ in range(50):
                acknowledged = int(writer.stdout.readline())
            with pytest.raises(ArchiveError, match=rf"in use by .*process {writer.pid}\)"):
                await SqliteArchive.open(path)
            reader = await SqliteReader.open_read_only(path)
            assert await reader.last() >= acknowledged
            await reader.close()
        finally:
            writer.send_signal(signal.SIGKILL)
        acknowledged = max(
            [acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))]
        )
    archive = await SqliteArchive.open(path)
    assert await archive.last() >= acknowledged
    assert await archive.count() % 10 == 0
    await archive.close()


async def test_one_writer_even_in_one_process_and_by_another_path(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    link = path.with_name("link")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(ArchiveError, match=f"process {os.getpid()}"):
            await SqliteArchive.open(name)
    await archive.close()
    archive = await SqliteArchive.open(link)
    await archive.close()
    with pytest.raises(ArchiveError, match="is closed"):
        await archive.append([event(1)])
    with pytest.raises(ArchiveError, match="is closed"):
        await archive.count()


async def test_reading_needs_an_archive(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no archive"):
        await SqliteReader.open_read_only(path)
    assert not path.parent.exists()
    with pytest.raises(ArchiveError, match="is not a file"):
        await SqliteReader.open_read_only(tmp_path)
    text = tmp_path / "text"
    text.write_text("this is a text " * 100)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    empty = tmp_path / "empty"
    empty.touch()
    for wrong, message in (
        (text, "not an archive"),
        (other, "not an archive"),
        (empty, "not an archive"),
    ):
        with pytest.raises(ArchiveError, match=message):
            await SqliteReader.open_read_only(wrong)
    # Files of other programs are not written to; an empty file becomes an archive.
    for wrong in (text, other):
        with pytest.raises(ArchiveError, match="not an archive"):
            await SqliteArchive.open(wrong)
    await (await SqliteArchive.open(empty)).close()
    await (await SqliteReader.open_read_only(empty)).close()


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await (await SqliteArchive.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 4")
    connection.close()
    with pytest.raises(ArchiveError, match=r"newer processor \(schema 4"):
        await SqliteArchive.open(path)
    with pytest.raises(ArchiveError, match=r"newer processor \(schema 4"):
        await SqliteReader.open_read_only(path)


_VERSION_1 = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, accepted INTEGER NOT NULL, headers BLOB NOT NULL, value BLOB
);
PRAGMA application_id = 0x464D5041;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
"""


async def test_a_file_of_version_1_can_be_read_and_is_upgraded_by_its_writer(path: Path) -> None:
    path.parent.mkdir()
    events = [event_of(answer(f"r{n}", "a")) for n in range(3)]
    with sqlite3.connect(path) as connection:
        connection.executescript(_VERSION_1)
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", numbered(events))
    connection.close()
    before = path.read_bytes()

    reader = await SqliteReader.open_read_only(path)
    assert [one for _, one in await everything(reader)] == events
    assert await reader.count() == 3
    await reader.close()
    assert path.read_bytes() == before

    for _ in range(2):
        archive = await SqliteArchive.open(path)
        await publish(archive)
        wanted = [RequestKey("ns", "dep", f"r{n}") for n in range(4)]
        found = [one async for batch in archive.lookup(wanted, ModelRules()) for one in batch]
        assert [one.request.request_id for one in found] == ["r0", "r1", "r2"]
        await archive.close()


def numbered(events: list[RawEvent]) -> list[tuple[int, int, bytes, bytes | None]]:
    return [(seq, *to_row(one)) for seq, one in enumerate(events, 1)]


async def test_a_processor_that_knows_only_version_1_refuses_version_3(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await SqliteArchive.open(path)).close()
    monkeypatch.setattr(sqlite_file, "SCHEMA_VERSION", 1)
    with pytest.raises(ArchiveError, match=r"newer processor \(schema 3, this one knows 1\)"):
        await SqliteReader.open_read_only(path)


async def test_notes_that_cannot_be_written_are_kept(path: Path) -> None:
    archive = await SqliteArchive.open(path, busy_timeout=0.05)
    await archive.append([event_of(answer("r", "a"))])
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    await publish(archive)
    wanted = [RequestKey("ns", "dep", "r")]
    for _ in range(2):
        with pytest.raises(ArchiveError, match="another program holds its lock"):
            await anext(archive.lookup(wanted, ModelRules()))
    foreign.execute("ROLLBACK")
    foreign.close()
    (record,) = await anext(archive.lookup(wanted, ModelRules()))
    assert record.request == wanted[0]
    await archive.close()


async def test_a_damaged_file_is_reported(path: Path) -> None:
    archive = await SqliteArchive.open(path)
    await archive.append([event(n, b"x" * 3000) for n in range(100)])
    await archive.close()
    sound = path.read_bytes()
    page = 4096
    path.write_bytes(sound[: 10 * page] + b"\xff" * 5 * page + sound[15 * page :])
    archive = await SqliteArchive.open(path)
    with pytest.raises(ArchiveError, match="it is damaged: restore a copy"):
        await everything(archive)
    await archive.close()
    path.write_bytes(sound[:page] + b"\xff" * page + sound[2 * page :])
    for _ in range(2):  # the failed attempt releases the lock
        with pytest.raises(ArchiveError, match="it is damaged: restore a copy"):
            await SqliteArchive.open(path)


async def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match=r"file/events can't be opened"):
        await SqliteArchive.open(tmp_path / "file" / "events")
