"""Group commit: one thread writes, and each commit takes all that waits by then."""

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

#: A commit takes all that waits up to this, so that one burst does not hold up those behind it.
_COMMIT_EVENTS = 20_000


class _Waiting(NamedTuple):
    events: Sequence[RawEvent]
    result: "asyncio.Future[int]"


_Outcome = tuple[_Waiting, int | ArchiveError]
T = TypeVar("T")


class SqliteWriter:
    """Owns a connection; `put` may be called from any event loop."""

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
        """The result is the last sequence number, when all are durable."""
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._closing:
                raise ArchiveError(f"the archive {self._path} is closed")
            self._queue.append(waiting)
            self._changed.notify()
        return waiting.result

    def run(self, job: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """The result of a job, which has a transaction of its own, when it is durable."""
        result: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise ArchiveError(f"the archive {self._path} is closed")
            self._jobs.append((job, result))
            self._changed.notify()
        return result

    def close(self) -> None:
        """Commit what waits, end the thread, let go of the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while self._has_work():
            # By turns: neither holds up the other for long.
            if group := self._take():
                _settle(self._write(group))
            if self._jobs:
                self._do(*self._jobs.popleft())

    def _has_work(self) -> bool:
        """Waits for work; False when it is closing and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._jobs or self._closing)
            return bool(self._queue or self._jobs)

    def _do(self, job: Callable[[sqlite3.Connection], Any], result: "Future[Any]") -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            self._check_file()
            with transaction(self._connection):
                done = job(self._connection)
        except Exception as error:
            result.set_exception(explain(error, self._path, "written"))
        else:
            result.set_result(done)

    def _check_file(self) -> None:
        """A file that was moved or removed still takes commits, and loses them."""
        if self._path.stat().st_ino != self._inode:
            raise ArchiveError(f"the archive {self._path} was replaced: start again")

    def _take(self) -> list[_Waiting]:
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
            # An event that can't be held is its caller's trouble alone.
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
        except Exception as error:  # the thread lives on, and every caller hears of it
            failure = explain(error, self._path, "written")
            return [(w, o if isinstance(o, ArchiveError) else failure) for w, o in outcomes]
        self._last += len(rows)
        return outcomes


def _settle(outcomes: list[_Outcome]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0].result.get_loop(), []).append(outcome)
    for loop, settled in by_loop.items():
        with contextlib.suppress(RuntimeError):  # a closed loop: nobody waits any more
            loop.call_soon_threadsafe(_set_results, settled)


def _set_results(outcomes: list[_Outcome]) -> None:
    for waiting, outcome in outcomes:
        if waiting.result.done():  # its caller went away
            continue
        if isinstance(outcome, int):
            waiting.result.set_result(outcome)
        else:
            waiting.result.set_exception(outcome)
