"""The archive of the embedded mode: every accepted raw event in one SQLite file, and by request what
speaks of it and what became of it."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from processor.archive.base import Held, RequestKey, Stored
from processor.archive.sqlite.file import (
    connect_to_read,
    connect_to_write,
    explain,
    lock_file,
    query_number,
    select,
    select_some,
)
from processor.archive.sqlite.requests import (
    Note,
    events_about,
    judged_of,
    note,
    write_outcomes,
)
from processor.archive.sqlite.writer import SqliteWriter
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.outcomes import RequestOutcome
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

T = TypeVar("T")

#: Requests of one query, events of one answer, bytes of a scan's batch.
_LOOKUP, _ANSWER, _SCAN_BYTES = 500, 500, 8 << 20
#: Notes that are written together: each write of few costs as much as one of many.
_NOTES = 20_000


class SqliteReader:
    """Reads an archive, also while a service writes it. Made by `open_read_only`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._reader = connection
        # One thread, since a connection serves one at a time; the event loop is never blocked.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive-reader")
        self._closed = False

    @staticmethod
    async def open_read_only(path: Path) -> "SqliteReader":
        """`ArchiveError` if there is no file, or it is no archive, or a newer processor's."""
        return SqliteReader(path, await asyncio.to_thread(connect_to_read, path))

    async def events(self, after: int, limit_bytes: int) -> list[tuple[int, RawEvent]]:
        """The events behind sequence number ``after``, in order, with their numbers: 10,000 at
        most and about ``limit_bytes`` of them, but one at least; empty at the end."""
        return await self._read(lambda reader: select(reader, after, limit_bytes))

    async def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """What all events say, in batches."""
        decoder, last = Decoder(rules, Telemetry()), 0
        while rows := await self.events(last, _SCAN_BYTES):
            yield _observations(decoder, [event for _, event in rows])
            last = rows[-1][0]

    async def count(self) -> int:
        """The number of events held."""
        # The numbers have no holes; COUNT(*) would read the whole file.
        return await self._number(
            "SELECT COALESCE((SELECT MAX(seq) FROM events) - (SELECT MIN(seq) FROM events) + 1, 0)"
        )

    async def last(self) -> int:
        """The sequence number of the newest event, 0 if there is none."""
        return await self._number("SELECT COALESCE(MAX(seq), 0) FROM events")

    async def close(self) -> None:
        """Let go of the file; to be called again does no harm."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._thread.shutdown()
        self._reader.close()

    async def _number(self, query: str) -> int:
        return await self._read(lambda reader: query_number(reader, query))

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise ArchiveError(f"the archive {self.path} is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, query, self._reader)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise explain(error, self.path, "read") from None


class SqliteArchive(SqliteReader):
    """The one writer of an archive. Made by `open`.

    Durable is what SQLite's WAL mode with synchronous=FULL gives: a commit ends after its fsync.
    """

    def __init__(
        self, path: Path, reader: sqlite3.Connection, writer: SqliteWriter, lock: int
    ) -> None:
        super().__init__(path, reader)
        self._writer = writer
        self._lock = lock
        self._notes: list[Note] = []
        self._noting = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, busy_timeout: float = 5.0) -> Self:
        """Open or make the file; `ArchiveError` if another process writes it already.

        ``busy_timeout`` in seconds is how long a commit waits for a foreign program's lock.
        """
        return await asyncio.to_thread(cls._open, path, busy_timeout)

    @classmethod
    def _open(cls, path: Path, busy_timeout: float) -> Self:
        path = path.resolve()  # the lock must be one, by whatever link the file is named
        with ExitStack() as undo:
            lock = lock_file(path)
            undo.callback(os.close, lock)
            connection = connect_to_write(path, busy_timeout)
            undo.callback(connection.close)
            reader = connect_to_read(path)
            undo.callback(reader.close)
            try:
                writer = SqliteWriter(path, connection)
            except (sqlite3.Error, OSError) as error:
                raise explain(error, path, "opened") from None
            undo.pop_all()
            return cls(path, reader, writer, lock)

    async def append(self, events: Sequence[RawEvent]) -> int:
        """Return when all are durable, with the last one's sequence number.

        Callers at the same time share a commit; if it fails, exactly they get `ArchiveError`.
        """
        return await self._writer.put(events)

    async def note(self, notes: Sequence[Note]) -> None:
        """Which events speak of which requests: from then on `lookup` finds them. Kept in memory until
        there are many, so whoever reads all events at each start notes them again."""
        self._notes += notes
        if len(self._notes) >= _NOTES:
            await self._write_notes()

    async def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[Held]]:
        """What the noted events say of the requests, in batches."""
        await self._write_notes()
        decoder = Decoder(rules, Telemetry())
        for start in range(0, len(requests), _LOOKUP):
            keys = requests[start : start + _LOOKUP]
            numbers = await self._read(partial(events_about, keys=keys))
            judged = await self._read(partial(judged_of, keys=keys))
            wanted = set(keys)
            for first in range(0, len(numbers), _ANSWER):
                some = numbers[first : first + _ANSWER]
                events = await self._read(partial(select_some, numbers=some))
                held = []
                for one in _observations(decoder, events):
                    model = one.model if isinstance(one, Prediction) else one.scope
                    key = RequestKey(model.namespace, model.deployment, one.request_id)
                    if key in wanted:
                        of = (*key, model.predictor, model.model)
                        held.append(Held(key, [one], isinstance(one, Prediction) and of in judged))
                if held:
                    yield held

    async def store(self, outcomes: Sequence[RequestOutcome]) -> Stored:
        """Keep the outcomes of requests that were noted."""
        await self._write_notes()
        return await self._run(partial(write_outcomes, outcomes=outcomes))

    async def _write_notes(self) -> None:
        async with self._noting:
            notes, self._notes = self._notes, []
            if not notes:
                return
            try:
                await self._run(partial(note, notes=notes))
            except BaseException:
                self._notes += notes
                raise

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.run(job))

    def _close(self) -> None:
        try:
            # The writer last: only it can fold the write-ahead log into the file.
            super()._close()
            self._writer.close()
        finally:
            os.close(self._lock)


def _observations(decoder: Decoder, events: Sequence[RawEvent]) -> list[Prediction | Feedback]:
    return [one for event in events for one in decoder.decode(*event).observations]
