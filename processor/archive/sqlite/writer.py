"""Group commit: one thread writes, and each commit contains all events that wait at its start."""

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from processor.archive.sqlite.file import Row, explain, insert, query_number, to_row, transaction
from processor.domain.events.raw_event import RawEvent
from processor.errors import ArchiveError

#: Events per commit, so that a burst does not delay the callers after it for long.
_COMMIT_EVENTS = 20_000


class _Waiting(NamedTuple):
    events: Sequence[RawEvent]
    result: "asyncio.Future[int]"


_Outcome = tuple[_Waiting, int | ArchiveError]
T = TypeVar("T")


class SqliteWriter:
    """Writes to an archive in its own thread. `put` may be called from any event loop."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._inode = path.stat().st_ino
        self._last = query_number(connection, "SELECT COALESCE(MAX(seq), 0) FROM events")
        self._queue: deque[_Waiting] = deque()
        self._jobs: deque[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    def put(self, events: Sequence[RawEvent]) -> "asyncio.Future[int]":
        """Append events. The future's result is the last one's sequence number, set once all are
        durable; `ArchiveError` if the archive is closed."""
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._closing:
                raise ArchiveError(f"the archive {self._path} is closed")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.result

    def run(self, job: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Run a job in its own transaction. The future's result is that of the job, set once the
        transaction is durable; `ArchiveError` if the archive is closed."""
        result: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise ArchiveError(f"the archive {self._path} is closed")
            self._jobs.append((job, result))
            self._changed.notify()
        return result

    def close(self) -> None:
        """Commit all waiting events and jobs, end the thread and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while self._has_work():
            # Events and jobs take turns, so that neither delays the other for long.
            if group := self._next_group():
                _resolve(self._write(group))
            if self._jobs:
                self._run_job(*self._jobs.popleft())

    def _has_work(self) -> bool:
        """Wait for work; False if the writer is closing and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._jobs or self._closing)
            return bool(self._queue or self._jobs)

    def _run_job(self, job: Callable[[sqlite3.Connection], Any], result: "Future[Any]") -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            self._check_file()
            with transaction(self._connection):
                value = job(self._connection)
        except Exception as error:
            result.set_exception(explain(error, self._path, "written"))
        else:
            result.set_result(value)

    def _check_file(self) -> None:
        """`ArchiveError` if the file was replaced. A moved or removed file still accepts commits, but
        they are lost."""
        if self._path.stat().st_ino != self._inode:
            raise ArchiveError(f"the archive {self._path} was replaced: start again")

    def _next_group(self) -> list[_Waiting]:
        with self._changed:
            group: list[_Waiting] = []
            size = 0
            while self._queue and size < _COMMIT_EVENTS:
                group.append(self._queue.popleft())
                size += len(group[-1].events)
            return group

    def _write(self, group: list[_Waiting]) -> list[_Outcome]:
        rows: list[Row] = []
        outcomes: list[_Outcome] = []
        for waiting in group:
            # An event that can't be stored fails its own caller only.
            try:
                rows += [to_row(event) for event in waiting.events]
                outcomes.append((waiting, self._last + len(rows)))
            except (ValueError, TypeError) as error:
                refusal = ArchiveError(f"an event can't be archived: {error}")
                outcomes.append((waiting, refusal))
        if not rows:
            return outcomes
        try:
            self._check_file()
            with transaction(self._connection):
                insert(self._connection, self._last + 1, rows)
        except Exception as error:  # the thread must go on, and every caller gets the error
            failure = explain(error, self._path, "written")
            return [(w, o if isinstance(o, ArchiveError) else failure) for w, o in outcomes]
        self._last += len(rows)
        return outcomes


def _resolve(outcomes: list[_Outcome]) -> None:
    """Set the callers' futures, in their own event loops."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].result.get_loop(), []).append(outcome)
    for loop, of_loop in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_set_results, of_loop)


def _set_results(outcomes: list[_Outcome]) -> None:
    for waiting, outcome in outcomes:
        if waiting.result.done():  # the caller was cancelled
            continue
        if isinstance(outcome, int):
            waiting.result.set_result(outcome)
        else:
            waiting.result.set_exception(outcome)
