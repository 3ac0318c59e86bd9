"""Start and end of the service: servers, background tasks, the leader's task, a limit on stopping."""

import asyncio
import gc
import os
import ssl
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from aiohttp import web

from processor.errors import ProcessorError, described

#: Wraps work so that its error ends the process.
Guard = Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]]

#: Seconds between cancellations of a task that does not end.
_CANCEL_EVERY = 1.0
#: Seconds between collections of young objects, each of which takes milliseconds.
_COLLECT_EVERY = 10.0
#: Share of the time that collections of all objects may take: one takes 20 ms, or more with much state.
_COLLECT_ALL_SHARE = 1 / 2000


class Leading:
    """Runs a task while this worker is the leader."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def set(self, leads: bool) -> None:
        """Start the task or cancel it; does nothing if ``leads`` has not changed."""
        if leads and self._task is None:
            self._task = asyncio.create_task(self._work())
        elif not leads and self._task is not None:
            self._task.cancel()
            self._task = None

    async def end(self) -> None:
        """Cancel the task, and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


async def serve(
    stack: AsyncExitStack,
    app: web.Application,
    port: int,
    name: str,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Serve ``app`` on ``port`` (0: a free one) until the stack unwinds; returns its URL.

    `ProcessorError` names the setting ``PROCESSOR_<name>_PORT`` if the port can't be opened.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=10)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, port=port, ssl_context=tls).start()
    except OSError as error:
        raise ProcessorError(
            f"port {port} can't be opened: {error.strerror or error}: set "
            f"PROCESSOR_{name}_PORT to another one, or to 0 for a free one"
        ) from None
    # IPv4 and IPv6 get different free ports, in either order; an IPv4 address is a tuple of two.
    addresses = sorted(runner.addresses, key=len)
    return f"{'https' if tls else 'http'}://127.0.0.1:{addresses[0][1]}/"


def background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` as a task, which is cancelled when the stack unwinds."""
    task = asyncio.create_task(work)

    async def end() -> None:
        # Python warns of work that was cancelled before it began.
        await asyncio.sleep(0)
        # A client that is closing can swallow a cancellation.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_EVERY)

    stack.push_async_callback(end)


async def collect_cycles() -> None:
    """Collect garbage on a schedule, until cancelled.

    The command line lets half a million objects accumulate before Python collects cycles. Each broken
    connection leaves some cycles, which would take 200 MB by then (measured). Objects that were in use
    at one collection are not young at the next, so all objects are collected now and then.
    """
    clock, all_due = asyncio.get_running_loop().time, 0.0
    while True:
        await asyncio.sleep(_COLLECT_EVERY)
        started = clock()
        if started < all_due:
            gc.collect(0)
            continue
        gc.collect()
        all_due = started + (clock() - started) / _COLLECT_ALL_SHARE


@contextmanager
def ending_within(seconds: float, reason: BaseException | None) -> Iterator[None]:
    """End the process with code 1 if the block takes more than ``seconds``; ``reason`` is printed.

    A thread does it: while the broker is away, Faust blocks the event loop for ever, joining the
    thread of its consumer, and no timeout in the loop can end that.
    """

    def end() -> None:
        why = f"{described(reason)}; " if reason else ""
        print(
            f"processor: {why}stopping took more than {seconds:.0f} s, so it was cut short: "
            "nothing is lost, the next start reads more of the log",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
