"""The results of a soak: its verdict on memory, a table, JSON and a picture."""

import json
from collections.abc import Sequence
from math import nan
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ..plot import Panel, draw_curves
from ..support.report import machine

MIB = 1 << 20


class Sample(NamedTuple):
    """The state at one time; `memory` (bytes) and `lag` (records) by worker, None while it is away."""

    seconds: float
    sent: int
    memory: list[int | None]
    lag: list[int | None]


class SoakTimeline(NamedTuple):
    """The course of a soak: times in seconds; `restarts` are times and kinds (SIGTERM or kill -9)."""

    events: int
    requests: int
    seconds: float
    exact_after: float
    samples: list[Sample]
    restarts: list[tuple[float, str]]


def beyond(course: SoakTimeline, base: int, bytes_each: int) -> float:
    """The most bytes above the limit that the workers held at a time; below 0: never above it.

    The limit is `base` and `bytes_each` for each request so far, at an even rate of requests.
    """
    share = course.requests / course.events
    return max(
        sum(filter(None, sample.memory)) - base - bytes_each * sample.sent * share
        for sample in course.samples
    )


def table(course: SoakTimeline) -> str:
    """Markdown: a row for each sixth of the time, and a line with the totals below."""
    share = course.requests / course.events
    lines = [
        "| minute | events | requests kept | memory of both, MiB, median | most | lag, median | most |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    size = -(-len(course.samples) // 6)
    for first in range(0, len(course.samples), size):
        samples = course.samples[first : first + size]
        memory = [sum(filter(None, sample.memory)) / MIB for sample in samples]
        lag = [sum(filter(None, sample.lag)) for sample in samples]
        last = samples[-1]
        lines.append(
            f"| {last.seconds / 60:.1f} | {last.sent:,} | {round(last.sent * share):,} "
            f"| {median(memory):,.0f} | {max(memory):,.0f} | {median(lag):,.0f} | {max(lag):,} |"
        )
    kills = sum(kind == "kill -9" for _, kind in course.restarts)
    lines.append(
        f"\n{course.events:,} events in {course.seconds:,.0f} s, "
        f"{course.events / course.seconds:,.0f}/s; {len(course.restarts)} restarts, {kills} of them "
        f"kill -9; exact {course.exact_after:.1f} s after the last event"
    )
    return "\n".join(lines)


def write_json(path: Path, rate: float, course: SoakTimeline) -> None:
    """Write every sample and the machine."""
    found = {
        "machine": machine(),
        "rate": rate,
        **{name: value for name, value in course._asdict().items() if name != "samples"},
        "columns": Sample._fields,
        "samples": course.samples,
    }
    path.write_text(json.dumps(found) + "\n")


def draw(path: Path, rate: float, course: SoakTimeline) -> None:
    """Draw memory, lag and requests kept by minute, with the restarts; a PNG."""

    def lines(values: Sequence[Sequence[int | None]], scale: float) -> dict[str, Any]:
        return {
            f"worker {number + 1}": (
                minutes, [nan if value is None else value / scale for value in column]
            )
            for number, column in enumerate(zip(*values, strict=True))
        }  # fmt: skip

    minutes = [sample.seconds / 60 for sample in course.samples]
    share = course.requests / course.events
    draw_curves(
        path,
        f"Two workers at {rate:,.0f} events/s, restarted in turn",
        "minute",
        [
            Panel("memory, MiB", lines([sample.memory for sample in course.samples], MIB)),
            Panel("lag, records", lines([sample.lag for sample in course.samples], 1)),
            Panel("millions", {
                "requests kept": (minutes, [s.sent * share / 1e6 for s in course.samples])
            }),
        ],
        {
            kind: [when / 60 for when, one in course.restarts if one == kind]
            for kind in ("SIGTERM", "kill -9")
        },
    )  # fmt: skip
