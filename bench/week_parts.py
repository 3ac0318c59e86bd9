"""The processes of `bench.week`: one writes the log, one lives through it, others start from it."""

import asyncio
import hashlib
import math
import os
import shutil
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from processor.domain.counts import BASES, Counts, ModelKey
from processor.domain.join import JoinFold
from processor.domain.observations import SCHEMA_VERSION
from processor.domain.telemetry import Telemetry
from processor.domain.times import HOUR, MINUTE, SECOND
from processor.domain.windows import TIERS, parse_window
from processor.options import collect_rarely
from processor.stream.fold import PartitionFold
from processor.stream.join import JoinStage
from processor.stream.log import LogReader
from processor.stream.records import Tick, encode
from processor.stream.sender import Acks, Sender
from processor.stream.snapshots import SnapshotFile
from processor.stream.tally import TallyStage

from .journal_file import JournalFiles, Message
from .measure import BenchError
from .rows import EPOCH, batch, feedback_row, model_keys, prediction_row, request_ids
from .traffic import START, Traffic

WINDOWS = tuple(map(parse_window, ("5m", "1h", "24h", "7d", "all")))
#: Hours of log time from checkpoint to checkpoint.
CHECKPOINT_HOURS = 6
#: Rows of one record, as the packer has them.
_ROWS = 2000

#: Counts by model and bucket, by tier and basis; or counts by model, by window and basis.
Buckets = dict[tuple[int, int], dict[tuple[str, int], Counts]]
Board = dict[tuple[str, int], dict[str, Counts]]


class Sample(NamedTuple):
    """After an hour of log time. ``join`` and ``tally`` are CPU seconds of this hour, ``longest`` those
    of one record in the join, ``flush`` those of a checkpoint, 0 where none was due; ``resident`` is
    the process's memory."""

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
    """All that can be held against the truth, after an hour. Only what its tier still keeps."""

    hour: int
    kept: int
    alone: int
    """Requests that had feedback without a prediction: those that wait, and those told late."""
    buckets: Buckets
    board: Board


class Full(NamedTuple):
    """What the worker leaves behind after the last hour with predictions."""

    next_offset: int
    snapshot_seconds: float
    snapshot_bytes: int
    digest: str
    tally_seconds: float
    """To restore the tally from its table."""
    tally_equal: bool


class Life(NamedTuple):
    """``empty`` is the memory before the first record; ``left`` the requests in memory a horizon
    after the last one, and ``too_late`` those that were told late by then."""

    empty: int
    samples: list[Sample]
    looks: list[Look]
    full: Full
    left: int
    too_late: int


class Restart(NamedTuple):
    """A start of the join; its digest tells one state from another."""

    seconds: float
    resident: int
    digest: str


def write(traffic: Traffic, folder: Path) -> list[int]:
    """Put the traffic in files, a record a minute or more, and a tick; observations by hour."""
    files, models = JournalFiles(folder), model_keys(traffic.models)
    offset, written = 0, []
    for number, arrivals in enumerate(traffic.arrivals()):
        messages = []
        written.append(len(arrivals))
        bounds = arrivals["minute"].searchsorted(np.arange(61) + number * 60).tolist()
        for minute, (first, end) in enumerate(pairwise(bounds)):
            timestamp = (START + (number * 60 + minute) * MINUTE + 59 * SECOND) // 1_000_000
            for at in range(first, end, _ROWS):
                rows = arrivals[at : min(at + _ROWS, end)]
                messages.append(Message(offset, timestamp, _record(models, rows)))
                offset += 1
            tick = encode(Tick(SCHEMA_VERSION, EPOCH, offset))
            messages.append(Message(offset, timestamp, tick))
            offset += 1
        files.write(number, messages)
    return written


def _record(models: list[ModelKey], rows: NDArray[np.void]) -> bytes:
    predictions, feedbacks = [], []
    columns = (rows[name].tolist() for name in ("model", "at", "label", "form"))
    ids = request_ids(rows["id"].tobytes())
    for request_id, model, at, label, form in zip(ids, *columns, strict=True):
        if form < 0:
            predictions.append(prediction_row(request_id, model, START + at, label))
        else:
            feedbacks.append(feedback_row(request_id, model, START + at, label, form))
    return encode(batch(models, predictions, feedbacks))


def start(traffic: Traffic, journal: Path, data: Path, end: int) -> Restart:
    """Start a worker's join on the log up to an offset, with what its data folder has."""
    collect_rarely()
    reader = JournalFiles(journal, end)
    join = _join(traffic, reader, data, None, Telemetry())
    partition = PartitionFold(join, cast(LogReader, reader), "bench")
    begin = time.perf_counter()
    asyncio.run(_opened(partition))
    seconds = time.perf_counter() - begin
    resident = _resident()
    capture = SnapshotFile(data, *_names(traffic)).capture(join.next_offset, join.join.state)
    capture.step(math.inf)
    digest = hashlib.sha256()
    for part in capture.parts:
        digest.update(part)
    return Restart(seconds, resident, digest.hexdigest())


async def _opened(partition: PartitionFold) -> None:
    opening = asyncio.ensure_future(partition.open())
    while not partition.opened.is_set():
        await asyncio.wait([opening], timeout=0.1)
        if partition.failures:  # it would try for ever
            opening.cancel()
            raise BenchError("the log can't be read: see above")


def live(traffic: Traffic, folder: Path, written: Sequence[int]) -> Life:
    """Fold everything as it comes, and what the join sends."""
    collect_rarely()
    return asyncio.run(_Worker(traffic, folder).live(written))


class _Deltas:
    """Takes what the join sends; acknowledged at once."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def send(self, partition: int, value: bytes, offset: int, acks: Acks) -> None:
        self.values.append(value)
        acks.arrived(offset)


class _Worker:
    def __init__(self, traffic: Traffic, folder: Path) -> None:
        self._traffic = traffic
        self._folder = folder
        self._files = JournalFiles(folder / "journal")
        self._deltas = _Deltas()
        self._telemetry = Telemetry()
        self._join = _join(
            traffic, self._files, folder / "data", self._deltas, self._telemetry
        )  # fmt: skip
        self._table: dict[bytes, bytes] = {}
        self._tally = TallyStage(0, EPOCH, "bench", WINDOWS, self._table, Telemetry())
        self._delta_offset = 0
        self._times = [0.0, 0.0]

    async def live(self, written: Sequence[int]) -> Life:
        traffic = self._traffic
        empty, samples, looks, full = _resident(), [], [], None
        for number, observations in enumerate(written):
            samples.append(await self._hour(number, observations))
            if number + 1 in (traffic.hours // 2, traffic.hours, traffic.all_hours):
                looks.append(self._look(number))
            if number + 1 == traffic.hours:
                full = await self._leave()
        assert full is not None
        # As long again as a request is kept, with nothing but ticks.
        end = START + (traffic.all_hours + traffic.horizon + 1) * HOUR
        tick = encode(Tick(SCHEMA_VERSION, EPOCH, 0))
        self._join.fold(self._join.next_offset, end, tick)
        left, too_late = self._kept, self._telemetry.late
        return Life(empty, samples, looks, full, left, too_late)

    async def _hour(self, number: int, observations: int) -> Sample:
        join, tally = self._join, self._tally
        join_seconds = tally_seconds = longest = flush = 0.0
        for offset, timestamp, value in list(self._files.hour(number)):
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
        if not (number + 1) % CHECKPOINT_HOURS:
            begin = time.thread_time()
            tally.flush()
            flush = time.thread_time() - begin
            for _ in tally.board(_clock(number)):
                pass
        table_bytes = sum(len(key) + len(value) for key, value in self._table.items())
        return Sample(
            observations, self._kept, join.join.state.unmatched, _resident(), join_seconds,
            tally_seconds, longest, flush, table_bytes,
        )  # fmt: skip

    @property
    def _kept(self) -> int:
        state = self._join.join.state
        return sum(table.count for table in state.packed) + sum(map(len, state.others))

    def _look(self, number: int) -> Look:
        late = self._telemetry.late + self._join.join.state.unmatched
        return Look(number, self._kept, late, *_shown(self._tally, number))

    async def _leave(self) -> Full:
        """What an orderly end does to the join, and what a start does to the tally."""
        begin = time.perf_counter()
        await self._join.close()
        seconds = time.perf_counter() - begin
        (path,) = (self._folder / "data").glob("*.snapshot")
        shutil.copy(path, self._folder / "restart")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hour = self._traffic.hours - 1
        begin = time.perf_counter()
        again = TallyStage(0, EPOCH, "bench", WINDOWS, self._table, Telemetry())
        await again.load(0, self._delta_offset)
        tally_seconds = time.perf_counter() - begin
        equal = _shown(again, hour) == _shown(self._tally, hour)
        return Full(
            self._join.next_offset, seconds, path.stat().st_size, digest, tally_seconds, equal
        )  # fmt: skip


def _shown(stage: TallyStage, number: int) -> tuple[Buckets, Board]:
    """What the tally keeps, and its windows, after an hour."""
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
    board = Board()
    for model, window, name, counts in stage.board(clock):
        board.setdefault((window, BASES.index(name)), {})[model.deployment] = counts.copy()
    return buckets, board


def _clock(number: int) -> int:
    """The last record's second in an hour."""
    return (START + (number + 1) * HOUR) // SECOND - 1


def _names(traffic: Traffic) -> tuple[str, str, int, int, int]:
    return "bench", EPOCH, 0, 1, traffic.horizon * HOUR


def _join(
    traffic: Traffic, reader: JournalFiles, data: Path, sender: _Deltas | None, telemetry: Telemetry
) -> JoinStage:
    fold = JoinFold(EPOCH, 0, 1, traffic.horizon * HOUR, telemetry)
    return JoinStage(
        fold, "bench/0", cast(LogReader, reader), SnapshotFile(data, *_names(traffic)),
        cast(Sender, sender), telemetry,
    )  # fmt: skip


def _resident() -> int:
    """Bytes of this process in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
