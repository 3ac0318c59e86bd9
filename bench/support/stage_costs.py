"""The stages of the stream in one process, on events in memory, each under a clock of CPU time.

There is no Kafka and no client: records are packed as the broker sends them, and what would be sent is
handed to the next stage.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import ConsumerRecord

from processor.domain.events.decoder import Decoder
from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import RawDeltaBatch
from processor.domain.log.observations import SCHEMA_VERSION, ObservationBatch
from processor.domain.log.records import (
    decode_observation,
    decode_raw_delta,
    encode,
)
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.tally.tally import Tally
from processor.kafka.patches import RecordBatch
from processor.settings import Settings
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

from ..messages.kind import Event
from .measure import BenchError

_PARTITIONS, _BATCH = 8, 300
_HORIZON = 7 * 86_400 * 1_000_000_000
STAGES = ("events to rows", "rows to records", "join", "deltas to records", "tally", "all")

T = TypeVar("T")


class _Log:
    """A producer that keeps what is sent, with its partition. No event may become a dead letter."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    async def send(
        self, topic: str, value: bytes, partition: int | None = None, **more: Any
    ) -> None:
        if partition is None:
            headers = {name: text.decode() for name, text in more["headers"]}
            raise BenchError(f"a record for {topic}, since an event can't be read: {headers}")
        self.sent.append((partition, value))


class _Clock:
    """CPU seconds by stage; call it with a stage and its work."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(STAGES, 0.0)

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        begin = time.thread_time()
        found = work()
        cost = time.thread_time() - begin
        self.spent[stage] += cost
        self.spent["all"] += cost
        return found


@dataclass(frozen=True)
class Costs:
    """CPU microseconds per event, by stage, and what the stages counted."""

    events: int
    stages: dict[str, float]
    telemetry: Telemetry


def measure(events: Iterable[Event], at_once: int, rules: ModelRules | None = None) -> Costs:
    """Run the stages on the events; `at_once` of them lie between two sends."""
    rounds = list(_rounds(events, at_once))
    clock, log, telemetry = _Clock(), _Log(), Telemetry()
    decoder = Decoder(rules or ModelRules(), telemetry)
    observation_producer = ObservationProducer(
        decoder, log, "observations", "letters", _PARTITIONS, "epoch"
    )
    folds = [
        JoinFold("epoch", number, _PARTITIONS, _HORIZON, telemetry) for number in range(_PARTITIONS)
    ]
    tallies = [Tally(SCHEMA_VERSION, "epoch", Settings().windows) for _ in folds]
    loop = asyncio.new_event_loop()
    for offset, batches in enumerate(rounds):
        clock("events to rows", partial(_read, observation_producer, batches))
        clock("rows to records", lambda: loop.run_until_complete(observation_producer.send()))
        sent, log.sent = log.sent, []
        for number, (partition, value) in enumerate(sent):
            at = offset * 1000 + number
            deltas = clock("join", partial(_join, folds[partition], at, value))
            records = clock("deltas to records", partial(_encoded, deltas))
            for target, delta in records:
                clock("tally", partial(_count, tallies[target], at, delta))
    loop.close()
    # A record may hold many events.
    count = telemetry.events.total()
    return Costs(
        count, {stage: spent / count * 1e6 for stage, spent in clock.spent.items()}, telemetry
    )


#: A batch as the broker sends it, and its records.
_Fetched = tuple[RecordBatch, list[ConsumerRecord]]


def _rounds(events: Iterable[Event], at_once: int) -> Iterator[list[_Fetched]]:
    """The events in fetches of about `at_once` records, each a list of batches."""
    fetch: list[_Fetched] = []
    records: list[ConsumerRecord] = []
    for offset, (headers, value) in enumerate(events):
        records.append(
            ConsumerRecord("source", 0, offset, 0, 0, None, value, None, -1, 0, tuple(headers))
        )
        if len(records) == min(_BATCH, at_once):
            fetch.append((whole(records), records))
            records = []
        if len(fetch) >= max(1, at_once // _BATCH):
            yield fetch
            fetch = []
    if records:
        fetch.append((whole(records), records))
    yield fetch


def whole(records: Sequence[ConsumerRecord]) -> RecordBatch:
    """A batch of the records, as the broker sends it."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 30,
    )  # fmt: skip
    first = records[0].offset
    for one in records:
        builder.append(one.offset - first, one.timestamp, one.key, one.value, list(one.headers))
    content = bytearray(builder.build())
    content[:8] = first.to_bytes(8, "big")
    return RecordBatch(bytes(content), first, first + len(records))


def _read(observation_producer: ObservationProducer, batches: Sequence[_Fetched]) -> None:
    for batch, records in batches:
        if use_native:
            observation_producer.add_batch("source", 0, batch)
        else:
            observation_producer.add_records("source", 0, records)


def _join(fold: JoinFold, offset: int, value: bytes) -> Deltas:
    batch = decode_observation(value)
    assert isinstance(batch, ObservationBatch)
    return fold.apply(offset, offset, batch)


def _encoded(deltas: Deltas) -> list[tuple[int, bytes]]:
    return [(partition, encode(batch)) for partition, batch in deltas.items()]


def _count(tally: Tally, offset: int, value: bytes) -> None:
    if not tally.apply_encoded(offset, offset, value):
        batch = decode_raw_delta(value)
        assert isinstance(batch, RawDeltaBatch)
        tally.apply(offset, offset, batch)
