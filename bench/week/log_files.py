"""The log of a simulated week in files: a folder for each partition, a file for each hour."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import numpy as np

from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.timestamps import MINUTE, SECOND

from ..support.rows import EPOCH, feedback_rows, model_keys, packed_batch, prediction_rows
from .traffic import START, Traffic

#: Rows of a record, about as many as the processor puts in one.
_ROWS = 2000
_HEAD = Struct("<QqI")
#: Records that are handed on at a time.
_AT_ONCE = 500


class Message(NamedTuple):
    """A record of the log; `timestamp` in milliseconds."""

    offset: int
    timestamp: int
    value: bytes


class JournalFiles:
    """A folder with a file for each hour; it is read as `LogReader` reads a partition, up to `end`."""

    def __init__(self, folder: Path, end: int = 1 << 62) -> None:
        self.records = 0
        self._folder = folder
        self._end = end

    def write(self, hour: int, messages: Sequence[Message]) -> None:
        """Write an hour, which may not be empty."""
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
    """The offset of the first record, without reading the others: a long log has many files."""
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


def journal(folder: Path, number: int) -> Path:
    """The folder of a partition of the log."""
    return folder / "journal" / str(number)


def write(traffic: Traffic, folder: Path) -> list[int]:
    """Write the traffic of a partition: for each minute a record or more, and a tick.

    Returns the number of observations of each hour.
    """
    folder.mkdir()
    files, models = JournalFiles(folder), model_keys(traffic.models)
    offset, written = 0, []
    for number, arrivals in enumerate(traffic.arrivals()):
        messages = []
        written.append(len(arrivals))
        made = arrivals["form"] < 0
        before = np.append(0, np.cumsum(made)).tolist()
        rows, said = arrivals[made], arrivals[~made]
        predictions = prediction_rows(
            rows["id"], rows["model"], START + rows["at"], rows["label"]
        )  # fmt: skip
        feedbacks = feedback_rows(
            said["id"], said["model"], START + said["at"], said["label"], said["form"]
        )
        bounds = arrivals["minute"].searchsorted(np.arange(61) + number * 60).tolist()
        for minute, (first, end) in enumerate(pairwise(bounds)):
            timestamp = (START + (number * 60 + minute) * MINUTE + 59 * SECOND) // 1_000_000
            for at in range(first, end, _ROWS):
                to = min(at + _ROWS, end)
                record = packed_batch(
                    models,
                    predictions.part(before[at], before[to]),
                    feedbacks.part(at - before[at], to - before[to]),
                )
                messages.append(Message(offset, timestamp, encode(record)))
                offset += 1
            tick = encode(Heartbeat(SCHEMA_VERSION, EPOCH, offset))
            messages.append(Message(offset, timestamp, tick))
            offset += 1
        files.write(number, messages)
    return written
