"""A thread that writes to the disk beside the event loop."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

_Job = tuple[Callable[[], None], "asyncio.Future[None]"]


class WriterThread:
    """A thread that does one job after another.

    It is a daemon, so that the end of the process does not wait for a disk that hangs; and it is not one
    of the executor's, so that other work in threads does not wait either.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = False
        self.close = weakref.finalize(self, self._jobs.put, None)
        """End the thread after its queued jobs."""
        self.close.atexit = False

    def do(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Queue a job, and return a future with the job's end or its exception."""
        if not self._started:
            self._started = True
            threading.Thread(target=_run, args=[self._jobs], name="writer", daemon=True).start()
        future = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return future


def _run(jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        _do(*job)
        del job  # or else it would keep its snapshot in memory until the next job comes


def _do(work: Callable[[], None], future: "asyncio.Future[None]") -> None:
    error: Exception | None = None
    try:
        work()
    except OSError as raised:
        error = raised.with_traceback(None)  # a traceback would keep the snapshot in memory
    except Exception as raised:
        error = raised
    with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
        future.get_loop().call_soon_threadsafe(_notify, future, error)


def _notify(future: "asyncio.Future[None]", error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
