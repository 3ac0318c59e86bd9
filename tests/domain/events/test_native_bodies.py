"""Bodies of every kind give the same rows natively and in Python, and native code reads nearly all."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from processor.domain import native
from processor.domain.events.decoder import Decoder
from processor.domain.events.document_batches import DocumentBatches, NativeDocumentBatches
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.events.event_lines import LineReader, NativeLineReader
from processor.domain.events.payloads import forms
from processor.domain.events.payloads.json_bodies import _Message
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import parse_rules
from processor.telemetry import Telemetry
from tests.support.domain.batch_rows import rows_of
from tests.support.domain.body_kinds import (
    CONTAINERS,
    DEPLOYMENTS,
    MODELS,
    ROWS,
    Writer,
    bare,
    feedback,
    fits,
    headers,
    message,
)
from tests.support.domain.envelope_kinds import FEEDBACK, NS, RESPONSE
from tests.support.domain.native_readers import Event, assert_alike, readers, record
from tests.support.events.damage import damaged_body

pytestmark = pytest.mark.skipif(
    not native.use_native, reason="the native extension is not installed, or switched off"
)

#: How many events are compared in every run of the tests, and with `--full` (`make chaos`).
EVENTS, ALL_EVENTS = 20_000, 400_000
LINES, ALL_LINES = 5_000, 200_000
SEED = 20261120
KINDS = [(container, row) for container in CONTAINERS for row in ROWS if fits(container, row)]
#: The kinds of rows of several labels.
SETS = ("bits", "texts")
REWARDS = (
    "1", "0", "-1", "true", "false", "0.5", "1.0", "null", "1e6", "1000001", '"1"', "1e-7", "0.0000025",
    "-0.0000035", "1e400", "2.5e-6",
)  # fmt: skip

#: Members that a message may have beside its data.
MEMBERS = (
    '"status":{"code":200,"status":"SUCCESS"}', '"status":{"status":1}', '"parameters":null',
    '"parameters":{"content_type":"np"}', '"strData":"x"', '"error":"late"', '"jsonData":null',
    '"result":[1]', '"meta":{"tags":{"a":1}}',
)  # fmt: skip


class EventSource(NamedTuple):
    """A model and what its messages are like."""

    deployment: str
    kind: str
    container: str
    row: str
    width: int
    varied: bool
    odd: float


def _source(rng: random.Random) -> EventSource:
    container, row = rng.choice(KINDS)
    kind, width = rng.choice((RESPONSE, FEEDBACK)), rng.choice((2, 3, 3, 17))
    varied, odd = rng.random() < 0.4, rng.choice((0, 0, 0, 0.02, 0.3))
    deployment = "plain" if rng.random() < 0.3 else rng.choice(DEPLOYMENTS)
    return EventSource(deployment, kind, container, row, width, varied, odd)


def _body_of(rng: random.Random, source: EventSource, bodies: Sequence[str]) -> str:
    writer = Writer(rng, source.odd, source.varied)
    rows = rng.choice((1, 1, 2, 5))
    body = message(writer, source.container, source.row, rows, source.width)
    if source.kind == FEEDBACK:
        reward = rng.choice(REWARDS) if rng.random() < 0.7 else repr(rng.gauss(0, 1))
        plain = bare(writer, source.row, rows, source.width)
        truth = rng.choice((body, body, body, plain, None, "{}", "null", '{"meta":{}}'))
        answer = rng.choice(bodies) if rng.random() < 0.3 else ""
        return feedback(writer, truth, reward if rng.random() < 0.5 else None, answer)
    if rng.random() < 0.05:
        more = rng.choice(MEMBERS)
        return f"{body[:-1]},{more}}}" if rng.random() < 0.5 else f"{{{more},{body[1:]}"
    return body


def events(count: int) -> Iterator[Event]:
    """Events of every kind; some have odd values, some are damaged. The same each time."""
    rng = random.Random(SEED)
    bodies = ["{}"]
    sources: list[EventSource] = []
    for number in range(count):
        if number % 4000 == 0:
            sources = [_source(rng) for _ in range(60)]
        source = rng.choice(sources)
        body = _body_of(rng, source, bodies)
        found: bytes | None = body.encode()
        if rng.random() < 0.1:
            found = damaged_body(rng, body.encode(), rng.choice(bodies).encode())
        bodies = [*bodies[-50:], body]
        yield headers(source.kind, source.deployment, number), found


def test_events_of_every_kind(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They give the same rows, dead letters and telemetry with and without the extension."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    fast, slow = readers(MODELS, monkeypatch)

    def replace_rules(start: int) -> None:
        if start % 9000 == 0:
            fast.decoder.rules.replace(fast.decoder.rules.entries)

    assert_alike(fast, slow, events(count), count, replace_rules)
    assert len(fast.decoded) < 0.75 * count


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_what_an_event_means_does_not_depend_on_those_before(deployment: str) -> None:
    """A decoder remembers much of what it has read, and says the same as one that has read nothing."""
    rng, bodies = random.Random(f"{SEED}{deployment}"), ["{}"]
    rules, telemetry = parse_rules(MODELS, "file"), Telemetry()
    warm = Decoder(rules, telemetry)
    for number in range(600):
        source = _source(rng)._replace(deployment=deployment, odd=0.02)
        body = _body_of(rng, source, bodies).encode()
        event = RawEvent(headers(source.kind, deployment, number), body, NS)
        assert warm.decode(*event) == Decoder(parse_rules(MODELS, "file"), telemetry).decode(*event)


def test_lines_of_every_kind(request: pytest.FixtureRequest) -> None:
    """Lines of an events file give the same with and without the extension."""
    count = ALL_LINES if request.config.getoption("--full") else LINES
    rules = parse_rules(MODELS, "file")
    readers = [kind(Decoder(rules, Telemetry())) for kind in (NativeLineReader, LineReader)]
    lines = []
    for sent, body in events(count):
        named = {name.replace("_", "-"): value.decode() for name, value in sent}
        head = f'{{"headers":{json.dumps(named)},"data":'.encode()
        lines.append((head + (body or b"null") + b"}").replace(b"\n", b" "))
    for start in range(0, len(lines), 500):
        block = b"\n".join(lines[start : start + 500]) + b"\n"
        fast, slow = (reader.read(block, start) for reader in readers)
        assert Counter(rows_of(fast.batch)) == Counter(rows_of(slow.batch))
        assert fast[1:] == slow[1:]


def test_documents_of_every_kind(request: pytest.FixtureRequest) -> None:
    """Documents of an archive give the same with and without the extension."""
    count = ALL_LINES if request.config.getoption("--full") else LINES
    found: list[list[Counter[Any]]] = []
    for kind in NativeDocumentBatches, DocumentBatches:
        telemetry = Telemetry()
        reader = DocumentReader(parse_rules(MODELS, "file"), telemetry)
        batches = kind(reader, telemetry)
        documents = list(documents_of(count))
        parts = [documents[at : at + 500] for at in range(0, len(documents), 500)]
        found.append([Counter(rows_of(batches.read(part))) for part in parts])
        found.append([telemetry.events, telemetry.not_scorable])
    assert found[:2] == found[2:]


def documents_of(count: int) -> Iterator[Document]:
    """Documents with a response of any kind, and most with a feedback on it."""
    rng = random.Random(SEED)
    sources = [_source(rng)._replace(kind=RESPONSE) for _ in range(60)]
    for number in range(count):
        source = rng.choice(sources)
        bodies = [_body_of(rng, one, ["{}"]) for one in (source, source._replace(kind=FEEDBACK))]
        members = {
            "RequestId": f"id{number}",
            "Ce-Namespace": "ns",
            "Ce-Inferenceservicename": source.deployment,
            "Ce-Endpoint": "default",
            "Ce-Modelid": "classifier",
        }
        time = '"ce-time":"2026-11-20T09:03:59.3Z"'
        text = f'{json.dumps(members)[:-1]},"response":{{{time},"payload":{bodies[0]}}}'
        if number % 3:
            text += f',"feedback":{{{time},{bodies[1][1:]}'.replace(",}", "}")
        yield Document("index", f"id{number}", 1, f"{text}}}".encode())


@pytest.mark.parametrize("is_truth", [False, True])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(("container", "row"), [each for each in KINDS if each[1] not in SETS])
def test_values_that_differ_are_read_natively(
    container: str, row: str, rows: int, is_truth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python decodes no more events of a kind than there are forms of it, however many labels."""
    writer = Writer(random.Random(SEED), varied=False)
    fast, slow = readers(None, monkeypatch)
    records = []
    for number in range(300):
        body = message(writer, container, row, rows, 2)
        if is_truth:
            body = feedback(writer, body, repr(writer.rng.gauss(0, 1)), body)
        event = headers(FEEDBACK if is_truth else RESPONSE, "plain", number), body.encode()
        records.append(record(number, event))
    for start in range(0, 300, 30):
        part = records[start : start + 30]
        assert fast.read(part) == slow.read(part)
    if is_truth and row == "probability":
        return  # the value of such a truth stands in a dictionary of the log
    assert len(fast.decoded) - 30 < 60


@pytest.mark.parametrize("member", [one.encode_name for one in msgspec.structs.fields(_Message)])
def test_no_member_that_python_reads_is_skipped(
    member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside other data too, where a member that is not known says nothing."""
    fast, slow = readers(None, monkeypatch)
    rows = b'{"data":{"ndarray":[[0.25,0.75]]}'
    for more in b"", b',"%b":["cat"]' % member.encode():
        body = rows + more + b"}"
        part = [record(at, (headers(RESPONSE, "plain", at), body)) for at in range(40)]
        assert fast.read(part) == slow.read(part)


@pytest.mark.parametrize("row", ["text", "integer", "probabilities", "labelled"])
def test_plain_truths_are_read_natively(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(random.Random(SEED), varied=False)
    fast, slow = readers(None, monkeypatch)
    for start in range(0, 300, 30):
        bodies = [feedback(writer, bare(writer, row, 1 + at % 2), None) for at in range(30)]
        part = [
            record(start + at, (headers(FEEDBACK, "plain", start + at), body.encode()))
            for at, body in enumerate(bodies)
        ]
        assert fast.read(part) == slow.read(part)
    assert len(fast.decoded) - 30 < 60


@pytest.mark.parametrize("key", sorted(forms._ALONE | {*forms._CONFIDENCES, "b64"}))
@pytest.mark.parametrize("value", ["%d", "0.%d", "[0.%d,0.5]", '{"a":0.%d,"b":0.5}', '"a%d"'])
def test_keys_of_rows_mean_the_same(key: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the values: those of the first event of a kind decide nothing for the others."""
    fast, slow = readers(None, monkeypatch)
    for more in "", ',"other":0.75', ',"label":"cat"':
        body = f'{{"predictions":[{{"{key}":{value}{more}}}]}}'.encode()
        part = [record(at, (headers(RESPONSE, "plain", at), body % at)) for at in range(10, 50)]
        assert fast.read(part) == slow.read(part)


@pytest.mark.parametrize(
    ("container", "row"),
    [("ndarray", "texts"), ("tensor", "bits"), ("outputs", "probabilities"), ("strData", "text")],
)
def test_label_sets_are_read_natively(
    container: str, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(random.Random(SEED), varied=False, free=0)
    fast, slow = readers(MODELS, monkeypatch)
    records = []
    for number in range(300):
        body = message(writer, container, row, 1 + number % 3)
        kind = FEEDBACK if number % 2 else RESPONSE
        body = feedback(writer, body, "0.5", body) if number % 2 else body
        records.append(record(number, (headers(kind, "multilabel", number), body.encode())))
    for start in range(0, 300, 30):
        part = records[start : start + 30]
        assert fast.read(part) == slow.read(part)
    assert len(fast.decoded) - 30 < 60


def test_excluded_responses_are_counted_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(random.Random(SEED))
    fast, slow = readers(MODELS, monkeypatch)
    records = []
    for number in range(300):
        body = message(writer, "outputs", "logits", 2)
        records.append(record(number, (headers(RESPONSE, "hidden", number), body.encode())))
    for start in range(0, 300, 30):
        part = records[start : start + 30]
        assert fast.read(part) == slow.read(part) == (Counter(), [])
    assert fast.telemetry.events == slow.telemetry.events
    assert len(fast.decoded) == 8


def test_what_is_remembered_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.native is not None
    fast, _ = readers(None, monkeypatch)
    before, plans = native.native.kept()
    writer = Writer(random.Random(SEED))
    body = message(writer, "ndarray", "probabilities", 1).encode()
    fast.read([record(0, (headers(RESPONSE, "plain", 0), body))])
    assert native.native.kept() == (before + 2, plans)
    fast.decoder.rules.replace(fast.decoder.rules.entries)
    assert native.native.kept() == (before, plans)
