"""Measure the CPU time of each part of the embedded fold, in µs per event.

An archive is filled with some days of events, and folded in this process as the service folds it, with
requests leaving memory at a limit, and a state saved at the end of each day. The counts must be exact.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.file import connect_to_write, insert, transaction
from processor.cli.options import collect_rarely
from processor.domain.model_rules import ModelRules
from processor.domain.timestamps import SECOND
from processor.embedded.event_fold import slices
from processor.embedded.worker import SLICE, EmbeddedWorker
from processor.settings import Settings
from processor.telemetry import Telemetry

from ..support.command import command, parser
from ..support.measure import BenchError
from .stream import EVENTS_PER_REQUEST, Stream

DAY = 86_400 * SECOND
PARTS = (
    "read from SQLite", "decode", "find requests", "read requests back", "put requests back", "join",
    "tally", "note requests", "let requests leave", "save the state", "the rest",
)  # fmt: skip


class Clock:
    """Adds up the CPU time of functions by part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Measure a function from now on."""
        function = getattr(owner, name)

        def measured(*arguments: Any, **more: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **more)
            finally:
                self.seconds[part] += time.process_time() - started

        setattr(owner, name, measured)

    def watch_async(self, owner: Any, name: str, part: str) -> None:
        """Measure a coroutine function, and all that runs meanwhile, from now on."""
        function: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def measured(*arguments: Any, **more: Any) -> Any:
            started = time.process_time()
            try:
                return await function(*arguments, **more)
            finally:
                self.seconds[part] += time.process_time() - started

        setattr(owner, name, measured)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.embedded.parts", __doc__, "--days 2 --rate 1")
    line.add_argument("--days", type=int, default=8, help="simulated days (default: 8)")
    line.add_argument("--rate", type=float, default=2.0, help="events a second (default: 2)")
    line.add_argument("--max-memory", default="10MiB", help="PROCESSOR_MAX_MEMORY (default: 10MiB)")
    options = line.parse_args(arguments)
    collect_rarely()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), options))
    return 0


async def _measure(folder: Path, options: argparse.Namespace) -> None:
    stream = Stream(
        time.time_ns() - options.days * DAY, round(SECOND * EVENTS_PER_REQUEST / options.rate)
    )
    path = folder / "events.sqlite"
    connection = connect_to_write(path, 5.0)
    ends = [0]
    for day in range(1, options.days + 1):
        rows = list(stream.take(day * DAY // stream.interval - stream.step))
        with transaction(connection):
            insert(connection, ends[-1] + 1, rows)
        ends.append(ends[-1] + len(rows))
    connection.close()
    settings = Settings.from_env(
        {"PROCESSOR_DATA": str(folder), "PROCESSOR_MAX_MEMORY": options.max_memory}
    )
    archive = await SqliteArchive.open(path)
    try:
        worker = EmbeddedWorker(settings, archive, ModelRules(), telemetry := Telemetry())
        worker.fold.go_live()
        clock = _watched(worker, archive)
        total = await _fold(worker, ends)
    finally:
        await archive.close()
    (counts,) = [
        counts
        for _, window, by, counts in worker.fold.tally.window_counts(0.0)
        if (window, by) == ("all", "request") and not counts.is_empty()
    ]
    if counts.predictions != stream.predictions:
        raise BenchError(f"{counts.predictions} predictions, not {stream.predictions}")
    clock.seconds["the rest"] = total - sum(clock.seconds.values())
    print(f"{ends[-1]:,} events, {telemetry.recalled:,} requests read back\n")
    print("| part | CPU, us an event |\n|---|--:|")
    for part in PARTS:
        print(f"| {part} | {clock.seconds[part] / ends[-1] * 1e6:.2f} |")
    print(f"| all | {total / ends[-1] * 1e6:.2f} |")


def _watched(worker: EmbeddedWorker, archive: SqliteArchive) -> Clock:
    clock, fold = Clock(), worker.fold
    clock.watch_async(archive, "stored_events", "read from SQLite")
    clock.watch(fold, "decode", "decode")
    clock.watch(fold.join, "requests_of", "find requests")
    clock.watch_async(archive, "earlier_events", "read requests back")
    clock.watch(fold, "_put_back", "put requests back")
    clock.watch(fold.join, "apply", "join")
    clock.watch(fold.tally, "apply", "tally")
    clock.watch_async(archive, "note", "note requests")
    clock.watch(fold, "evict", "let requests leave")
    clock.watch_async(worker.saver, "finish", "save the state")
    return clock


async def _fold(worker: EmbeddedWorker, ends: Sequence[int]) -> float:
    """Fold all events, and save the state at each of some ends; the CPU time."""
    worker.saver.is_due = lambda fold: False  # type: ignore[method-assign]
    started = time.process_time()
    for end in ends[1:]:
        while worker.fold.position < end:
            rows = [row for row in await worker._read() if row[0] <= end]
            for some in slices(rows, SLICE):
                await worker._fold(some)
        await worker.saver.finish(worker.fold)
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
