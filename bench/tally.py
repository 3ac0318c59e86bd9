"""Measure the tally with many models: CPU time per event, memory, the longest stops, and a scrape.

All partitions of the deltas are folded in one process, without Kafka: items with probabilities of
several classes, one a second of each model, each with its feedback ten minutes later. First hours of log
time with a record for each minute fill the memory. Then come minutes with the records that the join
writes: for each poll of the source, 0.1 s apart, each partition of the observations sends one to each
partition of the deltas that has a model of its events. They are flushed as the service does, and all
windows are read every 15 s of log time. The tables are in the same memory.
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

import msgspec

from processor.cli.options import collect_rarely
from processor.domain.log.deltas import DeltaBatch, PackedDeltas, pack_deltas
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import encode
from processor.domain.quantities import pack_probabilities
from processor.domain.statistics import delays
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.probabilities import contribute
from processor.domain.timestamps import SECOND
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

#: Partitions of the observations, among which the events are spread; minutes from an item to its
#: feedback; seconds between reads of the windows.
_SOURCES, _DELAY, _READ_EVERY = 8, 10, 15
#: Readings of the clock from which its own cost is known.
_READINGS = 20_000
#: The minute in the records' templates, and the first one of the log.
_TEMPLATE_MINUTE, _FIRST_MINUTE = 20_000_000, 29_000_000
#: Seconds of events that differ, which repeat with other minutes and offsets.
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


@dataclass
class _Batch:
    """A batch from a source to a partition of the deltas, whose minutes are set anew."""

    source: int
    partition: int
    packed: PackedDeltas
    template: bytes
    minute: int = 0

    def record(self, minute: int, offset: int, prev: int) -> bytes:
        """Return the record at ``offset`` of the source."""
        if minute != self.minute:
            self.minute, deltas = minute, self.template
            for ago in (0, _DELAY):
                deltas = deltas.replace(_packed(_TEMPLATE_MINUTE - ago), _packed(minute - ago))
            self.packed.deltas = msgspec.Raw(deltas)
        self.packed.offset, self.packed.prev = offset, prev
        return encode(self.packed)


class _Load:
    """The batches of a second, poll by poll, and the one of a whole minute."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._rng = random.Random(options.models)
        self._classes = options.classes
        self._keys = model_keys(options.models)
        self._targets = [i % options.partitions for i in range(options.models)]
        every = range(options.models)
        self.whole = [self._batches(0, every, every, 60) for _ in range(_KINDS)]
        self.seconds = [self._second(options.polls) for _ in range(_KINDS)]

    def _second(self, polls: int) -> list[list[_Batch]]:
        """Return the polls of a second; each model has an item and a feedback in it."""
        models, groups = len(self._keys), polls * _SOURCES
        items, judged = (self._rng.sample(range(models), models) for _ in range(2))
        found: list[list[_Batch]] = [[] for _ in range(polls)]
        for group in range(groups):
            found[group // _SOURCES] += self._batches(
                group % _SOURCES, items[group::groups], judged[group::groups], 1
            )
        return found

    def _batches(
        self, source: int, predicted: Sequence[int], judged: Sequence[int], items: int
    ) -> list[_Batch]:
        changes: dict[tuple[int, int, int], Counts] = {}
        for model in predicted:
            counts = changes[model, 0, _TEMPLATE_MINUTE] = Counts(predictions=items)
            for _ in range(items):
                label = f"class {self._rng.randrange(self._classes)}"
                delays.contribute_prediction(label, counts.sums)
        for model in judged:
            by_feedback = _judged(self._rng, items, self._classes)
            changes[model, 1, _TEMPLATE_MINUTE] = by_feedback
            by_request = by_feedback.copy()
            for cell, n in by_request.cells.items():
                bucket = delays.bucket_of(_DELAY * 60 * SECOND)
                delays.contribute(cell, bucket, by_request.sums, n)
            changes[model, 0, _TEMPLATE_MINUTE - _DELAY] = by_request
        head = (SCHEMA_VERSION, EPOCH, source, 0)
        batches = pack_deltas(changes, self._keys, self._targets, head)
        return [_packed_batch(source, target, batch) for target, batch in batches.items()]


def _packed_batch(source: int, partition: int, batch: DeltaBatch) -> _Batch:
    fields = [encode(field) for field in (batch.models, batch.labels, batch.deltas)]
    head = (batch.version, batch.log_id, source, 0, -1)
    return _Batch(source, partition, PackedDeltas(*head, *map(msgspec.Raw, fields)), fields[2])


def _packed(minute: int) -> bytes:
    return b"\xce" + minute.to_bytes(4, "big")


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
    line.add_argument(
        "--partitions", type=int, default=8, help="partitions of the deltas (%(default)s)"
    )
    line.add_argument("--polls", type=int, default=10, help="polls a second (%(default)s)")
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
    for name in ("models", "classes", "partitions", "polls", "hours", "minutes"):
        passed += [f"--{name}", str(getattr(options, name))]
    print(_HEAD)
    for name in ("auto", "off") if options.python else ("auto",):
        found = run_json("bench.tally", passed, os.environ | {"PROCESSOR_COMPILED": name})
        print(_row("native" if name == "auto" else "Python", Result(**found)), flush=True)
    return 0


class _Tallies:
    """The tally of each partition of the deltas, in one process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.clock, self.result = _Clock(), Result()
        setattr(tally_stage, "time", self.clock)  # noqa: B010
        self.clock.set(_FIRST_MINUTE * 60)
        self.tables: list[dict[bytes, bytes]] = [{} for _ in range(options.partitions)]
        windows, telemetry = Settings().windows, Telemetry()
        self.stages = [
            TallyStage(number, EPOCH, "deltas", windows, table, telemetry)
            for number, table in enumerate(self.tables)
        ]
        self._offset, self._clock_cost = 0, _clock_cost()
        #: The offset of each source's newest record, and the newest that a partition has of each.
        self._sent = [-1] * _SOURCES
        self._newest = [[-1] * _SOURCES for _ in self.stages]

    def fold(self, batches: Sequence[_Batch], second: float) -> tuple[float, float]:
        """Fold the batches of a time; returns the CPU seconds that folds and flushes took."""
        for source in {batch.source for batch in batches}:
            self._sent[source] += 1
        folded = flushed = 0.0
        for batch in batches:
            stage, newest = self.stages[batch.partition], self._newest[batch.partition]
            offset, prev = self._sent[batch.source], newest[batch.source]
            newest[batch.source] = offset
            record = batch.record(int(second) // 60, offset, prev)
            self._offset += 1
            self.clock.set(second)
            begin = time.thread_time()
            stage.fold(self._offset, int(second * 1e9), record)
            middle = time.thread_time()
            stage.maybe_flush()
            end = time.thread_time()
            # To read this clock is a call of the system, which takes as much time as a small record.
            for part, took in (("fold", middle - begin), ("flush", end - middle)):
                self.result.longest[part] = max(took, self.result.longest.get(part, 0.0))
            folded += middle - begin - self._clock_cost
            flushed += end - middle - self._clock_cost
        return folded, flushed

    def read(self, now: float) -> dict[tuple[str, str], dict[object, Counts]]:
        """Read all windows, as the service does."""
        board: dict[tuple[str, str], dict[object, Counts]] = {}
        for stage in self.stages:
            for key, window, basis, counts in stage.board(now):
                board.setdefault((window, basis), {})[key] = counts
        return board


def _clock_cost() -> float:
    """Return the CPU seconds from one reading of the clock to the next."""
    begin = time.thread_time()
    for _ in range(_READINGS):
        end = time.thread_time()
    return (end - begin) / _READINGS


def measure(options: argparse.Namespace) -> Result:
    """Fold the hours, then measure the minutes."""
    load = _Load(options)
    gc.collect()
    before = resident_bytes()
    tallies = _Tallies(options)
    result, end = tallies.result, _FIRST_MINUTE + options.hours * 60
    filled = 0.0
    for minute in range(_FIRST_MINUTE, end):
        filled += sum(tallies.fold(load.whole[minute % _KINDS], minute * 60))
        begin = time.thread_time()
        tallies.read(minute * 60)
        filled += time.thread_time() - begin
        if minute % 60 == 59:
            hours, used = (minute + 1 - _FIRST_MINUTE) / 60, (resident_bytes() - before) / 1e6
            print(f"{hours:.1f} h: {filled:.1f} s, {used:,.0f} MB", file=sys.stderr, flush=True)
    result.fill_us = filled * 1e6 / max(2 * 60 * options.models * options.hours * 60, 1)
    result.longest.clear()
    for second in range(end * 60, (end + options.minutes) * 60):
        folded = flushed = 0.0
        for number, batches in enumerate(load.seconds[second % _KINDS]):
            took = tallies.fold(batches, second + number / options.polls)
            folded, flushed = folded + took[0], flushed + took[1]
        for part, took_part in (("fold", folded), ("flush", flushed)):
            result.spent[part] = result.spent.get(part, 0.0) + took_part
        if second % _READ_EVERY == 0:
            begin = time.thread_time()
            tallies.read(second)
            result.add("windows", time.thread_time() - begin)
    result.events = 2 * options.models * options.minutes * 60
    _scrape(tallies, second, result)
    if any(stage.tally.held for stage in tallies.stages):
        raise BenchError("batches are held")
    result.memory_bytes, result.peak_bytes = (
        resident_bytes() - before,
        own_usage().peak_bytes - before,
    )
    result.table_bytes = sum(sum(map(len, table.values())) for table in tallies.tables)
    return result


def _scrape(tallies: _Tallies, now: float, result: Result) -> None:
    """Build the text of /metrics three times."""
    settings = Settings()
    taken = []
    for _ in range(3):
        begin = time.thread_time()
        exposition = Exposition(settings.max_classes, settings.metrics)
        board = tallies.read(now)
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
