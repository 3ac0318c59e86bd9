"""How far a long command is: a bar on a terminal, plain lines elsewhere; always on stderr."""

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

#: Takes what has to be said where no command reads: there is no progress to show then.
listener: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)
#: Seconds between plain lines: a log must not be flooded.
_PAUSE = 5.0


class CommandProgress:
    """A context manager around the work. ``total`` is how much there is to read (bytes, records), None
    if unknown: no bar can be shown then, and lines say how far it is."""

    def __init__(self, label: str, total: int | None, stream: TextIO | None = None) -> None:
        self._label = label
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
                item_show_func=lambda _: f"{self._events:,} events, {self._rate():,.0f}/s",
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
        """``position`` is how much of the total is read, and ``events`` the events handled since the
        start."""
        step, self._position = position - self._position, position
        self._events = events
        if self._bar:
            self._bar.update(step)
        elif self._listener is None and time.monotonic() - self._printed >= _PAUSE:
            self._print()

    def report(self, message: str) -> None:
        """A line of its own, above the bar."""
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
            left = max(0, self._total - self._position)
            seconds = (self._printed - self._start) * left / max(self._position, 1)
            share += f", {seconds:,.0f} s left" if left else ""
        self.report(f"{self._events:,} events{share}, {self._rate():,.0f}/s")

    def _rate(self) -> float:
        return self._events / max(time.monotonic() - self._start, 1e-3)
