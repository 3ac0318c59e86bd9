"""What several commands have: types of options, and how they prepare for much work."""

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
    """An RFC 3339 time, a date or a span before now, in nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        time_ns = value if isinstance(value, int) else parse_instant(value, time.time_ns())
        if time_ns is None:
            self.fail(f"{value!r} is not a time: write {INSTANTS}", param, ctx)
        return time_ns


class Commands(click.Group):
    """A group that names the closest commands where one is misspelt."""

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
    """A time span such as 60s, 5m or 1h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: Seconds after Ctrl-C in which clients may end in order.
_ORDERLY = 3.0


def exit_after(seconds: float) -> None:
    """End the process with code 130 if it still runs by then. In a thread: neither the event loop nor
    a thread that waits for a name server can be relied on to end."""
    timer = threading.Timer(seconds, os._exit, (130,))
    timer.daemon = True
    timer.start()


def interrupt_at_once() -> None:
    """Ctrl-C ends a command wherever it is. The loop's own way waits for the next await, which a read
    from a pipe never comes to, and a client that is connecting can swallow the cancellation."""

    def interrupt(*_: object) -> None:
        exit_after(_ORDERLY)
        # Tasks that break off with it are nothing to tell of.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def collect_rarely() -> None:
    """Let the garbage collector walk less often."""
    # A batch of records is some 200,000 objects that go as they came, by reference count: walking
    # them for cycles cost 10 % of the time. Cycles are collected still, only later.
    gc.set_threshold(500_000, 20, 100)
