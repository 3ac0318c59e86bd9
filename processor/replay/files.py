"""Events files, read lazily: a chunk of events at a time, from a path or standard input."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from processor.domain.events import RawEvent
from processor.domain.events_file import parse_line
from processor.errors import EventsFileError

STDIN = "-"
#: Bytes of lines in a chunk: small enough for memory and a smooth progress, large enough for speed.
CHUNK = 1 << 20
#: A longer line is no event but another kind of file.
MAX_LINE = 1 << 28
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Chunk(NamedTuple):
    """Some events in the file's order, and the bytes of the file that are read by then."""

    events: list[RawEvent]
    consumed: int


def file_size(path: str) -> int | None:
    """Bytes of the file for a progress bar; None for standard input, a pipe, or no such file."""
    try:
        return os.stat(path).st_size or None if path != STDIN else None
    except OSError:
        return None


def read_events(path: str, timestamp: int, chunk: int = CHUNK) -> Iterator[Chunk]:
    """The events of the file; ``timestamp`` (ns) stands in where one has no time.

    `EventsFileError` names the file, the line and what is wrong. Empty lines are skipped.
    """
    number = consumed = 0
    with _open(path) as file:
        for block in _whole_lines(file, path, chunk):
            if not consumed:
                if block.startswith((_GZIP, _ZSTD)):
                    raise EventsFileError(
                        f"{path} is compressed: unpack it first, as in 'zcat {path} | processor "
                        "replay -'"
                    )
                block = block.removeprefix(_BOM)
            events = []
            for line in block.removesuffix(b"\n").split(b"\n"):
                number += 1
                if not line or line.isspace():
                    continue
                try:
                    events.append(parse_line(line, number, timestamp))
                except EventsFileError as error:
                    yield Chunk(events, consumed)  # what stands before the trouble is sound
                    raise EventsFileError(f"{path}: {error}") from None
            consumed += len(block)
            yield Chunk(events, consumed)


def _whole_lines(file: BinaryIO, path: str, chunk: int) -> Iterator[bytes]:
    """The file in blocks that end with a line; from a pipe each holds what is there by then."""
    pieces: list[bytes] = []
    waiting = 0
    while block := _read(file, path, chunk):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*pieces, block[:end]))
            pieces, waiting = [], 0
        pieces.append(block[end:])
        waiting += len(block) - end
        if waiting > MAX_LINE:
            raise EventsFileError(f"{path} has a line over {MAX_LINE:,} bytes: no events file")
    if waiting:
        yield b"".join(pieces)


def _read(file: BinaryIO, path: str, size: int) -> bytes:
    try:
        # Reads what there is; `read` would wait for the whole size on a pipe.
        return file.read1(size)  # type: ignore[attr-defined, no-any-return]
    except OSError as error:
        raise EventsFileError(f"{path} can't be read: {error.strerror}") from None


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  # the block of the reader is not this error's
    except FileNotFoundError:
        raise EventsFileError(f"there is no events file {path}: check the path") from None
    except IsADirectoryError:
        raise EventsFileError(f"{path} is a folder: name an events file (*.ndjson)") from None
    except (OSError, ValueError) as error:
        raise EventsFileError(f"{path} can't be read: {error}") from None
    with file:
        yield file
