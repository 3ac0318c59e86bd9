"""Measure the tally with many models: CPU time per event, memory, the longest stops, and a scrape.

A partition of the deltas is folded in one process, without Kafka: items with probabilities of several
classes, each with its feedback ten minutes later. First hours of log time with a record for each minute
fill the memory; then come minutes with a record for each source partition and second, flushed as the
service does, whose windows are read every 15 s of log time. The table is in the same memory.
"""

import argparse
import gc
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from processor.cli.options import collect_rarely
from processor.domain.log.deltas import DeltaBatch, pack_deltas
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import encode
from processor.domain.quantities import pack_probabilities
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.probabilities import contribute
from processor.domain.values import SCORES, Answer, Schema
from processor.publish.exposition import Exposition
from processor.publish.families import model_rows
from processor.settings import Settings
from processor.stream import tally_stage
from processor.stream.tally_stage import TallyStage
from processor.telemetry import Telemetry

from .support.command import command, parser
from .support.measure import BenchError, own_usage, resident_bytes, run_json
from .support.rows import EPOCH, model_keys

#: Source partitions, of which each has its own models here; minutes from an item to its feedback;
#: seconds between reads of the windows.
_SOURCES, _DELAY, _READ_EVERY = 8, 10, 15
#: Minutes between flushes while the memory is filled.
_FILL_FLUSH = 30
#: The minute in the records' templates, and the first one of the log.
_TEMPLATE_MINUTE, _FIRST_MINUTE = 20_000_000, 29_000_000
_KINDS = 3


@dataclass
class Result:
    """What the measured minutes took: CPU seconds by part, the longest stop of each in seconds, and
    bytes."""

    events: int = 0
    spent: dict[str, float] = field(default_factory=dict)
    longest: dict[str, float] = field(default_factory=dict)
    fill_us: float = 0.0
    scrape: float = 0.0
    series: int = 0
    memory_bytes: int = 0
    peak_bytes: int = 0
    table_bytes: int = 0

    def add(self, part: str, seconds: float) -> None:
        """Add one stop for a part of the work."""
        self.spent[part] = self.spent.get(part, 0.0) + seconds
        self.longest[part] = max(seconds, self.longest.get(part, 0.0))


class _Clock:
    """The clock of the stage: log time in seconds, and the time of the work since it was set."""

    def set(self, log_time: float) -> None:
        """Set the log time."""
        self._ahead = log_time - time.perf_counter()

    def monotonic(self) -> float:
        """Return the time, in place of `time.monotonic`."""
        return self._ahead + time.perf_counter()

    time = monotonic


class _Records:
    """Encoded batches with ``items`` items of every model of a source, which repeat with other minutes
    and offsets."""

    def __init__(self, models: int, sources: int, items: int, classes: int) -> None:
        rng = random.Random(items)
        self._batches = [
            [
                _batch(rng, models, range(source, models, sources), items, classes)
                for _ in range(_KINDS)
            ]
            for source in range(sources)
        ]

    def record(self, source: int, minute: int, offset: int) -> bytes:
        """Return the record at ``offset`` of a source partition."""
        batch = self._batches[source][offset % _KINDS]
        batch.source, batch.offset, batch.prev = source, offset, offset - 1
        record = encode(batch)
        for ago in (0, _DELAY):
            record = record.replace(_packed(_TEMPLATE_MINUTE - ago), _packed(minute - ago))
        return record


def _packed(minute: int) -> bytes:
    return b"\xce" + minute.to_bytes(4, "big")


def _batch(
    rng: random.Random, models: int, positions: Sequence[int], items: int, classes: int
) -> DeltaBatch:
    changes: dict[tuple[int, int, int], Counts] = {}
    for model in positions:
        changes[model, 0, _TEMPLATE_MINUTE] = Counts(predictions=items)
        judged = _judged(rng, items, classes)
        changes[model, 0, _TEMPLATE_MINUTE - _DELAY] = judged
        changes[model, 1, _TEMPLATE_MINUTE] = judged
    head = (SCHEMA_VERSION, EPOCH, 0, 0)
    return pack_deltas(changes, model_keys(models), [0] * models, head)[0]


def _judged(rng: random.Random, items: int, classes: int) -> Counts:
    names = tuple([f"class {number}" for number in range(classes)])
    counts = Counts(judged=items)
    for _ in range(items):
        weights = [rng.random() ** 2 + 0.01 for _ in names]
        probabilities = [weight / sum(weights) for weight in weights]
        predicted = names[probabilities.index(max(probabilities))]
        actual = predicted if rng.random() < 0.8 else rng.choice(names)
        counts.correct += actual == predicted
        cell = Cell(actual, predicted)
        counts.cells[cell] = counts.cells.get(cell, 0) + 1
        answer = Answer(predicted, None, SCORES, Schema(names=names), classes)
        contribute(answer, pack_probabilities(probabilities), actual, counts.sums)
    return counts


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.tally", __doc__, "--models 50 --hours 3")
    line.add_argument("--models", type=int, default=1000, help="number of models (%(default)s)")
    line.add_argument("--classes", type=int, default=3, help="classes of each (%(default)s)")
    line.add_argument("--hours", type=int, default=24, help="hours of log time (%(default)s)")
    line.add_argument(
        "--minutes", type=int, default=6, help="measured minutes at their end (%(default)s)"
    )
    line.add_argument(
        "--python", action="store_true", help="measure without the native extension too"
    )
    line.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = line.parse_args(arguments)
    if options.child:
        collect_rarely()
        print(json.dumps(asdict(measure(options))))
        return 0
    passed = ["--child"]
    for name in ("models", "classes", "hours", "minutes"):
        passed += [f"--{name}", str(getattr(options, name))]
    print(_HEAD)
    for name in ("auto", "off") if options.python else ("auto",):
        found = run_json("bench.tally", passed, os.environ | {"PROCESSOR_COMPILED": name})
        print(_row("native" if name == "auto" else "Python", Result(**found)), flush=True)
    return 0


def measure(options: argparse.Namespace) -> Result:
    """Fold the hours, then measure the minutes."""
    result, clock = Result(), _Clock()
    setattr(tally_stage, "time", clock)  # noqa: B010
    models, per_minute = options.models, 60
    whole = _Records(models, 1, per_minute, options.classes)
    seconds = _Records(models, _SOURCES, 1, options.classes)
    gc.collect()
    before = resident_bytes()
    table: dict[bytes, bytes] = {}
    windows = Settings().windows
    clock.set(_FIRST_MINUTE * 60)
    stage = TallyStage(0, EPOCH, "deltas", windows, table, Telemetry())
    offset, end = 0, _FIRST_MINUTE + options.hours * 60
    filled = 0.0
    for minute in range(_FIRST_MINUTE, end):
        record = whole.record(0, minute, offset)
        clock.set(minute * 60)
        begin = time.thread_time()
        stage.fold(offset, minute * 60_000_000_000, record)
        _read(stage, minute * 60)
        if minute % _FILL_FLUSH == 0:
            stage.flush()
        filled += time.thread_time() - begin
        offset += 1
    result.fill_us = filled * 1e6 / (2 * per_minute * models * options.hours * 60)
    sent = [0] * _SOURCES
    sent[0] = offset
    for second in range(end * 60, (end + options.minutes) * 60):
        for source in range(_SOURCES):
            record = seconds.record(source, second // 60, sent[source])
            sent[source] += 1
            clock.set(second + source / _SOURCES)
            begin = time.thread_time()
            stage.fold(offset, second * 1_000_000_000, record)
            middle = time.thread_time()
            stage.maybe_flush()
            result.add("fold", middle - begin)
            result.add("flush", time.thread_time() - middle)
            offset += 1
        if second % _READ_EVERY == 0:
            begin = time.thread_time()
            _read(stage, second)
            result.add("windows", time.thread_time() - begin)
    result.events = 2 * models * options.minutes * 60
    _scrape(stage, second, result)
    if stage.tally.held:
        raise BenchError("batches are held")
    result.memory_bytes, result.peak_bytes = (
        resident_bytes() - before,
        own_usage().peak_bytes - before,
    )
    result.table_bytes = sum(map(len, table.values()))
    return result


def _read(stage: TallyStage, now: float) -> dict[tuple[str, str], dict[object, Counts]]:
    board: dict[tuple[str, str], dict[object, Counts]] = {}
    for key, window, basis, counts in stage.board(now):
        board.setdefault((window, basis), {})[key] = counts
    return board


def _scrape(stage: TallyStage, now: float, result: Result) -> None:
    """Build the text of /metrics three times."""
    settings = Settings()
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        exposition = Exposition(settings.max_classes, settings.metrics)
        board = _read(stage, now)
        for row in model_rows(board, settings.metrics_by, settings.cell_windows):  # type: ignore[arg-type]
            exposition.add(row)
        text = exposition.text()
        taken.append(time.thread_time() - begin)
    result.scrape, result.series = min(taken), text.count("\n") - 2 * text.count("# HELP")


_HEAD = (
    "| way | events/s | fold, µs/event | windows | flush | all | longest fold, ms | windows | flush "
    "| scrape, s | series | memory, MB | peak | of it the table |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def _row(way: str, result: Result) -> str:
    each = {part: spent * 1e6 / result.events for part, spent in result.spent.items()}
    parts = ("fold", "windows", "flush")
    cells = [
        way,
        f"{1e6 / sum(each.values()):,.0f}",
        *[f"{each[part]:.2f}" for part in parts],
        f"{sum(each.values()):.2f}",
        *[f"{result.longest[part] * 1e3:.0f}" for part in parts],
        f"{result.scrape:.2f}",
        f"{result.series:,}",
        *[
            f"{size / 1e6:,.0f}"
            for size in (result.memory_bytes, result.peak_bytes, result.table_bytes)
        ],
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
