"""What is compiled does what the Python beside it does, to the last byte of what it sends and keeps."""

import asyncio
import gc
import random
import shutil
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stages import whole
from processor.archive.elasticsearch.archive import Page, Shard
from processor.backfill.bootstrap import Bootstrap
from processor.backfill.bootstrap_policy import BootstrapPolicy
from processor.domain import native
from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.fold import JoinFold
from processor.domain.join.native_delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.packed_table import CopyOnWrite, PackedTable
from processor.domain.log.deltas import DeltaBatch, unpack
from processor.domain.log.observations import (
    BatchBuilder,
    Feedback,
    IngestMode,
    ObservationBatch,
    Prediction,
)
from processor.domain.log.records import Heartbeat, decode_observation, encode
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.timestamps import HOUR
from processor.domain.values import TEXT, Answer, Reading, Schema
from processor.kafka.patches import RecordBatch
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry
from tests.domain.events.test_document_batches import Documents, document
from tests.domain.events.test_document_batches import made as documents_of
from tests.domain.events.test_event_lines import AS_OF
from tests.domain.events.test_fuzz import _body, _headers
from tests.domain.join.test_join_properties import stored
from tests.support.envelope_kinds import FEEDBACK, NS, RESPONSE, binary
from tests.support.join_model import Observation, observations, unpacked
from tests.support.payload_kinds import Payload

needs_compiled = pytest.mark.skipif(
    not native.use_native, reason="the compiled part is not installed, or switched off"
)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="no Rust compiler here")
def test_it_is_there_where_it_can_be_built() -> None:
    assert native.native is not None


def test_all_works_where_it_is_not() -> None:
    """Without a Rust compiler there is no such module to import."""
    code = (
        "import sys; sys.modules['processor._native'] = None\n"
        "import processor.cli.main, processor.service.service\n"
        "from processor.domain.native import use_native; assert not use_native"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


Step = tuple[list[Observation], IngestMode, int]

#: Observations of a batch, the terms on which it comes, and the hours since the last one.
steps = st.tuples(
    observations,
    st.sampled_from(
        (IngestMode.NORMAL,) * 4
        + (IngestMode.COUNT_AND_DROP,) * 3
        + (IngestMode.IF_PRESENT, IngestMode.RESTORED, IngestMode.EXPIRED)
    ),
    st.sampled_from((0, 0, 0, 1, 3)),
)


def folded(
    course: Sequence[Step], interpreted: bool, judged: bool
) -> tuple[list[bytes], list[bytes], object, object]:
    """The deltas of a course of batches, the states after them, and what else was noted."""
    with pytest.MonkeyPatch.context() as patch:
        if interpreted:
            patch.setattr("processor.domain.join.fold.use_native", False)
            patch.setattr("processor.domain.join.request_store.expire", PackedTable.expire)
        fold = JoinFold("epoch", 0, 3, 4 * HOUR, Telemetry())
        fold.judged = {} if judged else None
        deltas, states, time = [], [], 0
        for offset, (seen, mode, hours) in enumerate(course):
            time += hours * HOUR
            builder = BatchBuilder()
            for one in seen:
                builder.add(one)
            packed = encode(builder.build("epoch", mode))
            batch = decode_observation(packed)
            assert not isinstance(batch, Heartbeat)
            found = unpacked(fold.apply(offset, time, batch))
            deltas += [_sent(found[target], mode) for target in sorted(found)]
            # The order of what came first of settled requests is no part of what is known.
            state = fold.state
            state.sent = dict(sorted(state.sent.items()))
            state.not_scorable = dict(sorted(state.not_scorable.items()))
            states.append(stored(fold.state))
        return deltas, states, fold.telemetry, fold.judged


def _sent(batch: DeltaBatch, mode: IngestMode) -> bytes:
    """A batch of deltas as it is sent; of settled requests, whose order is free, in one order."""
    if mode != IngestMode.COUNT_AND_DROP:
        return encode(batch)
    changes = [
        (batch.models[one.model], one.basis, one.minute, one.totals,
         sorted(unpack(one, batch.labels).cells.items()))
        for one in batch.deltas
    ]  # fmt: skip
    return encode((batch.offset, batch.prev, sorted(changes)))


@needs_compiled
@settings(max_examples=200, deadline=None)
@given(
    st.lists(steps, min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from((0, 9999)),
)
def test_the_join(course: list[Step], judged: bool, memory: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.domain.join.native_delta_accumulator._MEMORY", memory)
        ours = folded(course, interpreted=False, judged=judged)
    assert ours == folded(course, interpreted=True, judged=judged)


@needs_compiled
def test_tables_that_grow_while_they_are_copied() -> None:
    """Thousands of requests, so that buckets split, with a snapshot that is taken meanwhile."""
    rng = random.Random(7)
    ids = [f"{rng.getrandbits(128):032x}" for _ in range(6000)]
    rows = [
        [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}", 0, 5 + n, 1, n % 3, 0, False]
        for n, t in enumerate(ids)
    ]
    answers = [["x", None, 1, 0]]
    states = []
    for interpreted in False, True:
        with pytest.MonkeyPatch.context() as patch:
            if interpreted:
                patch.setattr("processor.domain.join.fold.use_native", False)
            fold = JoinFold("epoch", 0, 3, None, Telemetry())
            kept: list[CopyOnWrite | None] = []
            for start in range(0, len(rows), 1000):
                schema: list[Any] = [None, None, 0.5, False]
                packed = encode(
                    ["o", 2, "epoch", [["ns", "dep", "p", "m"]], [schema], answers, [],
                     rows[start : start + 1000], []],
                )  # fmt: skip
                batch = decode_observation(packed)
                assert isinstance(batch, ObservationBatch)
                if start == 2000:
                    table = fold.state.packed_requests[0]
                    table.copy_on_write = CopyOnWrite(0, len(table.buckets))
                fold.apply(start, 0, batch)
                kept.append(fold.state.packed_requests[0].copy_on_write)
            fold.state.packed_requests[0].copy_on_write = None
            states.append((stored(fold.state), kept))
    assert states[0] == states[1]
    assert fold.state.packed_requests[0].count == 6000


USUAL = [
    binary(Payload(body, "application/json"), kind)
    for kind, bodies in {
        RESPONSE: (
            b'{"data":{"names":["a","b","c"],"ndarray":[[0.1,0.7,0.2]]},"meta":{"tags":{"x":[1]}}}',
            b'{"meta": {}, "data": {"ndarray": [[0.25, 0.75, 1e-3]]}}',
            b'{"data":{"ndarray":["cat"]}}',
            b'{"data":{"names":["a","b"],"ndarray":[[1,0]]}}',
        ),
        FEEDBACK: (
            b'{"reward":1}',
            b'{"reward":0.5,"truth":{"data":{"ndarray":[[0,1,0]]}}}',
            b'{"truth":{"data":{"names":["a","b","c"],"ndarray":[[0.2,0.5,0.3]]}},"meta":{}}',
            b'{"reward":-2,"truth":{}}',
        ),
    }.items()
    for body in bodies
]


def events(count: int) -> Iterator[RawEvent]:
    """Usual ones, and such as were changed a little; the same each time."""
    rng = random.Random(20261120)
    for number in range(count):
        seed = rng.choice(USUAL)
        identity = f"0a1b2c3d-0000-4000-8000-{number % 997:012x}".encode()
        headers = [
            (name, identity if name == "ce_requestid" else value) for name, value in seed.headers
        ]
        body = seed.value
        chance = rng.random()
        if chance < 0.45:
            body = _body(rng, body or b"", rng.choice(USUAL).value or b"")
        elif chance < 0.6:
            changed = _headers(rng, headers)
            # Of a header that stands twice any may count.
            headers = changed if len(dict(changed)) == len(changed) else headers
        elif chance < 0.7:
            time = rng.choice(
                (b"2026-11-20T09:00:00Z", b"2026-02-30T09:00:00Z", b"2026-11-20T23:59:60Z",
                 b"2024-02-29T12:00:00.5Z", b"2026-11-20T09:00:00.123456789123Z", 
                 b"1969-01-01T00:00:00Z",
                 b"2026-11-20 09:00:00Z", b"2026-11-20T09:00:00+01:00", b"2262-01-01T00:00:00Z",
                 b"2026-11-20T24:00:00Z", b"2099-11-20T09:00:00.000000001Z", b"2026-1-20T09:00:00.0Z")
            )  # fmt: skip
            headers = [(name, time if name == "ce_time" else value) for name, value in headers]
        yield RawEvent(headers, body, rng.choice((NS, NS, 0)))


class _Producer:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, dict[str, Any]]] = []

    async def send(self, topic: str, value: bytes | None, **more: Any) -> "asyncio.Future[object]":
        self.sent.append((topic, value, more))
        # Never acknowledged.
        return asyncio.get_running_loop().create_future()


EncodedRows = Counter[object]


def rows_of(value: bytes | None, partition: int) -> EncodedRows:
    """The rows of a record, with what they point at."""
    rows: EncodedRows = Counter()
    batch = decode_observation(value or b"")
    assert isinstance(batch, ObservationBatch)
    for made in batch.prediction_rows():
        several = [made.answers] if isinstance(made.answers, int) else made.answers
        said = [
            (row.label, row.reason, row.mode, batch.schemas[row.schema])
            for row in map(batch.answers.__getitem__, several)
        ]
        model = tuple(batch.models[made.model])
        fixed: tuple[object, ...] = (
            made.request_id,
            made.time,
            made.source_rank,
            made.digest,
            made.provisional,
        )
        rows[partition, model, fixed, tuple(said)] += 1
    for judged in batch.feedback_rows():
        held = [judged.truth] if isinstance(judged.truth, int) else judged.truth
        truth = None if held is None else tuple(tuple(batch.truths[at]) for at in held)
        scope = tuple(batch.models[judged.scope])
        fixed = (judged.request_id, judged.time, judged.source_rank, judged.digest, judged.reward)
        rows[partition, scope, fixed, truth] += 1
    return rows


async def packed(
    rules: ModelRules, records: Sequence[ConsumerRecord]
) -> tuple[Counter[object], list[object], Telemetry, int]:
    """The rows of some records, with what they point at; the dead letters; and what was counted."""
    producer, telemetry = _Producer(), Telemetry()
    observation_producer = ObservationProducer(
        Decoder(rules, telemetry), producer, "observations", "letters", 3, "epoch"
    )
    rows: Counter[object] = Counter()
    dead_letters: list[object] = []
    for start in range(0, len(records), 2500):
        some = records[start : start + 2500]
        if observation_producer._fast_decoder is None:
            observation_producer.add_records("source", 0, some)
        else:
            assert observation_producer.add_batch("source", 0, whole(some)) == some[-1].timestamp
        if start == 10_000:
            rules.replace(rules.entries)
        await observation_producer.send()
        if start == 5000:
            rules.replace(rules.entries)
    for topic, value, more in producer.sent:
        if topic == "letters":
            dead_letters.append((value, tuple(more["headers"])))
            continue
        rows.update(rows_of(value, more["partition"]))
    return rows, sorted(dead_letters, key=repr), telemetry, len(producer.sent)


@needs_compiled
@pytest.mark.parametrize("excluded", [False, True])
async def test_records(excluded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it takes, the decoder would have said; whatever it leaves, the decoder says."""
    file = {"models": [{"match": "*/*/default", "exclude": True}]} if excluded else None
    records: list[ConsumerRecord] = [
        ConsumerRecord(
            "source", 0, offset, timestamp // 1_000_000, 0, None, value, None, 0, 0, tuple(headers)
        )
        for offset, (headers, value, timestamp) in enumerate(events(20_000))
    ]
    ours = await packed(parse_rules(file, "file"), records)
    monkeypatch.setattr("processor.stream.observation_producer.use_native", False)
    theirs = await packed(parse_rules(file, "file"), records)
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert msgspec.to_builtins(ours[2].events) == msgspec.to_builtins(theirs[2].events)
    assert ours[2].not_scorable == theirs[2].not_scorable
    assert ours[2].future_times == theirs[2].future_times
    assert ours[2].says_nothing == theirs[2].says_nothing
    if not excluded:
        assert ours[2].future_times > 100
        assert sum(ours[0].values()) > 10_000
        assert len(ours[1]) > 1000


@needs_compiled
async def test_a_skewed_load_makes_no_record_of_any_length() -> None:
    """All for one partition: its record is closed where it is long enough."""
    event = USUAL[0]
    records: list[ConsumerRecord] = [
        ConsumerRecord("source", 0, at, 0, 0, None, event.value, None, 0, 0, event.headers)
        for at in range(9000)
    ]
    producer = _Producer()
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), Telemetry()), producer, "obs", "letters", 3, "epoch"
    )
    observation_producer.add_batch("source", 0, whole(records))
    await observation_producer.send()
    lengths = []
    for _, value, _ in producer.sent:
        batch = decode_observation(value or b"")
        assert isinstance(batch, ObservationBatch)
        lengths.append(len(batch.prediction_rows()))
    assert sum(lengths) == 9000
    assert max(lengths) <= 4000


@needs_compiled
async def test_what_is_given_up_leaves_memory() -> None:
    """The state of a partition, and what a reader has learned: nothing compiled holds who holds it."""
    records: list[ConsumerRecord] = [
        ConsumerRecord("source", 0, at, 0, 0, None, event.value, None, 0, 0, event.headers)
        for at, event in enumerate(USUAL * 3)
    ]
    producer = _Producer()
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), Telemetry()), producer, "obs", "letters", 1, "epoch"
    )
    observation_producer.add_batch("source", 0, whole(records))
    await observation_producer.send()
    fold = JoinFold("epoch", 0, 3, None, Telemetry())
    for offset, (_, value, _) in enumerate(producer.sent):
        batch = decode_observation(value or b"")
        assert not isinstance(batch, Heartbeat)
        assert fold.apply(offset, 0, batch)
    held: list[weakref.ref[object]] = [weakref.ref(fold._fast_path), weakref.ref(fold._resolver)]
    assert observation_producer._fast_decoder is not None
    held.append(weakref.ref(observation_producer._fast_decoder))
    del fold, observation_producer
    gc.collect()
    assert [each() for each in held] == [None] * 3


@needs_compiled
@pytest.mark.filterwarnings("error")
def test_it_may_be_given_up_in_any_thread() -> None:
    """As by a garbage collection that begins in one of the archive's."""
    held: list[object] = [
        JoinFold("epoch", 0, 3, None, Telemetry()),
        ObservationProducer(
            Decoder(ModelRules(), Telemetry()), _Producer(), "obs", "letters", 1, "epoch"
        ),
    ]
    gone = [weakref.ref(held[0]._fast_path), weakref.ref(held[1]._fast_decoder)]  # type: ignore[attr-defined]

    def drop() -> None:
        held.clear()
        gc.collect()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert [each() for each in gone] == [None, None]


@needs_compiled
def test_outcomes_of_many_items_are_remembered_for_a_while() -> None:
    """Each is another one, as large as its message."""
    rng = random.Random(5)
    fold = JoinFold("epoch", 0, 1, None, Telemetry())
    counted = fold._accumulator
    assert isinstance(counted, NativeDeltaAccumulator)
    most = 0
    for number in range(300):
        builder = BatchBuilder()
        labels = [str(rng.randrange(40)) for _ in range(1000)]
        answers = tuple(Answer(label, None, TEXT, Schema()) for label in labels)
        truth = tuple(Reading(TEXT, str(rng.randrange(40))) for _ in labels)
        builder.add(Prediction(ModelKey("n", "d", "p", "m"), f"r{number}", 5, 1, 1, answers))
        builder.add(Feedback(ModelKey("n", "d", "", ""), f"r{number}", 6, 1, 1, truth, None))
        assert fold.apply(number, 0, builder.build("epoch"))
        most = max(most, sum(len(outcome.counts.cells) for outcome in counted._outcomes))
    assert 40_000 < most < 52_000


@needs_compiled
def test_bytes_that_are_no_records() -> None:
    """They raise what the client raises, wherever they end."""
    records = [
        ConsumerRecord("source", 0, 0, 0, 0, b"k", event.value, None, 0, 0, event.headers)
        for event in USUAL[:1]
    ]
    content = whole(records).content
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), Telemetry()), _Producer(), "obs", "letters", 3, "epoch"
    )
    for end in (*range(0, 61, 7), *range(61, len(content) - 1)):
        with pytest.raises(CorruptRecordException):
            observation_producer.add_batch("source", 0, RecordBatch(content[:end], 0, 1))


async def bootstrapped(
    pages: Sequence[list[Document]], policy: BootstrapPolicy, since: int | None
) -> tuple[dict[int, EncodedRows], Counter[str]]:
    """The rows of pages of documents by the terms on which they are sent, and the events counted."""
    producer, telemetry = _Producer(), Telemetry()
    reader = DocumentReader(ModelRules(), telemetry)
    bootstrap = Bootstrap(Any, reader, Any, Any, telemetry, 0, Any, Any, asyncio.Event(), since)  # type: ignore[arg-type]  # its environment, which packing does not touch
    observation_producers = {
        mode: ObservationProducer(reader.decoder, producer, f"{mode}", "letters", 2, "epoch")
        for mode in (IngestMode.NORMAL, IngestMode.IF_PRESENT, IngestMode.COUNT_AND_DROP)
    }
    shard = Shard("index", "uuid", 0, 100, 100)
    for page in pages:
        await bootstrap._add(Page(page, 0), shard, policy, observation_producers)
        for mode, observation_producer in observation_producers.items():
            await observation_producer.send(mode)
    found: dict[int, EncodedRows] = {}
    for topic, value, more in producer.sent:
        if topic != "letters":
            found.setdefault(int(topic), Counter()).update(rows_of(value, more["partition"]))
    return found, telemetry.events


@needs_compiled
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(document(), min_size=6, max_size=12), min_size=2, max_size=3),
    st.sampled_from([None, AS_OF, AS_OF + HOUR]),
    st.sampled_from([None, AS_OF]),
    st.booleans(),
)
def test_documents(
    pages: list[Documents], before: int | None, since: int | None, multi_predictor: bool
) -> None:
    """What is counted and not kept is the same, and so is all else."""
    policy = BootstrapPolicy(before, frozenset({("ns", "dep")}) if multi_predictor else None)
    texts = [documents_of(page, f"i{number}") for number, page in enumerate(pages)]
    ours = asyncio.run(bootstrapped(texts, policy, since))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.stream.observation_producer.use_native", False)
        assert ours == asyncio.run(bootstrapped(texts, policy, since))
