"""Delta batches and checkpoints that are larger than a record."""

from collections.abc import MutableMapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import processor.domain.log.records as records_module
from processor.domain.log.chunking import ChunkAssembler, delta_records
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import ObservationBatch
from processor.domain.log.records import RecordChunk, decode_delta, decode_observation
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.stream.large_table import Key, LargeTable
from processor.stream.tally_stage import TallyStage
from tests.support import log_format_fixture as log_format
from tests.support.domain.join_model import unpacked


@pytest.fixture(scope="module")
def batches() -> list[DeltaBatch]:
    """The deltas of the recorded experiment, all of one partition."""
    join = log_format.new_join()
    found: list[DeltaBatch] = []
    for offset, value in enumerate(log_format.observations()):
        record = decode_observation(value)
        if isinstance(record, ObservationBatch):
            found += unpacked(join.apply(offset, log_format.time_of(offset), record)).values()
    return found


def _board(stage: TallyStage) -> dict[tuple[ModelKey, str, str], Counts]:
    now = log_format.BEGIN / 1e9
    return {(key, window, basis): c.copy() for key, window, basis, c in stage.board(now)}


async def _expected(batches: list[DeltaBatch]) -> dict[tuple[ModelKey, str, str], Counts]:
    stage = log_format.new_tally(0, {})
    await stage.load(0, 0)
    for offset, batch in enumerate(batches):
        (value,) = delta_records(batch)
        stage.fold(offset, log_format.time_of(offset), value)
    return _board(stage)


async def test_a_start_after_any_chunk_gives_the_same_counts(
    batches: list[DeltaBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two senders of one partition: the first is killed within each batch, the second sends it again.
    The worker restarts from its checkpoint after every record."""
    wanted = await _expected(batches)
    monkeypatch.setattr(records_module, "CHUNK_BYTES", 60)
    monkeypatch.setattr("processor.stream.tally_stage._FLUSH_EVERY", 0.0)
    log = []
    for batch in batches:
        chunks = delta_records(batch)
        assert len(chunks) > 3
        log += [*chunks[:2], *chunks, chunks[1]]
    table: dict[bytes, bytes] = {}
    for offset, value in enumerate(log):
        stage = log_format.new_tally(0, table)
        start = await stage.load(0, len(log))
        assert start <= offset
        for number in range(start, offset):
            stage.fold(number, log_format.time_of(number), log[number])
        stage.fold(offset, log_format.time_of(offset), value)
        stage.maybe_flush()
    assert _board(stage) == wanted
    assert not stage.dirty  # no incomplete batch remains


def test_a_batch_is_complete_after_any_order_of_chunks(
    batches: list[DeltaBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "CHUNK_BYTES", 60)
    assembler = ChunkAssembler()
    decoded = [decode_delta(value) for batch in batches for value in delta_records(batch)]
    twice = decoded * 2
    Random(1).shuffle(twice)
    found = [
        whole
        for chunk in twice
        if isinstance(chunk, RecordChunk) and (whole := assembler.add(chunk))
    ]
    assert {batch.offset: batch for batch in found} == {batch.offset: batch for batch in batches}


class _FailingTable(MutableMapping[bytes, bytes]):
    """A table that ignores all changes after a number of them."""

    def __init__(self, kept: dict[bytes, bytes], remaining: int) -> None:
        self.kept, self.remaining = kept, remaining

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.remaining -= 1
        if self.remaining >= 0:
            self.kept[key] = value

    def __delitem__(self, key: bytes) -> None:
        self.remaining -= 1
        if self.remaining >= 0:
            del self.kept[key]

    def __getitem__(self, key: bytes) -> bytes:
        return self.kept[key]

    def __iter__(self) -> Any:
        return iter(dict(self.kept))

    def __len__(self) -> int:
        return len(self.kept)


_SIZES = st.integers(1, 300)
_KEY: Key = (3, "a", 1)


@given(values=st.lists(st.tuples(_SIZES, st.integers(0, 8)), max_size=8))
def test_the_newest_complete_value_survives_a_crash_at_any_time(
    values: list[tuple[int, int]],
) -> None:
    """Each value is written by a process that dies after some changes; the next process goes on."""
    old, records_module.CHUNK_BYTES = records_module.CHUNK_BYTES, 50
    try:
        kept: dict[bytes, bytes] = {}
        newest = -1
        for offset, (size, changes) in enumerate(values):
            value = f"{offset} ".encode().ljust(size, b"x")
            table = LargeTable(_FailingTable(kept, changes))
            table.read(3)
            table.put(_KEY, offset, value)
            if changes >= -(-len(value) // 50):
                newest = offset
            found = LargeTable(kept).read(3).get(_KEY, [])
            offsets = [int(one.split()[0]) for one in found]
            assert max(offsets, default=-1) == newest
            for one in found:
                assert one in {
                    f"{number} ".encode().ljust(length, b"x")
                    for number, (length, _) in enumerate(values)
                }
        reopened = LargeTable(kept)
        reopened.read(3)
        reopened.remove(_KEY)
        assert kept == {}
        assert LargeTable({}).read(4) == {}
    finally:
        records_module.CHUNK_BYTES = old
