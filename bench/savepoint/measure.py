"""One run of `python -m bench.savepoint`."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.domain.join.fold import JoinFold
from processor.domain.join.loading import apply_loaded
from processor.domain.join.state import JoinState
from processor.domain.log.loaded import LoadedRequests, LoadedState
from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.domain.log.records import decode_observation, decode_raw_delta, encode
from processor.domain.savepoint.contents import End, Header
from processor.domain.savepoint.loading import LoadRecord
from processor.domain.tally.tally import Tally
from processor.domain.timestamps import HOUR, SECOND
from processor.savepoint.file import SavepointReader, SavepointWriter
from processor.savepoint.transfer import load, save
from processor.telemetry import Telemetry

from ..support.measure import resident_bytes
from ..support.rows import EPOCH, LABELS, TRUTH, feedback_rows, model_keys, packed_batch
from ..support.rows import prediction_rows as rows_of_predictions

_MODELS, _PER_BATCH, _SHARE, _RATE = 10, 2000, 0.63, 500
_START, _HORIZON = 1_700_000_000 * SECOND, 14 * 24 * HOUR
_PARTITIONS = 1


class Result(NamedTuple):
    """For one number of requests; times are CPU seconds, memory is what it grew by."""

    requests: int
    file_bytes: int
    save: float
    save_memory: int
    load: float
    fold: float


def measure(requests: int, step: int) -> Result:
    """Save the state of that many requests with times in steps of so many ns, and load it again."""
    old = _App()
    for offset, (now, batch) in enumerate(_batches(requests, step)):
        old.add(old.fold.apply(offset, now, batch).items())
        old.now = now
    before, counts = resident_bytes(), old.totals()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "savepoint"
        peak = [before]
        begin = time.thread_time()
        with path.open("wb") as file:
            end = asyncio.run(save(old, SavepointWriter(file), lambda _: _note(peak)))
        saving = time.thread_time() - begin
        new = _App()
        new.now = old.now
        begin = time.thread_time()
        with path.open("rb") as file:
            asyncio.run(load(SavepointReader(file, str(path)), new, lambda _: None))
        loading = time.thread_time() - begin - new.spent
        assert new.totals() == counts, "the counts differ"
        size = path.stat().st_size
    return Result(end.requests, size, saving, max(peak) - before, loading, new.spent)


def _note(peak: list[int]) -> None:
    peak[0] = max(peak[0], resident_bytes())


class _App:
    """One partition of a join, and all tallies."""

    def __init__(self) -> None:
        self.log_id, self.partitions, self.now, self.spent = EPOCH, _PARTITIONS, 0, 0.0
        self.fold = JoinFold(EPOCH, 0, _PARTITIONS, _HORIZON, Telemetry())
        self._tallies = [Tally(SCHEMA_VERSION, EPOCH, ()) for _ in range(_PARTITIONS)]
        self._offset = 0

    def add(self, deltas: Iterable[tuple[int, object]]) -> None:
        for target, batch in deltas:
            record = decode_raw_delta(encode(batch))
            self._tallies[target].apply(0, self.now, record)  # type: ignore[arg-type]

    def totals(self) -> dict[object, object]:
        for tally in self._tallies:
            list(tally.cohorts())  # adds fresh changes to the tiers
        return {
            (key, tier, basis, bucket): counts.totals()
            for tally in self._tallies
            for key, one in tally.models.items()
            for tier, bases in enumerate(one.tiers)
            for basis, buckets in enumerate(bases)
            for bucket, counts in buckets.items()
            if any(counts.totals())
        }

    async def open(self) -> Header:
        return Header("id", "bench", SCHEMA_VERSION, "bench", self.now, 0, 0, 1)

    def log_times(self) -> Sequence[int]:
        return [tally.log_time for tally in self._tallies]

    async def joins(self) -> AsyncIterator[tuple[int, JoinState]]:
        yield 0, self.fold.state

    def tallies(self) -> Sequence[Tally]:
        return self._tallies

    async def evicted(self) -> int:
        return 0

    async def send(self, records: Iterable[LoadRecord]) -> None:
        for deltas, partition, value in records:
            if deltas:
                record = decode_raw_delta(value)
                self._tallies[partition].apply(0, self.now, record)  # type: ignore[arg-type]
                continue
            begin = time.thread_time()
            loaded = decode_observation(value)
            assert isinstance(loaded, LoadedRequests | LoadedState)
            self._offset += 1
            self.add(apply_loaded(self.fold, self._offset, self.now, loaded).items())
            self.spent += time.thread_time() - begin

    async def finish(self, header: Header, end: End, size: int) -> None:
        pass


def _batches(requests: int, step: int) -> Iterator[tuple[int, ObservationBatch]]:
    """Records as they are read from the log, each with its append time."""
    rng = np.random.default_rng(5)
    models = model_keys(_MODELS)
    for made in range(0, requests, _PER_BATCH):
        now = _START + made * (SECOND // _RATE)
        ids = _uuids(rng, _PER_BATCH)
        model = rng.integers(0, _MODELS, _PER_BATCH)
        times = (now - rng.integers(0, 4 * SECOND, _PER_BATCH)) // step * step
        label = rng.integers(0, len(LABELS), _PER_BATCH)
        predictions = rows_of_predictions(ids, model, times, label)
        judged = np.flatnonzero(rng.random(_PER_BATCH) < _SHARE)
        delays = rng.exponential(600 * SECOND, len(judged)).astype(np.int64)
        later = (times[judged] + delays) // step * step
        form = np.full(len(judged), TRUTH)
        actual = rng.integers(0, len(LABELS), len(judged))
        feedbacks = feedback_rows(ids[judged], model[judged], later, actual, form)
        yield (
            now,
            packed_batch(models, predictions.part(0, _PER_BATCH), feedbacks.part(0, len(judged))),
        )


def _uuids(rng: np.random.Generator, number: int) -> NDArray[np.void]:
    """Random UUIDs, which are of version 4: 122 of the bits are random."""
    ids = np.frombuffer(rng.bytes(16 * number), np.uint8).reshape(-1, 16).copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x40
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids.view(np.dtype("V16")).ravel()
