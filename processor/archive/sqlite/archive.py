"""The archive of the embedded mode: one SQLite file with every accepted raw event, an index of the
events by request, and the outcomes of requests."""

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

from processor.archive.base import ArchivedRecord, RequestKey, StoreResult
from processor.archive.sqlite.file import (
    StoredEvent,
    connect_to_read,
    connect_to_write,
    explain,
    lock_file,
    query_number,
    raw_event,
    select,
    select_some,
)
from processor.archive.sqlite.notes import new_notes
from processor.archive.sqlite.requests import (
    Note,
    events_of,
    everywhere,
    note,
    predictions_with_outcome,
    segments_of,
    write_outcomes,
)
from processor.archive.sqlite.retention import Deleted, delete_old
from processor.archive.sqlite.writer import SqliteWriter
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.id_set import request_digest
from processor.domain.join.outcomes import RequestOutcome
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

T = TypeVar("T")

#: Requests per query of a lookup, and events per batch of its results.
_LOOKUP_REQUESTS, _LOOKUP_EVENTS = 500, 500
#: Bytes of events per batch of a scan.
_SCAN_BYTES = 8 << 20
#: Notes that are written together: in a large index each note is on a page of its own, so that few notes
#: cost nearly as much as many. New events wait for the end of a step.
_NOTES, _NOTES_STEP = 150_000, 20_000
#: Above every sequence number.
_NO_LIMIT = (1 << 63) - 1


class SqliteReader:
    """Reads an archive, also while a service writes it. Created by `open_read_only`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._reader = connection
        # One thread, since a connection runs one query at a time; the event loop is never blocked.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive-reader")
        self._closed = False
        #: Says where the index may have notes of requests.
        self._places = everywhere

    @staticmethod
    async def open_read_only(path: Path) -> "SqliteReader":
        """Open an archive that exists. `ArchiveError` if the file is missing, is not an archive, or
        was written by a newer processor."""
        return SqliteReader(path, await asyncio.to_thread(connect_to_read, path))

    async def events(self, after: int, limit_bytes: int) -> list[tuple[int, RawEvent]]:
        """The events after sequence number ``after``, in order, with their numbers: at most 10,000
        and about ``limit_bytes`` of them, but at least one; empty at the end of the archive."""
        return await self._read(
            lambda reader: [
                (event[0], raw_event(event)) for event in select(reader, after, limit_bytes)
            ]
        )

    async def stored_events(self, after: int, limit_bytes: int) -> list[StoredEvent]:
        """The same events as `events`, as they are stored."""
        return await self._read(lambda reader: select(reader, after, limit_bytes))

    async def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """The observations in all events, in batches."""
        decoder, last = Decoder(rules, Telemetry()), 0
        while rows := await self.events(last, _SCAN_BYTES):
            yield _decode(decoder, [event for _, event in rows])
            last = rows[-1][0]

    async def count(self) -> int:
        """The number of events in the archive."""
        # Sequence numbers have no gaps, and COUNT(*) would read the whole file.
        return await self._number(
            "SELECT COALESCE((SELECT MAX(seq) FROM events) - (SELECT MIN(seq) FROM events) + 1, 0)"
        )

    async def last(self) -> int:
        """The sequence number of the newest event, 0 if there is none."""
        return await self._number("SELECT COALESCE(MAX(seq), 0) FROM events")

    async def first(self) -> int:
        """The sequence number of the oldest event that was not deleted, 0 if there is none."""
        return await self._number("SELECT COALESCE(MIN(seq), 0) FROM events")

    async def identity(self) -> str:
        """The random text that tells this archive from any other."""
        return await self._read(
            lambda reader: str(reader.execute("SELECT id FROM archive").fetchone()[0])
        )

    async def earlier_events(
        self, requests: Sequence[int], before: int, since: int = 0, noted: Sequence[int] = ()
    ) -> list[tuple[int, RawEvent]]:
        """The noted events of some requests (`request_digest`) with sequence numbers below ``before``,
        in order, from the index segment of the event ``since`` on. Notes in memory are not read, except
        for the sequence numbers ``noted``."""
        numbers = await self._read(
            partial(events_of, requests=requests, before=before, since=since, places=self._places)
        )
        numbers = sorted({*numbers, *noted}) if noted else numbers
        return await self._read(partial(select_some, numbers=numbers)) if numbers else []

    async def close(self) -> None:
        """Close the file; may be called again."""
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
    """The only writer of an archive, and a reader of it. Created by `open`.

    SQLite's WAL mode with synchronous=FULL makes events durable: a commit ends after its fsync.
    """

    def __init__(
        self, path: Path, reader: sqlite3.Connection, writer: SqliteWriter, lock: int, id_: str
    ) -> None:
        super().__init__(path, reader)
        self._writer = writer
        self._lock = lock
        self.id = id_
        """A random text that tells this archive from any other."""
        self._notes = new_notes(segments_of(reader).stop - 1)
        self._places = self._notes.places
        self._noting = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, busy_timeout: float = 5.0) -> Self:
        """Open or create the file; `ArchiveError` if another process has it open for writing.

        ``busy_timeout`` is how many seconds a commit waits for another program's lock.
        """
        return await asyncio.to_thread(cls._open, path, busy_timeout)

    @classmethod
    def _open(cls, path: Path, busy_timeout: float) -> Self:
        path = path.resolve()  # all links to a file must share one lock
        with ExitStack() as undo:
            lock = lock_file(path)
            undo.callback(os.close, lock)
            connection = connect_to_write(path, busy_timeout)
            undo.callback(connection.close)
            reader = connect_to_read(path)
            undo.callback(reader.close)
            try:
                (found,) = reader.execute("SELECT id FROM archive").fetchone()
                writer = SqliteWriter(path, connection)
            except (sqlite3.Error, OSError) as error:
                raise explain(error, path, "opened") from None
            undo.pop_all()
            return cls(path, reader, writer, lock, str(found))

    async def append(self, events: Sequence[RawEvent]) -> int:
        """Append events; returns the last one's sequence number once all are durable.

        Concurrent calls share a commit; if it fails, these calls and no others raise `ArchiveError`.
        """
        return await self._writer.put(events)

    async def note(self, notes: Sequence[Note]) -> None:
        """Note which events belong to which requests, so that `lookup` finds them. Notes stay in
        memory until there are many: after a crash the caller has to note all events again."""
        self._notes.add(notes)
        if len(self._notes) >= _NOTES:
            await self._write_notes()

    async def flush_notes(self) -> None:
        """Write the notes that are still in memory."""
        await self._write_notes()

    async def earlier_events(
        self, requests: Sequence[int], before: int, since: int = 0, noted: Sequence[int] = ()
    ) -> list[tuple[int, RawEvent]]:
        """See `SqliteReader`; notes in memory are read too."""
        waiting = [number for number in self._notes.find(requests) if number < before]
        return await super().earlier_events(requests, before, since, [*waiting, *noted])

    async def delete_old(self, accepted_before: int, seq_before: int, now: int) -> Deleted:
        """Delete some of the oldest events that were accepted before a time (ns) and have a sequence
        number below ``seq_before``, never the newest one, and what belongs to them. To be called again
        until there is nothing to delete; ``now`` is the clock's time (ns)."""
        return await self._run(
            partial(delete_old, accepted_before=accepted_before, seq_before=seq_before, now=now)
        )

    async def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[ArchivedRecord]]:
        """The records of some requests, from the noted events, in batches."""
        await self._write_notes()
        decoder = Decoder(rules, Telemetry())
        for start in range(0, len(requests), _LOOKUP_REQUESTS):
            keys = requests[start : start + _LOOKUP_REQUESTS]
            digests = [request_digest(*key) for key in keys]
            numbers = await self._read(partial(events_of, requests=digests, before=_NO_LIMIT))
            judged = await self._read(partial(predictions_with_outcome, keys=keys))
            wanted = set(keys)
            for first in range(0, len(numbers), _LOOKUP_EVENTS):
                some = numbers[first : first + _LOOKUP_EVENTS]
                events = await self._read(partial(select_some, numbers=some))
                records = []
                for one in _decode(decoder, [event for _, event in events]):
                    is_prediction = isinstance(one, Prediction)
                    model = one.model if isinstance(one, Prediction) else one.scope
                    key = RequestKey(model.namespace, model.deployment, one.request_id)
                    if key in wanted:
                        has_outcome = (*key, model.predictor, model.model) in judged
                        records.append(ArchivedRecord(key, [one], is_prediction and has_outcome))
                if records:
                    yield records

    async def store(self, outcomes: Sequence[RequestOutcome]) -> StoreResult:
        """Store the outcomes of requests that were noted, in place of their earlier ones."""
        await self._write_notes()
        return await self._run(partial(write_outcomes, outcomes=outcomes))

    async def _write_notes(self) -> None:
        async with self._noting:
            count = self._notes.begin_write()
            for start in range(0, count, _NOTES_STEP):
                rows = self._notes.rows(start, _NOTES_STEP)
                await self._run(partial(note, rows=rows))
            self._notes.end_write()

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.run(job))

    def _close(self) -> None:
        try:
            # The writer closes last: only it can merge the write-ahead log into the file.
            super()._close()
            self._writer.close()
        finally:
            os.close(self._lock)


def _decode(decoder: Decoder, events: Sequence[RawEvent]) -> list[Prediction | Feedback]:
    """The observations in some events, those of batched events too; dead letters are left out."""
    return [one for event in events for one in decoder.decode(*event).observations]
