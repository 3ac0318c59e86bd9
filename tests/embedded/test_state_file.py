"""The files of the embedded mode's state: a damaged one is noticed, and the one before is used."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.model_rules import ModelRules, Rule
from processor.embedded.event_fold import EventFold
from processor.embedded.state_file import read_state
from processor.errors import ArchiveError
from processor.settings import Settings
from tests.embedded.process import Process, replayed
from tests.support.archives.harness import answer, event_of, truth


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    archive = await SqliteArchive.open(tmp_path / "events.sqlite")
    yield Process(tmp_path / "data", archive)
    await archive.close()


async def _save_three(process: Process) -> None:
    for number in range(3):
        await process.put(event_of(answer(f"r{number}", "a")), event_of(truth(f"r{number}", "a")))
        await process.saver.finish(process.fold)


async def test_the_newest_two_are_kept(process: Process) -> None:
    await _save_three(process)
    assert [read_state(path).head.position for path in process.folder.paths()] == [6, 4]
    assert process.folder.covered == 4
    before = process.models
    await process.restart()
    assert process.models == before
    assert process.fold.position == 6


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "empty", "not a state", "version"])
async def test_a_damaged_one_falls_back(
    process: Process, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """To the one before, then to the whole archive; the counts are the same."""
    await _save_three(process)
    events = [event for _, event in await process.archive.events(0, 1 << 20)]
    for left, path in zip((1, 0), process.folder.paths(), strict=True):
        content = path.read_bytes()
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(
            {
                "cut": content[:middle],
                "flipped": content[:middle] + flipped + content[middle + 1 :],
                "longer": content + b"x",
                "empty": b"",
                "not a state": b"x" * len(content),
                "version": content.replace(content[18:22], b"\x94\x01\x02\x03", 1),
            }[damage]
        )
        caplog.clear()
        await process.restart(save=False)
        assert "falling back to the one before" in caplog.text
        assert len(process.folder.paths()) == left
        assert process.models == replayed(events)


async def test_one_that_is_ahead_of_the_archive_is_not_used(
    process: Process, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An older copy of the archive was put in its place."""
    await _save_three(process)
    assert process.folder.load(5) is not None
    assert "is of event 6, and the archive ends at 5" in caplog.text
    assert [read_state(path).head.position for path in process.folder.paths()] == [4]
    assert process.folder.load(3) is None


async def test_the_state_of_another_archive_is_not_seen(process: Process, tmp_path: Path) -> None:
    await _save_three(process)
    other = await SqliteArchive.open(tmp_path / "other.sqlite")
    stranger = Process(tmp_path / "data", other)
    assert stranger.folder.load(100) is None
    assert len(process.folder.paths()) == 2
    await other.close()


async def test_a_state_that_cannot_be_written_is_reported(
    process: Process, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    await process.put(event_of(answer("r", "a")))
    for _ in range(2):
        await process.saver.finish(process.fold)
    assert process.telemetry.snapshot_failures == 2
    assert caplog.text.count("the state can't be saved") == 1
    (tmp_path / "data").unlink()
    await process.saver.finish(process.fold)
    assert (process.saver.last_error, process.saver.saved_position) == ("", 1)


async def test_unfinished_files_of_a_killed_process_are_removed(process: Process) -> None:
    await _save_three(process)
    writer = process.folder.new(99)
    writer.append([b"x"])
    process.folder.remove_unfinished()
    assert len(list((process.folder.paths()[0]).parent.iterdir())) == 2
    writer.drop()


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"missing\.state can't be used"):
        read_state(tmp_path / "missing.state")


async def test_dead_letters_and_outcomes_survive(process: Process) -> None:
    process.fold.join.judged = {}
    broken = event_of(answer("r", "a"))._replace(value=b"{")
    await process.put(broken, event_of(answer("s", "a")), event_of(truth("s", "a")))
    await process.restart()
    (letter,) = process.telemetry.recent_dead_letters
    assert (letter.reason, letter.offset) == ("bad_json", 1)
    assert len(read_state(process.folder.paths()[0]).join.judged) == 1
    # What an earlier process has counted in its telemetry is not counted again.
    assert process.telemetry.dead_letters.total() == process.telemetry.events.total() == 0


async def test_events_of_other_rules_are_never_taken_back(process: Process) -> None:
    """A request that was judged by an earlier models file, and has left memory, stays as it counted."""
    await process.put(
        event_of(answer("judged", "a")),
        event_of(truth("judged", "a")),
        event_of(answer("open", "a")),
    )
    process.pass_hours(24 * 8)
    process.rules.replace((Rule("*", labels={"a": "z"}),))
    await process.put(event_of(truth("judged", "b")), event_of(truth("open", "a")))
    (request, *_), _ = process.models
    assert (request.predictions, request.judged, request.correct) == (2, 2, 2)
    assert all(cell.count > 0 for cell in request.confusion)


async def test_rules_that_are_read_again_unchanged_change_nothing(process: Process) -> None:
    rules = ModelRules((Rule("*", threshold=0.7),))
    fold = EventFold(process.archive, rules, Settings(), process.telemetry)
    fold.position = 5
    rules.replace((Rule("*", threshold=0.7),))
    assert fold._rules_since == 0
    rules.replace((Rule("*", threshold=0.6),))
    assert fold._rules_since == 6
