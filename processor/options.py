"""What several commands have: types of options, and how they prepare for much work."""

import gc
from typing import Any

import click

from processor.domain.times import parse_time
from processor.domain.windows import parse_duration


class Time(click.ParamType):
    """An RFC 3339 time, in nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        time_ns = value if isinstance(value, int) else parse_time(value)
        if time_ns is None:
            self.fail(f"{value!r} is no time such as 2026-11-20T00:00:00Z", param, ctx)
        return time_ns


class Duration(click.ParamType):
    """A time span such as 60s, 5m or 1h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def collect_rarely() -> None:
    """Let the garbage collector walk less often."""
    # A batch of records is some 200,000 objects that go as they came, by reference count: walking
    # them for cycles cost 10 % of the time. Cycles are collected still, only later.
    gc.set_threshold(500_000, 20, 100)
