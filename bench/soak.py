"""`python -m bench.soak`: two workers under a steady load for long, restarted one after the other.

Every so often the next worker is ended (SIGTERM, every third time `kill -9`) and started again on its
data, while events come in at one rate. Memory and lag are sampled; after the last event the counts of
both together must equal the truth, and memory may never have been more than a base and so many bytes
for each request kept. Else the exit code is 1.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import nan
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.support.servers import KafkaServer, ServerError
from tests.support.servers.topics import create_topics

from .curves import Panel, draw
from .filled import PARTITIONS, say
from .load import Expected
from .machine import description
from .measure import BenchError, differences, end_in_order_on_sigterm, models
from .ours import fresh_app_id
from .soak_parts import Slot, feeding

_WORKERS = 2
#: Every so manieth restart is a `kill -9`.
_KILL = 3
_SAMPLE_SECONDS = 2.0
_EXACT_SECONDS = 300.0
_MIB = 1 << 20
#: What the broker keeps of the source: more than the processor is ever behind.
_KEPT = {"log.retention.ms": "600000", "log.segment.bytes": str(128 * _MIB),
         "log.retention.check.interval.ms": "30000"}  # fmt: skip


class Sample(NamedTuple):
    """``memory`` in bytes and ``lag`` in records, by worker; None of one that is away."""

    seconds: float
    sent: int
    memory: list[int | None]
    lag: list[int | None]


class Course(NamedTuple):
    """What happened: ``restarts`` are seconds and kinds."""

    events: int
    requests: int
    seconds: float
    exact_after: float
    samples: list[Sample]
    restarts: list[tuple[float, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    end_in_order_on_sigterm()
    try:
        with ExitStack() as stack:
            broker = stack.enter_context(KafkaServer(_KEPT, heap="1g"))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            course = _run(stack, broker.bootstrap, folder, options)
    except (BenchError, ServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(table(course))
    too_much = beyond(course, options.base_mib * _MIB, options.bytes_each)
    if options.json:
        _write(options.json, options.rate, course)
    if options.picture:
        _draw(options.picture, options.rate, course)
    if too_much > 0:
        print(
            f"bench: the workers held {too_much / _MIB:,.0f} MiB more than {options.base_mib} MiB "
            f"and {options.bytes_each} bytes for each request",
            file=sys.stderr,
        )
    return 1 if too_much > 0 else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--rate", type=float, default=10_000, help="events a second (%(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="of load (%(default)s)")
    parser.add_argument("--models", type=int, default=10, help="deployments (%(default)s)")
    parser.add_argument(
        "--every", type=float, default=60, help="seconds from restart to restart (%(default)s)"
    )
    parser.add_argument(
        "--base-mib", type=int, default=640, help="what both may hold in any case (%(default)s)"
    )
    parser.add_argument(
        "--bytes-each", type=int, default=128,
        help="and for each request: 64, and as much again for a snapshot in the making (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write every sample there")
    parser.add_argument("--picture", type=Path, help="draw memory and lag there, a PNG")
    return parser


def _run(
    stack: ExitStack, bootstrap: str, folder: Path, options: argparse.Namespace
) -> Course:  # fmt: skip
    topic, app_id = fresh_app_id(), fresh_app_id()
    asyncio.run(create_topics(bootstrap, [topic], PARTITIONS))
    slots = [
        stack.enter_context(Slot(bootstrap, topic, app_id, folder / str(number)).running())
        for number in range(_WORKERS)
    ]
    _until_ready(slots)
    seconds = options.minutes * 60
    feed = stack.enter_context(feeding(bootstrap, topic, options.rate, seconds, options.models))
    begin = time.monotonic()
    samples: list[Sample] = []
    restarts: list[tuple[float, str]] = []
    due = options.every
    while not feed.done:
        now = time.monotonic() - begin
        samples.append(Sample(now, feed.sent, *_sampled(slots)))
        for slot in slots:
            slot.see_to()
        # One at a time, and the last one has all the time it takes to come back under load.
        if due <= now < seconds - options.every / 2 and all(slot.ready for slot in slots):
            kind = "kill -9" if (len(restarts) + 1) % _KILL == 0 else "SIGTERM"
            slots[len(restarts) % _WORKERS].end(kind)
            restarts.append((now, kind))
            due = now + options.every
            say(f"{now:.0f} s: {feed.sent:,} events, {kind}")
        time.sleep(_SAMPLE_SECONDS)
    ended = time.monotonic()
    _until_exact(slots, feed.expected)
    samples.append(Sample(time.monotonic() - begin, feed.sent, *_sampled(slots)))
    requests = sum(model.predictions for model in feed.expected.models.values())
    return Course(
        feed.sent, requests, ended - begin, time.monotonic() - ended, samples, restarts
    )  # fmt: skip


def _sampled(slots: Sequence[Slot]) -> tuple[list[int | None], list[int | None]]:
    states = [slot.state for slot in slots]
    lag = [None if state is None else state["lag"] for state in states]
    return [slot.memory for slot in slots], lag


def _until_ready(slots: Sequence[Slot]) -> None:
    while not all(slot.ready for slot in slots):
        for slot in slots:
            slot.see_to()
        time.sleep(0.5)


def _until_exact(slots: Sequence[Slot], expected: Expected) -> None:
    deadline = time.monotonic() + _EXACT_SECONDS
    while True:
        for slot in slots:
            slot.see_to()
        wrong = differences(expected, [model for slot in slots for model in models(slot.url)])
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"wrong: {'; '.join(wrong[:5])}:\n{slots[0].log}")
        time.sleep(0.5)


def beyond(course: Course, base: int, bytes_each: int) -> float:
    """By how many bytes the workers held more than they may, at most; below 0: they never did.
    A request for each so many events was kept since the beginning."""
    share = course.requests / course.events
    return max(
        sum(filter(None, sample.memory)) - base - bytes_each * sample.sent * share
        for sample in course.samples
    )


def table(course: Course) -> str:
    """Markdown: a row for each sixth of the time, and a line below."""
    share = course.requests / course.events
    lines = [
        "| minute | events | requests kept | memory of both, MiB, median | most | lag, median | most |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    size = -(-len(course.samples) // 6)
    for first in range(0, len(course.samples), size):
        samples = course.samples[first : first + size]
        memory = [sum(filter(None, sample.memory)) / _MIB for sample in samples]
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


def _write(path: Path, rate: float, course: Course) -> None:
    found = {
        "machine": description(),
        "rate": rate,
        **{name: value for name, value in course._asdict().items() if name != "samples"},
        "columns": Sample._fields,
        "samples": course.samples,
    }
    path.write_text(json.dumps(found) + "\n")


def _draw(path: Path, rate: float, course: Course) -> None:
    def lines(values: Sequence[Sequence[int | None]], scale: float) -> dict[str, Any]:
        return {
            f"worker {number + 1}": (
                minutes, [nan if value is None else value / scale for value in column]
            )
            for number, column in enumerate(zip(*values, strict=True))
        }  # fmt: skip

    minutes = [sample.seconds / 60 for sample in course.samples]
    share = course.requests / course.events
    draw(
        path,
        f"Two workers at {rate:,.0f} events/s, restarted in turn",
        "minute",
        [
            Panel("memory, MiB", lines([sample.memory for sample in course.samples], _MIB)),
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


if __name__ == "__main__":
    sys.exit(main())
