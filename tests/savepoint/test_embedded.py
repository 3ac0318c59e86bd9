"""The embedded mode: its state moves to another archive and to an app with partitions, and back."""

import asyncio
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.raw_event import RawEvent
from processor.domain.timestamps import HOUR, format_time
from processor.errors import ArchiveError, SavepointError
from processor.savepoint.commands import load_savepoint, save_savepoint, show_savepoint
from processor.savepoint.file import SavepointReader
from processor.savepoint.transfer import load
from processor.settings import Settings
from tests.embedded.process import Process, replayed
from tests.savepoint.whole_app import WholeApp
from tests.support.archives.harness import answer, event_of, truth


class Fact(NamedTuple):
    """An event, and the hours that pass before it."""

    hours: int
    request: int
    label: str
    is_response: bool


FACTS = st.lists(
    st.builds(
        Fact,
        # Nothing leaves memory: what has left is in the old archive alone.
        hours=st.sampled_from([0, 0, 1, 6]),
        request=st.integers(0, 4),
        label=st.sampled_from("ab"),
        is_response=st.booleans(),
    ),
    max_size=10,
)


def of(folder: Path) -> Settings:
    return Settings.from_env({"PROCESSOR_DATA": str(folder)})


async def put(process: Process, facts: Sequence[Fact]) -> list[RawEvent]:
    """Let the events come."""
    events = []
    for number, fact in enumerate(facts):
        process.pass_hours(fact.hours)
        make = answer if fact.is_response else truth
        one = make(f"r{fact.request}", fact.label)._replace(time=format_time(process.now + number))
        events.append(event_of(one)._replace(timestamp=process.now))
        await process.put(events[-1])
    return events


async def moves(before: Sequence[Fact], after: Sequence[Fact], saves: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        old, new = (Path(name) / each for each in ("old", "new"))
        path = str(Path(name) / "state.savepoint")
        archive = await SqliteArchive.open(of(old).archive_path)
        process = Process(old, archive)
        # The clock of the command is that of the machine: what comes is from now on.
        process.now = time.time_ns() - 70 * HOUR
        events = await put(process, before)
        if saves:
            await process.saver.finish(process.fold)
        try:
            # The service still has the archive open.
            summary = await save_savepoint(of(old), path)
            assert summary.requests == len(process.fold.join.state.requests)
            await load_savepoint(of(new), path, without_source=False)
            with pytest.raises(SavepointError, match="has a state already"):
                await load_savepoint(of(new), path, without_source=False)
            loaded = await SqliteArchive.open(of(new).archive_path)
            try:
                moved_process = Process(new, loaded)
                moved_process.now = time.time_ns()
                await moved_process.restart(save=False)
                assert moved_process.models == process.models == replayed(events)
                events += await put(moved_process, after)
                assert moved_process.models == replayed(events)
            finally:
                await loaded.close()
        finally:
            await archive.close()
        app = WholeApp(3, 7 * 24 * HOUR)
        app.now = process.now
        await load(SavepointReader(io.BytesIO(Path(path).read_bytes()), path), app, lambda _: None)
        assert sum(len(fold.state.requests) for fold in app.folds) == summary.requests


@settings(max_examples=settings().max_examples // 4)
@given(FACTS, FACTS, st.booleans())
def test_moved_is_never_moved(before: list[Fact], after: list[Fact], saves: bool) -> None:
    """With a state in the data folder or without one, and while the service runs."""
    asyncio.run(moves(before, after, saves))


async def test_without_an_archive_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no archive"):
        await save_savepoint(of(tmp_path), str(tmp_path / "state.savepoint"))
    assert not list(tmp_path.glob("*.savepoint*"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SavepointError, match="can't be read: No such file"):
        show_savepoint(str(tmp_path / "none"))
