"""A partition of the observations in files, one for each hour of log time, read as the log is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

_HEAD = Struct("<QqI")
_AT_ONCE = 500


class Message(NamedTuple):
    """A record: ``timestamp`` in milliseconds, as on the log."""

    offset: int
    timestamp: int
    value: bytes


class JournalFiles:
    """A folder with files by hour; reads as `LogReader` does, up to ``end``."""

    def __init__(self, folder: Path, end: int = 1 << 62) -> None:
        self.records = 0
        self._folder = folder
        self._end = end

    def write(self, hour: int, messages: Sequence[Message]) -> None:
        """Keep an hour, which may not be empty."""
        with (self._folder / f"{hour:06d}").open("wb") as file:
            for offset, timestamp, value in messages:
                file.write(_HEAD.pack(offset, timestamp, len(value)) + value)

    def hour(self, number: int) -> Iterator[Message]:
        """The records of an hour."""
        return _read(self._folder / f"{number:06d}")

    async def bounds(self) -> tuple[int, int]:
        """The first offset, and the one after the last."""
        files = self._files()
        (*_, last) = _read(files[-1])
        return _first(files[0]), min(last.offset + 1, self._end)

    async def read(self, start: int, end: int) -> AsyncIterator[Sequence[Message]]:
        """The records with start <= offset < end, in order, in batches."""
        if start >= end:
            return
        files = self._files()
        firsts = [_first(file) for file in files]
        for file, first, following in zip(files, firsts, [*firsts[1:], 1 << 62], strict=True):
            if following <= start or first >= end:
                continue
            messages = [message for message in _read(file) if start <= message.offset < end]
            for position in range(0, len(messages), _AT_ONCE):
                found = messages[position : position + _AT_ONCE]
                self.records += len(found)
                yield found
                await asyncio.sleep(0)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*"))


def _first(path: Path) -> int:
    """The offset of the first record, without the others: a long log has many files."""
    with path.open("rb") as file:
        offset: int = _HEAD.unpack(file.read(_HEAD.size))[0]
    return offset


def _read(path: Path) -> Iterator[Message]:
    content = path.read_bytes()
    at = 0
    while at < len(content):
        offset, timestamp, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size + size
        yield Message(offset, timestamp, content[at - size : at])
