"""Reading events files in chunks, and what is shown meanwhile."""

import gzip
import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from backports import zstd

from processor.domain.events.events_file import parse_line
from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError
from processor.replay.files import Chunk, CutOffError, read_blocks, read_events
from processor.replay.progress import CommandProgress

EVENTS = Path(__file__).parents[1] / "data" / "seed-experiment" / "events.ndjson"


def parsed() -> list[RawEvent]:
    return [parse_line(line, 1, 0) for line in EVENTS.read_bytes().splitlines()]


def test_files_are_read_in_chunks_with_what_is_consumed(tmp_path: Path) -> None:
    size = EVENTS.stat().st_size
    chunks = list(read_events(str(EVENTS), 5, block=10_000))
    assert len(chunks) > 10
    assert [chunk.consumed for chunk in chunks] == sorted(chunk.consumed for chunk in chunks)
    assert chunks[-1].consumed == size
    events = [event for chunk in chunks for event in chunk.events]
    assert events == [event._replace(timestamp=5) for event in parsed()]
    # A line longer than a chunk is one all the same.
    long = tmp_path / "long.ndjson"
    line = json.dumps({"headers": {}, "data": "x" * 1000}).encode()
    long.write_bytes(line + b"\n" + line)
    assert [len(chunk.events) for chunk in read_events(str(long), 0, block=64)] == [1, 1]
    empty = tmp_path / "empty.ndjson"
    empty.touch()
    assert list(read_events(str(empty), 0)) == []


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    def read(path: Path) -> list[Chunk]:
        return list(read_events(str(path), 0))

    with pytest.raises(EventsFileError, match=r"there is no file .*/none"):
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
    with CommandProgress("sending", 1000, plain) as progress:
        progress.update(500, 10)
        progress.report("wait")
    assert plain.getvalue().splitlines()[0] == "sending: wait"
    assert "sending: 10 events, 50 %" in plain.getvalue()
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with CommandProgress("sending", 1000, terminal) as progress:
        for step in range(1, 11):
            progress.update(step * 100, step)
    assert "100%" in terminal.getvalue()
    assert "10 events, " in terminal.getvalue()
    assert "/s" in terminal.getvalue()


def compressed(kind: str, content: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(content)
    # As the zstd command does it.
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_files_are_known_by_their_first_bytes(kind: str, tmp_path: Path) -> None:
    content = EVENTS.read_bytes()
    path = tmp_path / "no-matter-what-its-name-is"
    # Several files compressed one by one and put together are one.
    path.write_bytes(compressed(kind, content[:5000]) + compressed(kind, content[5000:]))
    blocks = list(read_blocks(str(path), 10_000))
    assert b"".join(block.lines for block in blocks) == content
    assert blocks[-1].consumed == path.stat().st_size
    assert [block.first for block in blocks] == sorted(block.first for block in blocks)
    events = [event for chunk in read_events(str(path), 0) for event in chunk.events]
    assert events == parsed()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("kept", [5, 20, -100, -1])
def test_what_stands_before_a_cut_is_read(kind: str, kept: int, tmp_path: Path) -> None:
    content = EVENTS.read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(compressed(kind, content)[:kept])
    blocks = read_blocks(str(path), 10_000)
    found = b""
    with pytest.raises(CutOffError, match=r"/cut is cut off"):  # noqa: PT012  # what came before counts
        while True:
            found += next(blocks).lines
    assert content.startswith(found)
    assert kept > 0 or found


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damage_is_told(kind: str, tmp_path: Path) -> None:
    content = compressed(kind, EVENTS.read_bytes())
    path = tmp_path / "damaged"
    path.write_bytes(content[:3000] + b"damage" * 5 + content[3030:])
    with pytest.raises(CutOffError, match=r"/damaged is damaged: "):
        list(read_blocks(str(path)))


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_standard_input_is_known_by_its_first_bytes_too(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = EVENTS.read_bytes()
    written = content if kind == "plain" else compressed(kind, content)
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb", buffering=0) as pipe:
            for at in range(6):  # a pipe can give the first bytes one by one
                pipe.write(written[at : at + 1])
            pipe.write(written[6:])

    writer = threading.Thread(target=write)
    writer.start()
    with open(read_end, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        assert b"".join(block.lines for block in read_blocks("-")) == content
    writer.join()
