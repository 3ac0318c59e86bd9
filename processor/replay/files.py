"""Read events files lazily, in blocks of whole lines: plain or compressed, from a path or standard
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

#: The path of standard input.
STDIN = "-"
#: Bytes of lines in a block, so that a block and its events fit in the CPU's cache.
BLOCK = 1 << 19
#: Maximum length of a line; a file with a longer one is not an events file.
MAX_LINE = 1 << 28
_BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Block(NamedTuple):
    """Whole lines of a file, the number of the first one, and how many bytes of the file have been read
    with them; of a compressed file, compressed bytes."""

    lines: bytes
    first: int
    consumed: int


class EventBlock(NamedTuple):
    """Some events in the order of the file, and how many of its bytes have been read with them."""

    events: list[RawEvent]
    consumed: int


class CutOffError(EventsFileError):
    """The file is truncated or damaged; everything before that point was read."""


def file_size(path: str) -> int | None:
    """The size of a file in bytes, for a progress bar; None for standard input, a pipe, or a missing
    file."""
    try:
        return os.stat(path).st_size or None if path != STDIN else None
    except OSError:
        return None


def read_events(path: str, timestamp: int, block: int = BLOCK) -> Iterator[EventBlock]:
    """The events of a file, in blocks of about ``block`` bytes; ``timestamp`` (ns) is the time of events
    that have none.

    `EventsFileError` names the file, the line and the problem. Empty lines are skipped.
    """
    for lines, first, consumed in read_blocks(path, block):
        events: list[RawEvent] = []
        for event in parse_lines(lines, first, timestamp):
            if isinstance(event, BadLine):
                yield EventBlock(events, consumed)  # the lines before the bad one are valid
                raise EventsFileError(f"{path}: {event.letter.detail}")
            events.append(event)
        yield EventBlock(events, consumed)


def read_blocks(path: str, size: int = BLOCK) -> Iterator[Block]:
    """The lines of a file, in blocks of about ``size`` bytes; a block from a pipe holds the lines that
    have arrived. The last line may lack its line feed.

    `EventsFileError` if the file can't be read; `CutOffError`, after all readable blocks, if it is
    truncated or damaged.
    """
    first = 1
    with _open(path) as raw:
        head = _head(raw, path)
        counted = _Counted(head, raw)
        for lines in _whole_lines(_decompressed(counted, head), path, size):
            block = lines.removeprefix(_BOM) if first == 1 else lines
            yield Block(block, first, counted.consumed)
            first += lines.count(b"\n")


class _Counted(io.RawIOBase):
    """A file whose first bytes, ``head``, were read before; counts the bytes that are read."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file
        self.consumed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # On a pipe `read` would wait until the buffer is full.
        found = self._head or self._file.read1(len(buffer))  # type: ignore[attr-defined]
        found, self._head = found[: len(buffer)], found[len(buffer) :]
        buffer[: len(found)] = found
        self.consumed += len(found)
        return len(found)


def _head(file: BinaryIO, path: str) -> bytes:
    """The first bytes of a file, enough to know its compression; a pipe may give them one by one."""
    head = b""
    while len(head) < len(_ZSTD) and (more := _read(file, path, 1 << 16)):
        head += more
    return head


def _decompressed(file: _Counted, head: bytes) -> BinaryIO:
    """The content of a file, decompressed if its head is that of gzip or zstd."""
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=io.BufferedReader(file, 1 << 16), mode="rb"))
    if head.startswith(_ZSTD):
        return cast(BinaryIO, zstd.ZstdFile(io.BufferedReader(file, 1 << 16), mode="rb"))
    return io.BufferedReader(file, BLOCK)


def _whole_lines(file: BinaryIO, path: str, size: int) -> Iterator[bytes]:
    """The content of a file, in blocks of whole lines."""
    parts: list[bytes] = []  # of a line whose end has not been read yet
    length = 0
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
            yield b"".join((*parts, block[:end]))
            parts, length = [], 0
        parts.append(block[end:])
        length += len(block) - end
        if length > MAX_LINE:
            raise EventsFileError(
                f"{path} has a line over {MAX_LINE:,} bytes: it is not an events file"
            )
    if length:
        yield b"".join(parts)
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
        file = open(path, "rb")  # noqa: SIM115  # errors inside the caller's block are not caught
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
