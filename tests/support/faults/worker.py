"""`processor run` with a fault planted in it: FAULT=NAME:NUMBER. The product itself has no hooks."""

import asyncio
import os
from collections.abc import Callable, Iterator, MutableMapping
from math import inf
from typing import Any

from processor.cli.main import main
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch, read_deltas, unpack
from processor.domain.log.observations import ObservationBatch
from processor.domain.tally import tally as tally_module
from processor.domain.tally.bucket_counts import BucketFactory
from processor.domain.tally.model_tally import retention_floors
from processor.domain.tally.tally import Tally
from processor.kafka.patches import import_faust
from processor.service import watchdog
from processor.stream import ingest, table_recovery
from processor.stream.delta_producer import Acks, DeltaProducer
from processor.stream.ingest import SourceIngest
from processor.stream.large_table import table_key
from processor.stream.table_recovery import TableRecovery
from processor.stream.tally_stage import TallyStage, value_key

#: The exit code of a crash that was planted.
CRASHED = 77

_, driver = import_faust()


class PlantedError(Exception):
    """Raised by a planted fault."""


def join_halfway(number: int) -> None:
    """The ``number``-th batch of the process raises after its predictions, before its feedback."""
    apply, calls = JoinFold.apply, Countdown(number)

    def faulty(fold: JoinFold, offset: int, timestamp: int, batch: ObservationBatch) -> Any:
        if not calls.now():
            return apply(fold, offset, timestamp, batch)
        way = type(fold._fast_path)
        feed = way.apply_feedback

        def failing(*_: Any) -> Any:
            raise PlantedError("half-way in the join")

        plant(way, "apply_feedback", failing)
        try:
            return apply(fold, offset, timestamp, batch)
        finally:
            plant(way, "apply_feedback", feed)

    plant(JoinFold, "apply", faulty)


def _plant_in_tally(apply: Callable[..., bool]) -> None:
    """Take the place of `Tally.apply`, and let every batch go there."""
    plant(Tally, "apply_encoded", lambda *_: False)
    plant(Tally, "apply", apply)


def tally_halfway(number: int) -> None:
    """In the ``number``-th batch of the process, the second delta raises."""
    apply, calls = Tally.apply, Countdown(number)

    def faulty(tally: Tally, offset: int, timestamp: int, batch: DeltaBatch) -> bool:
        if len(read_deltas(batch)) < 2 or not calls.now():
            return apply(tally, offset, timestamp, batch)
        add_deltas = BucketFactory.add_deltas
        rows = Countdown(2)

        def add_one(factory: BucketFactory, batch: DeltaBatch, changes: Any) -> None:
            batch = DeltaBatch(
                batch.version, batch.log_id, batch.source, batch.offset, batch.prev, batch.models,
                batch.labels, read_deltas(batch)[:1],
            )  # fmt: skip
            add_deltas(factory, batch, changes)
            raise PlantedError("half-way in the tally")

        def unpack_one(*args: Any) -> Any:
            if rows.now():
                raise PlantedError("half-way in the tally")
            return unpack(*args)

        plant(BucketFactory, "add_deltas", add_one)
        plant(tally_module, "unpack", unpack_one)
        try:
            return apply(tally, offset, timestamp, batch)
        finally:
            plant(BucketFactory, "add_deltas", add_deltas)
            plant(tally_module, "unpack", unpack)

    _plant_in_tally(faulty)


def crash_before_floor(number: int) -> None:
    """The ``number``-th flush gets all its values to the broker, not its floor; then the crash."""
    _crash_in_flush(number, lambda stage, _: TornTable(stage.values.table, None, floor_of(stage)))


def crash_between_values(number: int) -> None:
    """The ``number``-th flush gets half of its values to the broker; then the crash."""
    _crash_in_flush(
        number,
        lambda stage, dirty: TornTable(stage.values.table, max(1, dirty // 2), floor_of(stage)),
    )


def lost_delta(number: int) -> None:
    """The ``number``-th delta is neither sent nor acknowledged."""
    send, calls = DeltaProducer.send, Countdown(number)

    async def faulty(
        delta_producer: DeltaProducer, partition: int, value: bytes, offset: int, acks: Acks
    ) -> None:
        if calls.now():
            print(f"planted: the delta of {offset} for {partition} is lost", flush=True)
            return
        await send(delta_producer, partition, value, offset, acks)

    plant(DeltaProducer, "send", faulty)


def blocked_fold(number: int) -> None:
    """The ``number``-th delta's fold waits for ever; the watchdog waits for seconds, not minutes."""
    silent_fold(number)
    short_watchdog(3)


def silent_fold(number: int) -> None:
    """The ``number``-th delta's fold waits for ever."""
    emit, calls = TallyStage.emit, Countdown(number)

    async def faulty(stage: TallyStage) -> None:
        if calls.now():
            print("planted: the fold waits for ever", flush=True)
            await asyncio.Event().wait()
        await emit(stage)

    plant(TallyStage, "emit", faulty)


def failing_fold(number: int) -> None:
    """No batch of deltas from the ``number``-th on can be folded."""
    apply, left = Tally.apply, number

    def faulty(tally: Tally, offset: int, timestamp: int, batch: DeltaBatch) -> bool:
        nonlocal left
        left -= 1
        if left <= 0 and read_deltas(batch):
            raise PlantedError("it can't be folded")
        return apply(tally, offset, timestamp, batch)

    _plant_in_tally(faulty)


def slow_source(number: int) -> None:
    """So many records of the source are read in a second."""
    add = SourceIngest._add

    async def faulty(reader: SourceIngest, found: Any) -> Any:
        await asyncio.sleep(1.0)
        return await add(reader, found)

    plant(SourceIngest, "_add", faulty)
    plant(ingest, "_MAX_RECORDS", number)


def lost_changelog(number: int) -> None:
    """Nothing of the table's changelog comes, until its recovery was started again ``number`` times;
    that takes seconds of patience."""
    fetch, check, left = driver.AIOKafkaConsumerThread._fetch_records, TableRecovery.check, number

    async def faulty(*args: Any, **limits: Any) -> Any:
        found = await fetch(*args, **limits)
        lost = [tp for tp in found if left > 0 and tp.topic.endswith("-changelog")]
        return {tp: records for tp, records in found.items() if tp not in lost}

    def counting(recovery: TableRecovery) -> None:
        nonlocal left
        before = recovery._patience
        check(recovery)
        left -= recovery._patience > before

    plant(driver.AIOKafkaConsumerThread, "_fetch_records", faulty)
    plant(TableRecovery, "check", counting)
    plant(table_recovery, "PATIENCE", 2)


def short_watchdog(seconds: int) -> None:
    """The watchdog's limit in seconds."""
    for name, value in (
        ("EVERY", 0.5),
        ("PATIENCE", 2.0),
        ("LIMIT", seconds),
        ("END", seconds + 3),
    ):
        plant(watchdog, name, value)


def plant(target: object, name: str, value: object) -> None:
    """Put a faulty part in the place of the product's."""
    setattr(target, name, value)


class Countdown:
    """`now` is true at the ``number``-th call alone."""

    def __init__(self, number: int) -> None:
        self._left = number

    def now(self) -> bool:
        self._left -= 1
        return self._left == 0


class TornTable(MutableMapping[bytes, bytes]):
    """Takes so many values (None: all) and no floor; the rest is written nowhere."""

    def __init__(self, table: Any, values: int | None, floor: bytes) -> None:
        self.table = table
        self._left = values
        self._floor = floor

    def __setitem__(self, key: bytes, value: bytes) -> None:
        if key == self._floor or self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        self.table[key] = value

    def __delitem__(self, key: bytes) -> None:
        pass

    def __getitem__(self, key: bytes) -> bytes:
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def floor_of(stage: TallyStage) -> bytes:
    return table_key(value_key(stage._partition, None))


def _crash_in_flush(number: int, torn: Callable[[TallyStage, int], TornTable]) -> None:
    begin, write, calls = TallyStage._begin_flush, TallyStage._write_slice, Countdown(number)
    crashing: list[asyncio.Task[None]] = []

    async def crash(table: Any) -> None:
        # The table sends in the background; what the flush wrote must be on the broker.
        await asyncio.sleep(0.2)
        await table.app.producer.flush()
        os._exit(CRASHED)

    def faulty_begin(stage: TallyStage) -> None:
        begin(stage)
        if crashing or not calls.now():
            return
        floors = retention_floors(stage.tally.log_time)
        dirty = 0
        for model in stage.tally.models.values():
            model.apply_fresh(floors)
            dirty += len(model.dirty)
        table = torn(stage, dirty)
        stage.values.table = table
        crashing.append(asyncio.get_running_loop().create_task(crash(table.table)))
        write(stage, inf)

    def faulty_write(stage: TallyStage, seconds: float) -> None:
        if not crashing:
            write(stage, seconds)

    plant(TallyStage, "_begin_flush", faulty_begin)
    plant(TallyStage, "_write_slice", faulty_write)


FAULTS = {
    fault.__name__: fault
    for fault in (
        *(join_halfway, tally_halfway, crash_before_floor, crash_between_values, lost_delta),
        *(blocked_fold, silent_fold, failing_fold, slow_source, lost_changelog, short_watchdog),
    )
}

if __name__ == "__main__":
    name, _, at = os.environ.pop("FAULT").partition(":")
    FAULTS[name](int(at))
    main()
