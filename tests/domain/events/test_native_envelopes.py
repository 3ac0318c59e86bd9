"""Envelopes of every form give the same rows natively and in Python; native code reads nearly all."""

import asyncio
import random
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from aiokafka.structs import ConsumerRecord

from bench.support.stage_costs import whole
from processor.domain import native
from processor.domain.events.decoder import Decoder
from processor.domain.events.event_lines import LineReader, NativeLineReader
from processor.domain.events.events_file import format_line
from processor.domain.events.raw_event import INTERPRETED, RawEvent
from processor.domain.log.records import decode_observation
from processor.domain.model_rules import ModelRules, parse_rules
from processor.errors import EventsFileError
from processor.stream.observation_producer import ObservationProducer
from processor.telemetry import Telemetry
from tests.support.domain import envelope_forms
from tests.support.domain.batch_rows import KeepingProducer, rows_of
from tests.support.domain.envelope_kinds import NS, RESPONSE, binary, structured_bytes
from tests.support.domain.payload_kinds import PAYLOADS
from tests.support.events import recorded
from tests.support.events.damage import damaged_body

pytestmark = pytest.mark.skipif(
    not native.use_native, reason="the native extension is not installed, or switched off"
)

#: How many events are compared in every run of the tests, and with `--full` (`make chaos`).
EVENTS, ALL_EVENTS = 10_000, 250_000
RECORDED, ALL_RECORDED = 2_000, 200_000
SEED = 20261120
_PART = 500
RULES: Sequence[object] = (
    None,
    {
        "models": [
            {"match": "*/*/canary", "exclude": True},
            {"match": "*/other", "request_id": "header seldon-puid"},
        ]
    },
)


def counted(telemetry: Telemetry) -> list[object]:
    """What the telemetry has counted, but for events that were left to Python."""
    return [
        {kind: count for kind, count in telemetry.events.items() if count},
        dict(telemetry.dead_letters),
        dict(telemetry.not_scorable),
        telemetry.future_times,
        telemetry.says_nothing,
    ]


class Records:
    """Reads records as a worker does."""

    def __init__(self, rules: ModelRules) -> None:
        self.telemetry, self._producer = Telemetry(), KeepingProducer()
        self._observations = ObservationProducer(
            Decoder(rules, self.telemetry), self._producer, "observations", "letters", 3, "log"
        )

    def read(self, records: Sequence[ConsumerRecord]) -> tuple[Counter[object], Counter[object]]:
        """The rows of some records with their partitions, and the dead letters."""
        if self._observations._fast_decoder is None:
            self._observations.add_records("source", 0, records)
        else:
            self._observations.add_batch("source", 0, whole(records))
        asyncio.run(self._send())
        rows: Counter[object] = Counter()
        letters: Counter[object] = Counter()
        for topic, value, more in self._producer.sent:
            if topic == "letters":
                letters[value, repr(more)] += 1
                continue
            rows.update(rows_of(decode_observation(value or b""), more["partition"]))
        self._producer.sent.clear()
        return rows, letters

    async def _send(self) -> None:
        await self._observations.send()


def record(offset: int, event: RawEvent) -> ConsumerRecord:
    return ConsumerRecord(
        "source", 0, offset, event.timestamp // 1_000_000, 0, b"key", event.value, None, 0, 0,
        tuple(event.headers),
    )  # fmt: skip


@pytest.mark.parametrize("file", RULES, ids=["", "rules"])
def test_records_of_every_envelope(
    file: object, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of the events gives the same rows, dead letters and counts."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    fast = Records(parse_rules(file, "file"))
    monkeypatch.setattr("processor.stream.observation_producer.use_native", False)
    slow = Records(parse_rules(file, "file"))
    events = list(envelope_forms.events(SEED, count, damaged_body))
    _assert_alike(fast, slow, events, file)
    found, read = fast.telemetry.interpreted_events, fast.telemetry.events
    assert set(found) == set(INTERPRETED)
    # Every dead letter is Python's, and a third of the other events are odd too.
    assert found.total() < read["unreadable"] + 0.5 * (read.total() - read["unreadable"]), found
    assert min(read.values()) > count / 1000


def _assert_alike(fast: Records, slow: Records, events: Sequence[RawEvent], file: object) -> None:
    """Both give the same rows, dead letters and counts for each part of the events."""
    for start in range(0, len(events), _PART):
        records = [record(at, event) for at, event in enumerate(events[start : start + _PART])]
        if fast.read(records) != slow.read(records) or counted(fast.telemetry) != counted(
            slow.telemetry
        ):
            _report(records, file)


def _report(records: Sequence[ConsumerRecord], file: object) -> None:
    """Fail with the first record that is read in another way when its templates are known."""
    rules = parse_rules(file, "file")
    for found in records:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("processor.stream.observation_producer.use_native", True)
            fast = Records(rules)
        slow = Records(rules)
        for each in (found, found):
            assert fast.read([each]) == slow.read([each]), each
            assert counted(fast.telemetry) == counted(slow.telemetry), each
    raise AssertionError("parts differ, and none of their records alone")


@pytest.mark.parametrize("are_damaged", [False, True], ids=["whole", "damaged"])
def test_recorded_events(
    are_damaged: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded messages in every envelope are read alike, as they are and damaged."""
    count = ALL_RECORDED if request.config.getoption("--full") else RECORDED
    file = RULES[1]
    fast = Records(parse_rules(file, "file"))
    monkeypatch.setattr("processor.stream.observation_producer.use_native", False)
    slow = Records(parse_rules(file, "file"))
    rng = random.Random(SEED)
    originals = recorded.seeds() + recorded.answer_forms()
    events = [rng.choice(originals) for _ in range(count)]
    if are_damaged:
        # All have a time, since the builder of batches takes -1 as none yet.
        events = [event._replace(timestamp=NS) for event in recorded.damaged(rng, originals, count)]
    _assert_alike(fast, slow, events, file)
    read, left = fast.telemetry.events, fast.telemetry.interpreted_events
    # Many are read natively; every dead letter is Python's, and so is the first event of each kind.
    assert read.total() - left.total() > count / 50, (read, left)


@pytest.mark.parametrize("name", ["ndarray", "protobuf tensor"])
def test_bytes_in_base64_are_read_natively(name: str) -> None:
    """Python reads the first event with a template alone, in records and in lines."""
    payload = PAYLOADS[name]
    sent = structured_bytes(payload, RESPONSE)
    records = Records(ModelRules())
    for _ in range(2):
        records.read([record(at, sent) for at in range(50)])
    assert records.telemetry.interpreted_events.total() < 60
    assert records.telemetry.events["response"] == 100
    head = format_line(binary(payload, RESPONSE)._replace(value=None))[:-1]
    line = head + b',"data_base64":"' + b64encode(payload.body) + b'"}'
    telemetry = Telemetry()
    reader = NativeLineReader(Decoder(ModelRules(), telemetry))
    for start in (1, 51):
        assert not reader.read(b"\n".join([line] * 50) + b"\n", start).bad
    assert telemetry.interpreted_events.total() < 60
    assert telemetry.events["response"] == 100


def _lines(count: int) -> Iterator[bytes]:
    for event in envelope_forms.events(SEED + 1, count, damaged_body):
        try:
            yield format_line(event)
        except (EventsFileError, AttributeError):  # a header that is not text, or null
            continue


def test_lines_of_every_envelope(request: pytest.FixtureRequest) -> None:
    """Each block of lines gives the same rows, bad lines and counts."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    texts = list(_lines(count))
    readers = [kind(Decoder(ModelRules(), Telemetry())) for kind in (NativeLineReader, LineReader)]
    for start in range(0, len(texts), _PART):
        block = b"\n".join(texts[start : start + _PART])
        found = []
        for reader in readers:
            lines = reader.read(block, start)
            found.append((Counter(rows_of(lines.batch)), lines.bad, lines.read))
        assert found[0] == found[1]
        assert counted(readers[0]._decoder.telemetry) == counted(readers[1]._decoder.telemetry)
