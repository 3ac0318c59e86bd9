"""Show the progress of a long command on stderr: a bar on a terminal, else plain lines."""

import io
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import click

if TYPE_CHECKING:  # click shows the class to type checkers alone
    from click._termui_impl import ProgressBar

#: Receives messages where no command is running, as in a notebook; progress is not shown then.
listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
#: Seconds between two plain lines, so that a log is not flooded.
_LINE_INTERVAL = 5.0


class CommandProgress:
    """A context manager that shows the progress of the work in its block. ``total`` is the amount of
    work (bytes, records); if it is None, plain lines are shown instead of a bar. ``unit`` names what is
    counted."""

    def __init__(
        self, label: str, total: int | None, stream: TextIO | None = None, unit: str = "events"
    ) -> None:
        self._label = label
        self._unit = unit
        self._total = total
        # Without a standard error (2>&-) nothing is shown.
        self._stream = stream or sys.stderr or io.StringIO()
        self._listener = listener.get()
        self._position = self._events = 0
        self._start = self._printed = time.monotonic()
        self._bar: ProgressBar[int] | None = (
            click.progressbar(
                length=total,
                label=label,
                file=self._stream,
                item_show_func=lambda _: f"{self._events:,} {unit}, {self._rate():,.0f}/s",
                update_min_steps=max(1, total // 500),
            )
            if total and self._listener is None and self._stream.isatty()
            else None
        )

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.__exit__(kind, error, trace)
        elif self._events and self._listener is None:
            self._print()

    def update(self, position: int, events: int) -> None:
        """Show that ``position`` of the total is done, with ``events`` events since the start."""
        step, self._position = position - self._position, position
        self._events = events
        if self._bar:
            self._bar.update(step)
        elif self._listener is None and time.monotonic() - self._printed >= _LINE_INTERVAL:
            self._print()

    def report(self, message: str) -> None:
        """Print a message in a line above the bar, or give it to the `listener`."""
        if self._listener is not None:
            self._listener(f"{self._label}: {message}")
            return
        if self._bar:
            self._stream.write("\r\033[K")
        click.echo(f"{self._label}: {message}", file=self._stream)

    def _print(self) -> None:
        self._printed = time.monotonic()
        share = ""
        if self._total:
            share = f", {100 * self._position // self._total} %"
            remaining = max(0, self._total - self._position)
            seconds = (self._printed - self._start) * remaining / max(self._position, 1)
            share += f", {seconds:,.0f} s left" if remaining else ""
        self.report(f"{self._events:,} {self._unit}{share}, {self._rate():,.0f}/s")

    def _rate(self) -> float:
        return self._events / max(time.monotonic() - self._start, 1e-3)
