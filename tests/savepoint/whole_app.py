"""The folds of all partitions of an app without Kafka: what comes, time that passes, and a move to
another app through a savepoint."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from processor.domain.join.fold import JoinFold
from processor.domain.join.loading import apply_loaded
from processor.domain.join.state import JoinState
from processor.domain.log.chunking import ChunkAssembler, delta_records
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import (
    SCHEMA_VERSION,
    BatchBuilder,
    Feedback,
    IngestMode,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import (
    Heartbeat,
    RecordChunk,
    decode_observation,
    decode_raw_delta,
    encode,
)
from processor.domain.model_key import ModelKey
from processor.domain.savepoint.contents import End, Header
from processor.domain.savepoint.loading import LoadRecord
from processor.domain.statistics.counts import Counts
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import parse_window
from processor.savepoint.file import SavepointReader, SavepointWriter
from processor.savepoint.transfer import load, save
from processor.telemetry import Telemetry
from tests.support.domain.join_model import Gauges, gauges
from tests.support.domain.tally_model import Buckets, counts_in, retained

WINDOWS = tuple(map(parse_window, ("5m", "1h", "24h", "7d", "all")))
SECOND = 10**9
#: The hour in which a request was first seen, its predictions and its feedback.
Known = tuple[int, list[Any], list[Any]]


class WholeApp:
    """An app with some partitions; times are in ns. It is a source of state and a sink."""

    def __init__(self, partitions: int, horizon: int, log_id: str = "log") -> None:
        self.log_id = log_id
        self.partitions = partitions
        self.horizon = horizon
        self.now = 0
        self.folds = [
            JoinFold(log_id, number, partitions, horizon, Telemetry())
            for number in range(partitions)
        ]
        self._tallies = [Tally(SCHEMA_VERSION, log_id, WINDOWS) for _ in range(partitions)]
        self._chunks = ChunkAssembler()
        self._offset = 0

    def put(self, mode: IngestMode, seen: Iterable[Prediction | Feedback]) -> None:
        """Put observations on the log."""
        builders: dict[int, BatchBuilder] = {}
        for one in seen:
            partition = partition_of(one.request_id, self.partitions)
            builders.setdefault(partition, BatchBuilder()).add(one)
        for partition, builder in builders.items():
            self.fold(partition, encode(builder.build(self.log_id, mode)))

    def pass_time(self, now: int) -> None:
        """A heartbeat on every partition of both logs."""
        self.now = max(now, self.now)
        for partition in range(self.partitions):
            self.fold(partition, encode(Heartbeat(SCHEMA_VERSION, self.log_id, 0)))
            self._tallies[partition].advance(self._offset, self.now)

    def evict(self, before: int) -> None:
        """Evict the requests first seen before a log hour."""
        for fold in self.folds:
            fold.evict(before)

    def fold(self, partition: int, value: bytes) -> None:
        """Fold a record of the observations, and the deltas that it sends."""
        self._offset += 1
        record, fold = decode_observation(value), self.folds[partition]
        if isinstance(record, Heartbeat):
            fold.advance(self.now)
            return
        deltas = (
            fold.apply(self._offset, self.now, record)
            if isinstance(record, ObservationBatch)
            else apply_loaded(fold, self._offset, self.now, record)
        )
        for target, batch in deltas.items():
            for sent in delta_records(batch):
                self.fold_delta(target, sent)

    def fold_delta(self, partition: int, value: bytes) -> None:
        """Fold a record of the deltas."""
        self._offset += 1
        record = decode_raw_delta(value)
        assert not isinstance(record, Heartbeat)
        if isinstance(record, RecordChunk):
            batch = self._chunks.add(record)
            if batch is None:
                return
            assert self._tallies[partition].apply(self._offset, self.now, batch)
        else:
            assert self._tallies[partition].apply(self._offset, self.now, record)

    # -- what is compared

    def buckets(self) -> Buckets:
        """The counts of all models that every tally must have now."""
        found: Buckets = {}
        for tally in self._tallies:
            found |= counts_in(tally)
        return retained(found, self.now // SECOND)

    def windows(self) -> dict[tuple[ModelKey, str, str], Counts]:
        """The counts of all windows now, without empty ones."""
        return {
            (model, window, basis): Counts(*counts.totals(), dict(counts.cells), dict(counts.sums))
            for tally in self._tallies
            for model, window, basis, counts in tally.window_counts(self.now / SECOND)
            if not counts.is_empty()
        }

    def gauges(self) -> Gauges:
        """The diagnostics of all partitions."""
        return gauges(fold.state for fold in self.folds)

    def requests(self) -> dict[tuple[str, str, str], Known]:
        """What is known of each request in memory, whatever the order in which it came."""
        found: dict[tuple[str, str, str], Known] = {}
        for fold in self.folds:
            state = fold.state
            for (deployment, request_id), request in fold.refs():
                key = (*state.deployments[deployment], request_id)
                found[key] = (
                    request.first_seen_hour,
                    sorted(
                        (
                            state.models[one.model],
                            one.time,
                            one.digest,
                            one.provisional,
                            one.restored,
                        )
                        for one in request.predictions
                    ),
                    sorted(
                        (state.models[one.scope], one.time, one.digest, one.truth is None)
                        for one in request.feedbacks
                    ),
                )
        return found

    # -- a source of state, and a sink

    async def open(self) -> Header:
        horizon = self.horizon // SECOND
        return Header("id", "1", SCHEMA_VERSION, "app", self.now, 0, horizon, self.partitions)

    def log_times(self) -> Sequence[int]:
        return [tally.log_time for tally in self._tallies]

    async def joins(self) -> AsyncIterator[tuple[int, JoinState]]:
        for number, fold in enumerate(self.folds):
            yield number, fold.state

    def tallies(self) -> Sequence[Tally]:
        return self._tallies

    async def evicted(self) -> int:
        return 0

    async def send(self, records: Iterable[LoadRecord]) -> None:
        for record in records:
            self.fold_loaded(record)

    def fold_loaded(self, record: LoadRecord) -> None:
        """Fold a record of a load."""
        (self.fold_delta if record.deltas else self.fold)(record.partition, record.value)

    async def finish(self, header: Header, end: End, size: int) -> None:
        """Nothing remains."""


def saved(app: WholeApp) -> bytes:
    """A savepoint of an app, which must not go on: its counts are changed."""
    file = io.BytesIO()
    asyncio.run(save(app, SavepointWriter(file), lambda _: None))
    return file.getvalue()


def reader(content: bytes) -> SavepointReader:
    """A reader of a savepoint."""
    return SavepointReader(io.BytesIO(content), "the file")


class _Killed(Exception):
    pass


class _KilledHalfWay:
    """A sink that is gone after some records."""

    def __init__(self, app: WholeApp, records: int) -> None:
        self._app = app
        self._left = records

    def __getattr__(self, name: str) -> object:
        return getattr(self._app, name)

    async def send(self, records: Iterable[LoadRecord]) -> None:
        for record in records:
            if not self._left:
                raise _Killed
            self._left -= 1
            self._app.fold_loaded(record)


def moved(content: bytes, app: WholeApp, killed_after: Sequence[int] = ()) -> WholeApp:
    """The app, with a savepoint in it. Each of ``killed_after`` is a load before the last one that ends
    after so many records."""
    for records in killed_after:
        sink: Any = _KilledHalfWay(app, records)
        with contextlib.suppress(_Killed):
            asyncio.run(load(reader(content), sink, lambda _: None))
    asyncio.run(load(reader(content), app, lambda _: None))
    return app
