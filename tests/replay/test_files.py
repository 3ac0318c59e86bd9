"""Reading events files in chunks, and what is shown meanwhile."""

import gzip
import io
import json
from pathlib import Path

import pytest

from processor.domain.events import RawEvent
from processor.domain.events_file import parse_line
from processor.errors import EventsFileError
from processor.replay.files import Chunk, read_events
from processor.replay.progress import Progress

EVENTS = Path(__file__).parents[1] / "data" / "seed-experiment" / "events.ndjson"


def parsed() -> list[RawEvent]:
    return [parse_line(line, 1, 0) for line in EVENTS.read_bytes().splitlines()]


def test_files_are_read_in_chunks_with_what_is_consumed(tmp_path: Path) -> None:
    size = EVENTS.stat().st_size
    chunks = list(read_events(str(EVENTS), 5, chunk=10_000))
    assert len(chunks) > 10
    assert [chunk.consumed for chunk in chunks] == sorted(chunk.consumed for chunk in chunks)
    assert chunks[-1].consumed == size
    events = [event for chunk in chunks for event in chunk.events]
    assert events == [event._replace(timestamp=5) for event in parsed()]
    # A line longer than a chunk is one all the same.
    long = tmp_path / "long.ndjson"
    line = json.dumps({"headers": {}, "data": "x" * 1000}).encode()
    long.write_bytes(line + b"\n" + line)
    assert [len(chunk.events) for chunk in read_events(str(long), 0, chunk=64)] == [1, 1]
    empty = tmp_path / "empty.ndjson"
    empty.touch()
    assert list(read_events(str(empty), 0)) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    def read(path: Path) -> list[Chunk]:
        return list(read_events(str(path), 0))

    with pytest.raises(EventsFileError, match=r"there is no events file .*/none"):
        read(tmp_path / "none")
    with pytest.raises(EventsFileError, match="is a folder"):
        read(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"{}\xff\xfe\n")
    with pytest.raises(EventsFileError, match=r"/binary: line 1 is not UTF-8"):
        read(binary)


def test_progress_is_plain_off_a_terminal_and_a_bar_on_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = io.StringIO()
    with Progress("sending", 1000, plain) as progress:
        progress.update(500, 10)
        progress.say("wait")
    assert plain.getvalue().splitlines()[0] == "sending: wait"
    assert "sending: 10 events, 50 %" in plain.getvalue()
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with Progress("sending", 1000, terminal) as progress:
        for step in range(1, 11):
            progress.update(step * 100, step)
    assert "100%" in terminal.getvalue()
    assert "10 events" in terminal.getvalue()


def test_a_compressed_file_says_how_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(EventsFileError, match="zcat"):
        list(read_events(str(path), -1))
