"""Types of options that several commands share, and the preparation of long work."""

import gc
import logging
import os
import signal
import threading
import time
from difflib import get_close_matches
from typing import Any

import click

from processor.domain.timestamps import INSTANTS, parse_duration, parse_instant


class Time(click.ParamType):
    """A time in nanoseconds since 1970, written as RFC 3339, as a date or as a span before now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        time_ns = value if isinstance(value, int) else parse_instant(value, time.time_ns())
        if time_ns is None:
            self.fail(f"{value!r} is not a time: write {INSTANTS}", param, ctx)
        return time_ns


class Commands(click.Group):
    """A group whose error for a misspelt command proposes the closest ones."""

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
    """A duration in seconds, written as 60s, 5m or 1h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: Seconds that clients have after Ctrl-C to close their connections.
_SHUTDOWN_SECONDS = 3.0


def exit_after(seconds: float) -> None:
    """End the process with exit code 130 if it still runs after so many seconds. A timer thread does
    it, since the event loop, or a thread that waits for a name server, may never return."""
    timer = threading.Timer(seconds, os._exit, (130,))
    timer.daemon = True
    timer.start()


def interrupt_at_once() -> None:
    """Let Ctrl-C end a command at any point. asyncio's own handler waits for the next await, which a
    blocking read from a pipe never reaches, and a connecting client can swallow the cancellation."""

    def interrupt(*_: object) -> None:
        exit_after(_SHUTDOWN_SECONDS)
        # asyncio would log the errors of tasks that are interrupted.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def collect_rarely() -> None:
    """Run the cyclic garbage collector less often."""
    # A batch of records makes some 200,000 objects without cycles, which reference counting frees:
    # searching them for cycles took 10 % of the time. Cycles are still collected, only later.
    gc.set_threshold(500_000, 20, 100)
