"""Shared parts of the commands: groups, option types, handling of Ctrl-C, garbage collection."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, cast

import click
import uvloop

from processor.domain.timestamps import INSTANTS, parse_duration, parse_instant

#: The exit code of a command that was interrupted.
INTERRUPTED = 130


class Time(click.ParamType):
    """An option type: an RFC 3339 time, a date or a span before now, as nanoseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        time_ns = value if isinstance(value, int) else parse_instant(value, time.time_ns())
        if time_ns is None:
            self.fail(f"{value!r} is not a time: write {INSTANTS}", param, ctx)
        return time_ns


class Commands(click.Group):
    """A command group whose error for an unknown command suggests similar ones.

    ``modules`` names more commands as "module:attribute": a module is imported when its command is used,
    so that each command waits only for the clients and servers that it needs.
    """

    def __init__(
        self, *args: Any, modules: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`."""
        return sorted({*self.commands, *self._modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        if cmd_name not in self._modules:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._modules[cmd_name].partition(":")
        return cast(click.Command, getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            close = get_close_matches(args[0], self.list_commands(ctx))
            if close:
                error.message += f" Did you mean {' or '.join(close)}?"
            raise


class Duration(click.ParamType):
    """An option type: a time span such as 60s, 5m or 1h, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: Seconds after a signal within which clients may end in order.
_ORDERLY_END = 0.9


def exit_after(seconds: float) -> None:
    """End the process with code 130 if it still runs after ``seconds``.

    A thread does it, because the event loop, or a thread that waits for a name server, may never end.
    """
    timer = threading.Timer(seconds, os._exit, (INTERRUPTED,))
    timer.daemon = True
    timer.start()


def interrupt_at_once() -> None:
    """Make Ctrl-C and SIGTERM end a command wherever it is, within a second.

    The event loop's own handler waits for the next await, which a read from a pipe never reaches, and
    a client that is connecting can swallow the cancellation.
    """

    def interrupt(*_: object) -> None:
        exit_after(_ORDERLY_END)
        # asyncio would log an error for each task that is interrupted with the command. Python would
        # warn of a coroutine that was made a moment before and has no task yet, and print the error of
        # one that still wants the event loop when that is closed.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        warnings.simplefilter("ignore", RuntimeWarning)
        sys.unraisablehook = lambda _: None
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def collect_rarely() -> None:
    """Make the garbage collector run less often."""
    # A batch of records is some 200,000 objects, which are freed by reference count: searching them
    # for cycles took 10 % of the time. Cycles are still collected, only later.
    gc.set_threshold(500_000, 20, 100)


def run_until_stopped(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]], within: float | None = None
) -> Any:
    """Run ``work`` with an event that SIGTERM and Ctrl-C set, and return its result.

    A second signal ends the process at once with code 130, and so does the end of the ``within``
    seconds that the work may take to stop after the first one.
    """

    async def main() -> Any:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(INTERRUPTED)
            stop.set()
            if within is not None:
                exit_after(within)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        return await work(stop)

    collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
