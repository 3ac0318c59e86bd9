"""The workers of a simulated week: some fold the whole log, others start from what is left.

The share of a worker is the traffic of each of its partitions, by number.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

from processor.cli.options import collect_rarely
from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import Heartbeat, encode
from processor.domain.statistics.counts import BASES, Counts
from processor.domain.tally.windows import TIERS, parse_window
from processor.domain.timestamps import HOUR, SECOND
from processor.kafka.log_reader import LogReader
from processor.stream.delta_producer import Acks, DeltaProducer
from processor.stream.join_stage import JoinStage
from processor.stream.partition_fold import PartitionFold
from processor.stream.snapshot_file import SnapshotFile
from processor.stream.snapshotter import Snapshotter
from processor.stream.tally_stage import TallyStage
from processor.stream.writer_thread import WriterThread
from processor.telemetry import Telemetry

from ..support.command import say
from ..support.measure import BenchError, resident_bytes
from ..support.rows import EPOCH
from .log_files import JournalFiles, journal
from .traffic import START, Traffic

WINDOWS = tuple(map(parse_window, ("5m", "1h", "24h", "7d", "all")))
#: Hours of log time from checkpoint to checkpoint.
CHECKPOINT_HOURS = 6
Share = Mapping[int, Traffic]
#: Counts by model and bucket, by tier and basis; or counts by model, by window and basis.
Buckets = dict[tuple[int, int], dict[tuple[str, int], Counts]]
CountsSource = dict[tuple[str, int], dict[str, Counts]]


class Sample(NamedTuple):
    """The state after an hour of log time. CPU seconds of this hour: `join`, `tally`, `longest` (of one
    record in the join) and `flush` (of the checkpoint, 0 if none was due); `resident` is the memory of
    the process in bytes."""

    observations: int
    kept: int
    unmatched: int
    resident: int
    join: float
    tally: float
    longest: float
    flush: float
    table_bytes: int


class Look(NamedTuple):
    """All that can be compared with the truth after an hour; buckets that their tier still keeps."""

    hour: int
    kept: int
    alone: int
    """Requests with feedback but without a prediction: those that wait, and those judged too late."""
    buckets: Buckets
    board: CountsSource


class Full(NamedTuple):
    """The state that a worker leaves after the last hour with predictions, by partition or of all."""

    next_offsets: dict[int, int]
    snapshot_seconds: float
    snapshot_bytes: int
    digests: dict[int, str]
    tally_seconds: float
    """Seconds to restore the tally from its table."""
    tally_equal: bool


class Life(NamedTuple):
    """A worker's way through the log: `empty` is its memory before the first record in bytes, `left` the
    requests in memory a horizon after the last record, `too_late` the requests judged too late by then.
    """

    empty: int
    samples: list[Sample]
    looks: list[Look]
    full: Full
    left: int
    too_late: int


class Restart(NamedTuple):
    """A start of the joins of a share; equal digests mean equal states of a partition."""

    seconds: float
    resident: int
    digests: dict[int, str]


def start(
    share: Share, partitions: int, folder: Path, data: str, ends: Mapping[int, int]
) -> Restart:
    """Start a worker's joins, one after another, on the log up to an offset of each partition.

    `data` is the name of the folder with their snapshots.
    """
    collect_rarely()
    seconds, joins = 0.0, {}
    for number, traffic in share.items():
        reader = JournalFiles(journal(folder, number), ends[number])
        snapshots = _snapshots(traffic, number, partitions, folder / data)
        joins[number] = join = _join(traffic, number, reader, snapshots, None, Telemetry())
        partition = PartitionFold(join, cast(LogReader, reader), "bench")
        begin = time.perf_counter()
        asyncio.run(_opened(partition))
        seconds += time.perf_counter() - begin
    resident, digests = resident_bytes(), {}
    for number, join in joins.items():
        snapshots = _snapshots(share[number], number, partitions, folder)
        capture = snapshots.capture(join.next_offset, join.join.state)
        digest, complete = hashlib.sha256(), False
        while not complete:
            complete = capture.step(0.01)
            for part in capture.take():
                digest.update(part)
        digests[number] = digest.hexdigest()
    return Restart(seconds, resident, digests)


async def _opened(partition: PartitionFold) -> None:
    opening = asyncio.ensure_future(partition.open())
    while not partition.opened.is_set():
        await asyncio.wait([opening], timeout=0.1)
        if partition.failures:  # it would try for ever
            opening.cancel()
            raise BenchError("the log can't be read: see above")


def live(
    share: Share, partitions: int, folder: Path, written: Mapping[int, list[int]]
) -> Life:  # fmt: skip
    """Fold the log and the deltas that the joins send; `written` are the observations of each hour, by
    partition."""
    collect_rarely()
    return asyncio.run(_Worker(share, partitions, folder).live(written))


class _Deltas:
    """A sender that keeps the deltas of the joins and acknowledges them at once."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def send(self, partition: int, value: bytes, offset: int, acks: Acks) -> None:
        self.values.append(value)
        acks.arrived(offset)


class _Worker:
    def __init__(self, share: Share, partitions: int, folder: Path) -> None:
        self._share = share
        self._traffic = next(iter(share.values()))  # all are of the same hours
        self._folder = folder
        self._deltas = _Deltas()
        self._telemetry = Telemetry()
        self._files = {number: JournalFiles(journal(folder, number)) for number in share}
        self._joins = {
            number: _join(
                traffic, number, self._files[number],
                _snapshots(traffic, number, partitions, folder / "data"),
                self._deltas, self._telemetry,
            )
            for number, traffic in share.items()
        }  # fmt: skip
        self._table: dict[bytes, bytes] = {}
        self._tally = TallyStage(0, EPOCH, "bench", WINDOWS, self._table, Telemetry())
        self._delta_offset = 0

    async def live(self, written: Mapping[int, list[int]]) -> Life:
        traffic = self._traffic
        empty, samples, looks, full = resident_bytes(), [], [], None
        for number in range(traffic.all_hours):
            observations = sum(hours[number] for hours in written.values())
            samples.append(await self._hour(number, observations))
            if not (number + 1) % 24:
                memory = samples[-1].resident / 2**20
                parts = ", ".join(map(str, self._share))
                say(f"partitions {parts}: day {(number + 1) // 24}, {memory:,.0f} MiB")
            if number + 1 in (traffic.hours // 2, traffic.hours, traffic.all_hours):
                looks.append(self._look(number))
            if number + 1 == traffic.hours:
                full = await self._leave()
        assert full is not None
        # As long again as a request is kept, with nothing but ticks.
        end = START + (traffic.all_hours + traffic.horizon + 1) * HOUR
        tick = encode(Heartbeat(SCHEMA_VERSION, EPOCH, 0))
        for join in self._joins.values():
            join.fold(join.next_offset, end, tick)
        left, too_late = self._kept, self._telemetry.late
        return Life(empty, samples, looks, full, left, too_late)

    async def _hour(self, number: int, observations: int) -> Sample:
        tally = self._tally
        join_seconds = tally_seconds = longest = flush = 0.0
        for partition, join in self._joins.items():
            for offset, timestamp, value in self._files[partition].hour(number):
                begin = time.thread_time()
                join.fold(offset, timestamp * 1_000_000, value)
                await join.emit()
                between = time.thread_time()
                for delta in self._deltas.values:
                    tally.fold(self._delta_offset, timestamp * 1_000_000, delta)
                    self._delta_offset += 1
                self._deltas.values.clear()
                join_seconds += between - begin
                longest = max(longest, between - begin)
                tally_seconds += time.thread_time() - between
                await asyncio.sleep(0)  # what a thread has done for a snapshot is told
        if not (number + 1) % CHECKPOINT_HOURS:
            begin = time.thread_time()
            tally.flush()
            flush = time.thread_time() - begin
            for _ in tally.board(_clock(number)):
                pass
        table_bytes = sum(len(key) + len(value) for key, value in self._table.items())
        return Sample(
            observations, self._kept, self._unmatched, resident_bytes(), join_seconds,
            tally_seconds, longest, flush, table_bytes,
        )  # fmt: skip

    @property
    def _kept(self) -> int:
        return sum(len(join.join.state.requests) for join in self._joins.values())

    @property
    def _unmatched(self) -> int:
        return sum(join.join.state.unmatched for join in self._joins.values())

    def _look(self, number: int) -> Look:
        late = self._telemetry.late + self._unmatched
        return Look(number, self._kept, late, *_shown(self._tally, number))

    async def _leave(self) -> Full:
        """End the joins as an orderly stop does, and restore the tally as a start does."""
        begin = time.perf_counter()
        for join in self._joins.values():
            await join.close()
        seconds = time.perf_counter() - begin
        size, digests = 0, {}
        for number in self._joins:
            (path,) = (self._folder / "data").glob(f"*-{number}.snapshot")
            os.link(path, self._folder / "restart" / path.name)
            size += path.stat().st_size
            with path.open("rb") as file:
                digests[number] = hashlib.file_digest(file, "sha256").hexdigest()
        hour = self._traffic.hours - 1
        begin = time.perf_counter()
        again = TallyStage(0, EPOCH, "bench", WINDOWS, self._table, Telemetry())
        await again.load(0, self._delta_offset)
        tally_seconds = time.perf_counter() - begin
        equal = _shown(again, hour) == _shown(self._tally, hour)
        offsets = {number: join.next_offset for number, join in self._joins.items()}
        return Full(offsets, seconds, size, digests, tally_seconds, equal)


def _shown(stage: TallyStage, number: int) -> tuple[Buckets, CountsSource]:
    """The buckets that the tally keeps, and its windows, after an hour."""
    clock, buckets = _clock(number), Buckets()
    for tier, (_, size, keep) in enumerate(TIERS):
        floor = (clock - keep) // size if keep else 0
        for basis, name in enumerate(BASES):
            buckets[tier, basis] = {
                (model.deployment, bucket): counts.copy()
                for model, held in stage.tally.buckets(tier, name)
                for bucket, counts in held.items()
                if bucket >= floor and not counts.is_empty()
            }
    board = CountsSource()
    for model, window, name, counts in stage.board(clock):
        board.setdefault((window, BASES.index(name)), {})[model.deployment] = counts.copy()
    return buckets, board


def _clock(number: int) -> int:
    """The second of the last record in an hour."""
    return (START + (number + 1) * HOUR) // SECOND - 1


def _snapshots(traffic: Traffic, number: int, partitions: int, data: Path) -> SnapshotFile:
    return SnapshotFile(data, "bench", EPOCH, number, partitions, traffic.horizon * HOUR)


def _join(
    traffic: Traffic,
    number: int,
    reader: JournalFiles,
    snapshots: SnapshotFile,
    sender: _Deltas | None,
    telemetry: Telemetry,
) -> JoinStage:
    fold = JoinFold(EPOCH, number, 1, traffic.horizon * HOUR, telemetry)
    topic = f"bench/{number}"
    maker = Snapshotter(snapshots, topic, telemetry, WriterThread())
    return JoinStage(
        fold, topic, cast(LogReader, reader), maker, cast(DeltaProducer, sender), telemetry
    )  # fmt: skip
