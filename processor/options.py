"""Types of options that several commands have."""

from typing import Any

import click

from processor.domain.times import parse_time


class Time(click.ParamType):
    """An RFC 3339 time, in nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        time_ns = value if isinstance(value, int) else parse_time(value)
        if time_ns is None:
            self.fail(f"{value!r} is no time such as 2026-11-20T00:00:00Z", param, ctx)
        return time_ns
