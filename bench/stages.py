"""Measure the CPU time of each stage of the stream, in µs per event, native and in Python.

All stages run in one process on the load's events, without Kafka and its client.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import ConsumerRecord

from processor.cli.options import collect_rarely
from processor.domain.events.decoder import Decoder
from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.log.records import (
    Heartbeat,
    decode_delta,
    decode_observation,
    encode,
)
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.tally.tally import Tally
from processor.kafka.patches import RecordBatch
from processor.settings import Settings
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry

from .support.command import command, parser
from .support.load import Load
from .support.measure import run_json

_PARTITIONS, _BATCH = 8, 300
_HORIZON = 7 * 86_400 * 1_000_000_000
_STAGES = ("events to rows", "rows to records", "join", "deltas to records", "tally", "all")

T = TypeVar("T")


class _Log:
    """A producer that keeps what is sent, with its partition."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    async def send(self, _: str, value: bytes, partition: int, **__: Any) -> None:
        self.sent.append((partition, value))


class _Clock:
    """CPU seconds by stage; call it with a stage and its work."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(_STAGES, 0.0)

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        begin = time.thread_time()
        found = work()
        cost = time.thread_time() - begin
        self.spent[stage] += cost
        self.spent["all"] += cost
        return found


@command
def main(arguments: Sequence[str] | None = None) -> int:
    line = parser("bench.stages", __doc__, "--events 30000 --models 100")
    line.add_argument("--events", type=int, default=300_000, help="number of events (%(default)s)")
    line.add_argument("--models", type=int, default=10, help="number of deployments (%(default)s)")
    line.add_argument("--classes", type=int, default=3, help="classes of each model (%(default)s)")
    line.add_argument(
        "--at-once", type=int, default=12_000,
        help="events between sends: fewer make smaller records (%(default)s)",
    )  # fmt: skip
    line.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = line.parse_args(arguments)
    if options.child:
        collect_rarely()
        load = Load.of_events(options.events, options.models, classes=options.classes)
        print(json.dumps(measure(load, options.at_once)))
        return 0
    passed = ["--child", "--events", str(options.events), "--models", str(options.models)]
    passed += ["--at-once", str(options.at_once), "--classes", str(options.classes)]
    found = {
        name: run_json("bench.stages", passed, os.environ | {"PROCESSOR_COMPILED": name})
        for name in ("auto", "off")
    }
    print("| stage | native, CPU µs/event | Python | ratio |\n|---|--:|--:|--:|")
    for stage in _STAGES:
        fast, slow = found["auto"][stage], found["off"][stage]
        print(f"| {stage} | {fast:.2f} | {slow:.2f} | {slow / fast:.1f} |")
    return 0


def measure(load: Load, at_once: int) -> dict[str, float]:
    """CPU µs per event, by stage; `at_once` events lie between two sends."""
    rounds = list(_rounds(load, at_once))
    clock, log, telemetry = _Clock(), _Log(), Telemetry()
    decoder = Decoder(ModelRules(), telemetry)
    observation_producer = ObservationProducer(
        decoder, log, "observations", "letters", _PARTITIONS, "epoch"
    )
    folds = [
        JoinFold("epoch", number, _PARTITIONS, _HORIZON, telemetry) for number in range(_PARTITIONS)
    ]
    tallies = [Tally(SCHEMA_VERSION, "epoch", Settings().windows) for _ in folds]
    loop = asyncio.new_event_loop()
    count = 0
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
        count += sum(len(events) for _, events in batches)
    loop.close()
    joined = load.expected().judged
    assert telemetry.joined == joined, (telemetry.joined, joined)
    return {stage: spent / count * 1e6 for stage, spent in clock.spent.items()}


#: A batch as the broker sends it, and its records.
_Fetched = tuple[RecordBatch, list[ConsumerRecord]]


def _rounds(load: Load, at_once: int) -> Iterator[list[_Fetched]]:
    """The load in fetches of about `at_once` events, each a list of batches."""
    fetch: list[_Fetched] = []
    records: list[ConsumerRecord] = []
    for offset, (headers, value) in enumerate(load.events()):
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
    assert not isinstance(batch, Heartbeat)
    return fold.apply(offset, offset, batch)


def _encoded(deltas: Deltas) -> list[tuple[int, bytes]]:
    return [(partition, encode(batch)) for partition, batch in deltas.items()]


def _count(tally: Tally, offset: int, value: bytes) -> None:
    batch = decode_delta(value)
    assert isinstance(batch, DeltaBatch)
    tally.apply(offset, offset, batch)


if __name__ == "__main__":
    sys.exit(main())
