"""A thread that writes to the disk beside the loop."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

_Job = tuple[Callable[[], None], "asyncio.Future[None]"]


class WriterThread:
    """Does one thing after another. A daemon: no end of the process waits for a disk that hangs; and of
    its own, so that nothing else that needs a thread does either."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._started = False
        self.close = weakref.finalize(self, self._jobs.put, None)
        """End the thread once it has done what it has to."""
        self.close.atexit = False

    def do(self, work: Callable[[], None]) -> "asyncio.Future[None]":
        """Done when the work is; with its exception."""
        if not self._started:
            self._started = True
            threading.Thread(target=_run, args=[self._jobs], name="writer", daemon=True).start()
        future = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return future


def _run(jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        _do(*job)
        del job  # what it holds may have to go while the next one is waited for


def _do(work: Callable[[], None], future: "asyncio.Future[None]") -> None:
    error: Exception | None = None
    try:
        work()
    except OSError as raised:
        error = raised.with_traceback(None)  # which would keep all that is held here
    except Exception as raised:
        error = raised
    with contextlib.suppress(RuntimeError):  # of a loop that is closed: nobody waits any more
        future.get_loop().call_soon_threadsafe(_notify, future, error)


def _notify(future: "asyncio.Future[None]", error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
