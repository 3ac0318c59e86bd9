"""Events files, read lazily: some whole lines at a time, plain or compressed, from a path or standard
input."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from processor.domain.events.events_file import BadLine, parse_lines
from processor.domain.events.raw_event import RawEvent
from processor.errors import EventsFileError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

STDIN = "-"
#: Bytes of lines in a block: what is made of them stays in the processor's cache.
BLOCK = 1 << 19
#: A longer line is no event but another kind of file.
MAX_LINE = 1 << 28
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Block(NamedTuple):
    """Whole lines as they stand, the ``first``-th of the file on, and how many bytes of the file are
    read by then (of a compressed one: of the file itself)."""

    lines: bytes
    first: int
    consumed: int


class Chunk(NamedTuple):
    """Some events in the file's order, and the bytes of the file that are read by then."""

    events: list[RawEvent]
    consumed: int


class CutOffError(EventsFileError):
    """The file ends before its end, or is damaged: what stands before that was read."""


def file_size(path: str) -> int | None:
    """Bytes of the file for a progress bar; None for standard input, a pipe, or no such file."""
    try:
        return os.stat(path).st_size or None if path != STDIN else None
    except OSError:
        return None


def read_events(path: str, timestamp: int, block: int = BLOCK) -> Iterator[Chunk]:
    """The events of the file; ``timestamp`` (ns) stands in where one has no time.

    `EventsFileError` names the file, the line and what is wrong. Empty lines are skipped.
    """
    for lines, first, consumed in read_blocks(path, block):
        events: list[RawEvent] = []
        for event in parse_lines(lines, first, timestamp):
            if isinstance(event, BadLine):
                yield Chunk(events, consumed)  # what stands before the trouble is sound
                raise EventsFileError(f"{path}: {event.letter.detail}")
            events.append(event)
        yield Chunk(events, consumed)


def read_blocks(path: str, size: int = BLOCK) -> Iterator[Block]:
    """The lines of the file, in blocks of about ``size`` bytes; from a pipe each holds what is there
    by then. A last line without its end is one too.

    `EventsFileError` for a file that can't be read, `CutOffError` for one that is cut off or damaged,
    after all that could be read.
    """
    first = 1
    with _open(path) as raw:
        head = _head(raw, path)
        counted = _Counted(head, raw)
        for lines in _whole_lines(_plain(counted, head), path, size):
            block = lines.removeprefix(_BOM) if first == 1 else lines
            yield Block(block, first, counted.consumed)
            first += lines.count(b"\n")


class _Counted(io.RawIOBase):
    """The file with its head put back, and how much of it was read."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file
        self.consumed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # Reads what there is; `read` would wait for the whole size on a pipe.
        found = self._head or self._file.read1(len(buffer))  # type: ignore[attr-defined]
        found, self._head = found[: len(buffer)], found[len(buffer) :]
        buffer[: len(found)] = found
        self.consumed += len(found)
        return len(found)


def _head(file: BinaryIO, path: str) -> bytes:
    """The first bytes, by which a compressed file is known; a pipe can give them one by one."""
    head = b""
    while len(head) < len(_ZSTD) and (more := _read(file, path, 1 << 16)):
        head += more
    return head


def _plain(file: _Counted, head: bytes) -> BinaryIO:
    """What the file holds, decompressed."""
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=io.BufferedReader(file, 1 << 16), mode="rb"))
    if head.startswith(_ZSTD):
        return cast(BinaryIO, zstd.ZstdFile(io.BufferedReader(file, 1 << 16), mode="rb"))
    return io.BufferedReader(file, BLOCK)


def _whole_lines(file: BinaryIO, path: str, size: int) -> Iterator[bytes]:
    """The file in blocks that end with a line."""
    pieces: list[bytes] = []
    waiting = 0
    damage = None
    while True:
        try:
            block = _read(file, path, size)
        except CutOffError as error:
            block, damage = b"", error
        if not block:
            break
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
    if damage:
        raise damage


def _read(file: BinaryIO, path: str, size: int) -> bytes:
    try:
        return file.read1(size)  # type: ignore[attr-defined, no-any-return]
    except EOFError:
        raise CutOffError(f"{path} is cut off: the compressed data has no end") from None
    except (zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise CutOffError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise EventsFileError(f"{path} can't be read: {error.strerror or error}") from None


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        if sys.stdin is None:
            raise EventsFileError(
                "standard input is closed: name an events file, or pipe one into the command"
            )
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  # the block of the reader is not this error's
    except FileNotFoundError:
        raise EventsFileError(f"there is no file {path}: check the path") from None
    except IsADirectoryError:
        raise EventsFileError(
            f"{path} is a folder: name an events file (*.ndjson), or kserve:{path} for the files of "
            "KServe's logger"
        ) from None
    except (OSError, ValueError) as error:
        raise EventsFileError(f"{path} can't be read: {error}") from None
    with file:
        yield file
