"""Many events, each broken in its own way: none breaks the decoder."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle

import pytest

from processor.domain.events.decoder import Decoder
from processor.domain.events.payloads.rows import MAX_ROWS
from processor.domain.events.raw_event import REASONS, RawEvent
from processor.domain.log.observations import BatchBuilder, Feedback, ObservationBatch, Prediction
from processor.domain.log.records import decode_observation, encode
from processor.domain.model_rules import parse_rules
from processor.telemetry import Telemetry
from tests.support.domain.envelope_kinds import ENVELOPES, FEEDBACK, NS, RESPONSE
from tests.support.domain.payload_kinds import DATA, PAYLOADS, PROTOBUF, Payload

#: How many events are broken in every run of the tests, and with `--full` (`make chaos`).
EVENTS, ALL_EVENTS = 40_000, 200_000
SEED = 20261120
#: One in this many is decoded by a new decoder too: an odd number, so that both rules have their turn.
_AFRESH = 5
#: CPU seconds for one event: a hundred times what the worst of them takes, and nothing like what a
#: step that grows with the square of the input would take.
BOUND = 2.0

#: What JSON readers, number readers and Unicode readers stumble over.
TOKENS = [
    b"NaN", b"-Infinity", b"1e999", b"-0.0", b"1e-400", b"9" * 400, b"9" * 5000, b"0.1" + b"0" * 300,
    b"9007199254740993", b"true", b"null", b'""', b"[]", b"{}", b"[[]]", b"[" * 2000, b'{"a":' * 2000,
    b"[" * 100_000, b"\xff\xfe", b"\xed\xa0\x80", b'"\\ud800"', b'"\\u0000"', b"\x00", b"\x1f\x8b",
    b'"' + b"x" * 70_000 + b'"', b'"reward":1e300,', b'"reward":"x",', b'"reward":0.5,',
    b'"data":{"ndarray":[1]},', b'"data":5,', b'"truth":[],', b'"shape":[4611686018427387904],',
    b'"names":["a",1],', b'"outputs":[],', b'"predictions":{},', b'"strData":"a",', b'"time":"now",',
    b'"error":"x",', b'"status":{"status":1},', b'"explanations":[],', b'"data_base64":"?",',
    b'"type":"x",', b"1," * 30_000,
]  # fmt: skip
HEADERS = [
    b"", b"\xff", b"x" * 600, b"a\nb", b"application/cloudevents+json", b"application/protobuf",
    b"application/cloudevents-batch+json", b"dev.knative.kafka.event", b"order.created", b"br", b"gzip",
    b"2026-11-20T09:00:00Z", b"9999-12-31T23:59:60.999999999+23:59", b"-1", b"99999999999", b"v2",
    b"404", b'"1.0"', b"0001-01-01T00:00:00Z", b"tensorflow", RESPONSE.encode(), FEEDBACK.encode(),
]  # fmt: skip
NAMES = [
    "ce_type", "ce_time", "ce_requestid", "ce_id", "content-type", "content-encoding", "type", "Ce_Type",
    "requestid", "ce_protocol", "inference-header-content-length", "ce_modelid", "ce_component",
    "ce_statuscode", "ce_specversion", "ce-type", "CE-Time", "\u0130",
]  # fmt: skip


def _seeds() -> list[RawEvent]:
    truth = [
        Payload(b'{"reward":%s,"truth":%s}' % (reward, payload.body), "")
        for reward, payload in zip(cycle([b"1", b"false", b"0.5", b"-1e6"]), PAYLOADS.values())
        if payload.body[:1] == b"{" and payload.body[-1:] == b"}"
    ]
    truth.append(Payload((DATA / "feedback-truth.pb").read_bytes(), "", PROTOBUF))
    many = Payload(b'{"data":{"ndarray":[%s1]}}' % (b"1," * MAX_ROWS), "")
    seeds = [make(payload, RESPONSE) for make in ENVELOPES for payload in PAYLOADS.values()]
    seeds += [make(many, RESPONSE) for make in ENVELOPES]
    return seeds + [make(payload, FEEDBACK) for make in ENVELOPES for payload in truth]


def _body(rng: random.Random, body: bytes, other: bytes) -> bytes | None:
    at, to = sorted((rng.randrange(len(body) + 1), rng.randrange(len(body) + 1)))
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice((None, b"", rng.randbytes(rng.randrange(60))))
    if kind == 1:
        return body[:at]
    if kind == 2:
        return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
    if kind == 3:
        return body[:at] + body[to:]
    if kind == 4:
        return body[:to] + body[at:]
    if kind == 5:
        return body[:at] + other[rng.randrange(len(other) + 1) :]
    # A token where one can be: at the start of an object, a value or a member.
    places = [i + 1 for i, byte in enumerate(body[:4000]) if byte in b"{[:,"] or [0]
    at = rng.choice(places)
    # The largest ones are dear, and one in thousands says as much as each.
    token = rng.choice(TOKENS if rng.random() < 0.02 else [t for t in TOKENS if len(t) < 1000])
    end = at if kind == 6 else min(to, at + rng.randrange(8))
    return body[:at] + token + body[max(at, end) :]


def _headers(rng: random.Random, headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    kind, at = rng.randrange(5), rng.randrange(len(headers))
    name, content = headers[at]
    if kind == 0:
        return headers[:at] + headers[at + 1 :]
    if kind == 1:
        return [*headers, (rng.choice(NAMES), rng.choice(HEADERS))]
    if kind == 2:
        return [*headers[:at], (rng.choice(NAMES), content), *headers[at + 1 :]]
    if kind == 3:
        return rng.sample(headers, len(headers))
    null: bytes = None  # type: ignore[assignment]  # Kafka has headers without a value
    return [*headers[:at], (name, rng.choice([*HEADERS, null])), *headers[at + 1 :]]


def events(count: int) -> Iterator[RawEvent]:
    """The same events each time."""
    rng = random.Random(SEED)
    seeds = _seeds()
    for _ in range(count):
        seed = rng.choice(seeds)
        headers, body = list(seed.headers), seed.value
        changes = rng.choice((1, 1, 1, 2, 3))
        for _ in range(changes):
            if rng.random() < 0.7:
                body = _body(rng, body or b"", rng.choice(seeds).value or b"")
            elif headers:
                headers = _headers(rng, headers)
        yield RawEvent(headers, body, rng.choice((NS, NS, -1)))


class _Reader:
    """Decodes, and looks at what comes out."""

    def __init__(self) -> None:
        file = {
            "models": [
                {"match": "*/*/canary", "exclude": True},
                {"match": "*/*", "output_name": "proba", "labels": {"0": "no", "cat": "dog"}},
            ]
        }
        self.rules = [parse_rules(content, "file") for content in (None, file)]
        self.decoders = [Decoder(rules, Telemetry()).decode for rules in self.rules]
        self.seen: Counter[str] = Counter()
        self.slowest = 0.0
        self._builder = BatchBuilder()

    def read(self, number: int, event: RawEvent) -> None:
        begin = time.thread_time()
        decoded = self.decoders[number % len(self.decoders)](*event)
        self.slowest = max(self.slowest, time.thread_time() - begin)
        names = [name for name, _ in event.headers]
        if number % _AFRESH == 0 and len(set(names)) == len(names):
            # What was read before changes nothing. (Of a header that stands twice any may count.)
            afresh = Decoder(self.rules[number % len(self.decoders)], Telemetry())
            assert afresh.decode(*event) == decoded
        if decoded.events > 1:
            self.seen["batch"] += 1
        for _, letter in decoded.dead_letters:
            assert letter.detail
            assert not letter.detail.endswith(" while decoding"), letter  # a defect
            self.seen[letter.reason] += 1
        if not decoded.observations and not decoded.dead_letters:
            self.seen["nothing"] += 1
        for observation in decoded.observations:
            assert isinstance(observation, Prediction | Feedback)
            self.seen[type(observation).__name__] += 1
            self._builder.add(observation)
            if self._builder.rows > 5000:
                self.pack()

    def pack(self) -> None:
        """What was read fits on the log, and comes back as it was."""
        batch = self._builder.build("epoch")
        packed = encode(batch)
        record = decode_observation(packed)
        assert isinstance(record, ObservationBatch)
        assert encode(record) == packed


def test_broken_events(request: pytest.FixtureRequest) -> None:
    """Each is an observation, nothing to keep, or a dead letter with a known reason."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    reader = _Reader()
    for number, event in enumerate(events(count)):
        try:
            reader.read(number, event)
        except Exception as error:
            raise AssertionError(f"event {number} {event!r:.3000}") from error
    reader.pack()
    assert reader.seen.total() >= count
    kinds = {"Prediction", "Feedback", "nothing", "batch"}
    # Nothing else comes out, and each of these does: the fuzz gets everywhere.
    assert set(reader.seen) == kinds | set(REASONS)
    assert reader.slowest < BOUND
