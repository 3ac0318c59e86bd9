"""The native decoder gives the same rows, dead letters and counts as its Python counterpart."""

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
from hypothesis import given
from hypothesis import strategies as st

from bench.support.stage_costs import whole
from processor.archive.elasticsearch.archive import Page, Shard
from processor.backfill.bootstrap import Bootstrap
from processor.backfill.bootstrap_policy import BootstrapPolicy
from processor.domain import native
from processor.domain.events.decoder import Decoder
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.fold import JoinFold
from processor.domain.log.observations import (
    IngestMode,
    ObservationBatch,
)
from processor.domain.log.records import decode_observation
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.timestamps import HOUR
from processor.kafka.patches import RecordBatch
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry
from tests.support.domain.batch_rows import KeepingProducer, rows_of
from tests.support.domain.envelope_kinds import FEEDBACK, NS, RESPONSE, binary
from tests.support.domain.payload_kinds import Payload
from tests.support.events.archived_documents import Documents, document
from tests.support.events.archived_documents import made as documents_of
from tests.support.events.damage import damaged_body, damaged_headers
from tests.support.events.line_outcomes import AS_OF

needs_native = pytest.mark.skipif(
    not native.use_native, reason="the native extension is not installed, or switched off"
)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="no Rust compiler here")
def test_the_extension_is_installed_if_it_can_be_built() -> None:
    assert native.native is not None


def test_the_service_can_be_imported_without_the_extension() -> None:
    """Without a Rust compiler the module `processor._native` does not exist."""
    code = (
        "import sys; sys.modules['processor._native'] = None\n"
        "import processor.cli.main, processor.service.service\n"
        "from processor.domain.native import use_native; assert not use_native"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


#: How many records are compared in every run of the tests, and with `--full` (`make chaos`).
RECORDS, ALL_RECORDS = 20_000, 200_000
COMMON = [
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
    """Events of the common case and mutations of these; the same each time."""
    rng = random.Random(20261120)
    for number in range(count):
        seed = rng.choice(COMMON)
        identity = f"0a1b2c3d-0000-4000-8000-{number % 997:012x}".encode()
        headers = [
            (name, identity if name == "ce_requestid" else value) for name, value in seed.headers
        ]
        body = seed.value
        chance = rng.random()
        if chance < 0.45:
            body = damaged_body(rng, body or b"", rng.choice(COMMON).value or b"")
        elif chance < 0.6:
            changed = damaged_headers(rng, headers)
            # A header that stands twice is ambiguous.
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


#: How often each row occurs, with the entries of dictionaries in place of positions.
RowCounts = Counter[object]


async def ingested(
    rules: ModelRules, records: Sequence[ConsumerRecord]
) -> tuple[Counter[object], list[object], Telemetry, int]:
    """The rows of some records, the dead letters, the telemetry, and the number of messages sent."""
    producer, telemetry = KeepingProducer(), Telemetry()
    observation_producer = ObservationProducer(
        Decoder(rules, telemetry), producer, "observations", "letters", 3, "log"
    )
    rows: Counter[object] = Counter()
    dead_letters: list[object] = []
    for start in range(0, len(records), 2500):
        part = records[start : start + 2500]
        if observation_producer._fast_decoder is None:
            observation_producer.add_records("source", 0, part)
        else:
            assert observation_producer.add_batch("source", 0, whole(part)) == part[-1].timestamp
        if start == 10_000:
            rules.replace(rules.entries)
        await observation_producer.send()
        if start == 5000:
            rules.replace(rules.entries)
    for topic, value, more in producer.sent:
        if topic == "letters":
            dead_letters.append((value, tuple(more["headers"])))
            continue
        rows.update(rows_of(decode_observation(value or b""), more["partition"]))
    return rows, sorted(dead_letters, key=repr), telemetry, len(producer.sent)


@needs_native
@pytest.mark.parametrize("excluded", [False, True])
async def test_records_of_a_source_topic(
    excluded: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records give the same rows, dead letters and telemetry with and without the extension."""
    file = {"models": [{"match": "*/*/default", "exclude": True}]} if excluded else None
    count = ALL_RECORDS if request.config.getoption("--full") else RECORDS
    records: list[ConsumerRecord] = [
        ConsumerRecord(
            "source", 0, offset, timestamp // 1_000_000, 0, None, value, None, 0, 0, tuple(headers)
        )
        for offset, (headers, value, timestamp) in enumerate(events(count))
    ]
    native_result = await ingested(parse_rules(file, "file"), records)
    monkeypatch.setattr("processor.stream.observation_producer.use_native", False)
    python_result = await ingested(parse_rules(file, "file"), records)
    assert native_result[0] == python_result[0]
    assert native_result[1] == python_result[1]
    assert msgspec.to_builtins(native_result[2].events) == msgspec.to_builtins(
        python_result[2].events
    )
    assert native_result[2].not_scorable == python_result[2].not_scorable
    assert native_result[2].future_times == python_result[2].future_times
    assert native_result[2].says_nothing == python_result[2].says_nothing
    if not excluded:
        assert native_result[2].future_times > 100
        assert sum(native_result[0].values()) > 10_000
        assert len(native_result[1]) > 1000


@needs_native
async def test_a_skewed_load_makes_no_oversized_record() -> None:
    """All events are of one partition, whose record is closed when it has enough rows."""
    event = COMMON[0]
    records: list[ConsumerRecord] = [
        ConsumerRecord("source", 0, at, 0, 0, None, event.value, None, 0, 0, event.headers)
        for at in range(9000)
    ]
    producer, telemetry = KeepingProducer(), Telemetry()
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), telemetry), producer, "obs", "letters", 3, "log"
    )
    observation_producer.add_batch("source", 0, whole(records))
    # The first ones of a batch are the templates of those behind them.
    assert telemetry.interpreted_events.total() == 8
    await observation_producer.send()
    lengths = []
    for _, value, _ in producer.sent:
        batch = decode_observation(value or b"")
        assert isinstance(batch, ObservationBatch)
        lengths.append(len(batch.prediction_rows()))
    assert sum(lengths) == 9000
    assert max(lengths) <= 4000


@needs_native
async def test_native_objects_make_no_reference_cycles() -> None:
    """The garbage collector cannot break a cycle through a native object, so there must be none."""
    records: list[ConsumerRecord] = [
        ConsumerRecord("source", 0, at, 0, 0, None, event.value, None, 0, 0, event.headers)
        for at, event in enumerate(COMMON * 3)
    ]
    producer = KeepingProducer()
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), Telemetry()), producer, "obs", "letters", 1, "log"
    )
    observation_producer.add_batch("source", 0, whole(records))
    await observation_producer.send()
    fold = JoinFold("log", 0, 3, None, Telemetry())
    for offset, (_, value, _) in enumerate(producer.sent):
        batch = decode_observation(value or b"")
        assert isinstance(batch, ObservationBatch)
        assert fold.apply(offset, 0, batch)
    refs: list[weakref.ref[object]] = [weakref.ref(fold._fast_path), weakref.ref(fold._resolver)]
    assert observation_producer._fast_decoder is not None
    refs.append(weakref.ref(observation_producer._fast_decoder))
    del fold, observation_producer
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


@needs_native
@pytest.mark.filterwarnings("error")
def test_native_objects_may_be_freed_in_any_thread() -> None:
    """A garbage collection may begin in a thread of the archive."""
    owners: list[object] = [
        JoinFold("log", 0, 3, None, Telemetry()),
        ObservationProducer(
            Decoder(ModelRules(), Telemetry()), KeepingProducer(), "obs", "letters", 1, "log"
        ),
    ]
    refs = [weakref.ref(owners[0]._fast_path), weakref.ref(owners[1]._fast_decoder)]  # type: ignore[attr-defined]

    def drop() -> None:
        owners.clear()
        gc.collect()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert [ref() for ref in refs] == [None, None]


@needs_native
def test_truncated_record_batches() -> None:
    """They raise the client's exception, wherever they end."""
    records = [
        ConsumerRecord("source", 0, 0, 0, 0, b"k", event.value, None, 0, 0, event.headers)
        for event in COMMON[:1]
    ]
    content = whole(records).content
    observation_producer = ObservationProducer(
        Decoder(ModelRules(), Telemetry()), KeepingProducer(), "obs", "letters", 3, "log"
    )
    for end in (*range(0, 61, 7), *range(61, len(content) - 1)):
        with pytest.raises(CorruptRecordException):
            observation_producer.add_batch("source", 0, RecordBatch(content[:end], 0, 1))


async def bootstrapped(
    pages: Sequence[list[Document]], policy: BootstrapPolicy, since: int | None
) -> tuple[dict[int, RowCounts], Counter[str]]:
    """The rows of pages of documents by ingest mode, and the events by kind."""
    producer, telemetry = KeepingProducer(), Telemetry()
    reader = DocumentReader(ModelRules(), telemetry)
    bootstrap = Bootstrap(Any, reader, Any, Any, telemetry, 0, Any, Any, asyncio.Event(), since)  # type: ignore[arg-type]  # its environment, which packing does not touch
    observation_producers = {
        mode: ObservationProducer(reader.decoder, producer, f"{mode}", "letters", 2, "log")
        for mode in (IngestMode.NORMAL, IngestMode.IF_PRESENT, IngestMode.COUNT_AND_DROP)
    }
    shard = Shard("index", "uuid", 0, 100, 100)
    for page in pages:
        await bootstrap._add(Page(page, 0), shard, policy, observation_producers)
        for mode, observation_producer in observation_producers.items():
            await observation_producer.send(mode)
    found: dict[int, RowCounts] = {}
    for topic, value, more in producer.sent:
        if topic != "letters":
            found.setdefault(int(topic), Counter()).update(
                rows_of(decode_observation(value or b""), more["partition"])
            )
    return found, telemetry.events


@needs_native
@given(
    st.lists(st.lists(document(), min_size=6, max_size=12), min_size=2, max_size=3),
    st.sampled_from([None, AS_OF, AS_OF + HOUR]),
    st.sampled_from([None, AS_OF]),
    st.booleans(),
)
def test_documents_of_a_bootstrap(
    pages: list[Documents], before: int | None, since: int | None, multi_predictor: bool
) -> None:
    """Documents give the same rows in each ingest mode with and without the extension."""
    policy = BootstrapPolicy(before, frozenset({("ns", "dep")}) if multi_predictor else None)
    texts = [documents_of(page, f"i{number}") for number, page in enumerate(pages)]
    native_result = asyncio.run(bootstrapped(texts, policy, since))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.stream.observation_producer.use_native", False)
        assert native_result == asyncio.run(bootstrapped(texts, policy, since))
