"""Protobuf bodies, and binary tensors after JSON, give the same natively and in Python, and native code
reads nearly all of them."""

import random
from collections.abc import Iterator

import pytest

from processor.domain import native
from tests.support.domain import protobuf_kinds
from tests.support.domain.body_kinds import DEPLOYMENTS, MODELS, headers
from tests.support.domain.envelope_kinds import FEEDBACK, RESPONSE
from tests.support.domain.native_readers import Event, assert_alike, readers, record
from tests.support.domain.payload_kinds import DATA
from tests.support.domain.protobuf_kinds import (
    BINARY,
    INFERENCE,
    SELDON,
    TENSORFLOW,
    MessageForm,
    feedback,
    inference,
)
from tests.support.events.damage import damaged_body

pytestmark = pytest.mark.skipif(
    not native.use_native, reason="the native extension is not installed, or switched off"
)

#: How many events are compared in every run of the tests, and with `--full` (`make chaos`).
EVENTS, ALL_EVENTS = 10_000, 200_000
SEED = 20261120
_PROTOBUF = ("application/protobuf", "application/x-protobuf; a=b", "Application/grpc")
#: Content types and other headers that change how a body is read, or do not.
_MORE: tuple[tuple[str, bytes], ...] = (
    ("ce_protocol", b"seldon"), ("ce_protocol", b"tensorflow"), ("protocol", b"v2"),
    ("content-encoding", b"br"), ("content-encoding", b"Identity"), ("ce_protocol", b""),
    ("ce-protocol", b"v2"), ("Protocol", b"v2"), ("ce_datacontenttype", b"application/json"),
    ("inference-header-content-length", b"x"), ("ce_inferenceheadercontentlength", b"30"),
)  # fmt: skip
_STORED = [path.read_bytes() for path in sorted(DATA.glob("*.pb"))]


def damaged_headers(
    rng: random.Random, kind: str, sender: tuple[str, int], number: int, protocol: str
) -> list[tuple[str, bytes]]:
    """The headers of an event; each sender has a style of its own."""
    deployment, style = sender
    found = headers(kind, deployment, number)
    del found[-1]  # the content type
    if protocol == "v2" and style % 2:
        found = [(n, b"io.kserve.inference.response" if n == "ce_type" else v) for n, v in found]
    elif protocol:
        found.append((("ce_protocol", "protocol")[style % 4 // 2], protocol.encode()))
    name = "content-type" if style % 5 else "ce_datacontenttype"
    found.append((name, _PROTOBUF[style % 3].encode()))
    if rng.random() < 0.05:
        found.append(rng.choice(_MORE))
    return found


def _binary_headers(
    rng: random.Random, sender: tuple[str, int], number: int, length: int
) -> list[tuple[str, bytes]]:
    """The headers of an answer with binary tensors, some of them without the length of its JSON."""
    deployment, style = sender
    found = headers(RESPONSE, deployment, number)
    name = ("inference-header-content-length", "Inference-Header-Content-Length", "")[style % 3]
    if name:
        length += (rng.random() < 0.02) - (rng.random() < 0.02)
        found.append((name, str(length).encode()))
    if rng.random() < 0.05:
        found.append(rng.choice(_MORE))
    return found


def _answer(rng: random.Random, form: MessageForm, rows: int) -> tuple[bytes, str]:
    """A protobuf body, and the protocol of its headers."""
    if form.container in INFERENCE:
        return inference(rng, form, rows), "v2"
    if form.container == TENSORFLOW:
        return protobuf_kinds.tensorflow(rng, form, rows), "tensorflow"
    return bytes(protobuf_kinds.seldon(rng, form, rows).SerializeToString()), ""


def events(count: int) -> Iterator[Event]:
    """Events of every kind; some have odd values, some are damaged. The same each time."""
    rng = random.Random(SEED)
    bodies = [b"", *_STORED]
    for number in range(count):
        if number % 4000 == 0:
            senders = [
                (
                    (rng.choice(DEPLOYMENTS), rng.randrange(60)),
                    rng.random() < 0.4,
                    protobuf_kinds.form(rng),
                )
                for _ in range(40)
            ]
        sender, is_feedback, form = rng.choice(senders)
        rows = rng.choice((1, 1, 2, 5))
        kind, length = FEEDBACK if is_feedback else RESPONSE, None
        if is_feedback:
            seldon = form._replace(container=rng.choice(SELDON))
            body, protocol = feedback(rng, seldon, rows), ""
        elif form.container == BINARY:
            body, length = protobuf_kinds.binary(rng, form, rows)
        else:
            body, protocol = _answer(rng, form, rows)
        if rng.random() < 0.02:
            body = rng.choice(_STORED)
        sent: bytes | None = body
        if rng.random() < 0.15:
            sent = damaged_body(rng, body, rng.choice(bodies))
        bodies = [*bodies[-50:], body]
        if length is None:
            yield damaged_headers(rng, kind, sender, number, protocol), sent
        else:
            yield _binary_headers(rng, sender, number, length), sent


def test_events_of_every_kind(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They give the same rows, dead letters and telemetry with and without the extension."""
    count = ALL_EVENTS if request.config.getoption("--full") else EVENTS
    fast, slow = readers(MODELS, monkeypatch)
    assert_alike(fast, slow, events(count), count)
    assert len(fast.decoded) < 0.75 * count


_FORMS = [
    *(MessageForm(name, row, 3, "", 0, True) for name in SELDON[:2] for row in ("scores", "any")),
    *(MessageForm(name, "text", 3, "", 0, False) for name in SELDON[1:4]),
    *(
        MessageForm(name, "scores", 3, datatype, 0, False)
        for name in (*INFERENCE[:2], TENSORFLOW, BINARY, "tftensor")
        for datatype in ("FP32", "FP64", "INT64", "BOOL", "BYTES", "FP16")
    ),
    MessageForm("pair", "scores", 3, "FP64", 0, False),
]


@pytest.mark.parametrize("form", _FORMS, ids=lambda form: "-".join([*form[:2], form.datatype]))
def test_values_that_differ_are_read_natively(
    form: MessageForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python decodes no more events of a kind than there are forms and labels of it."""
    rng = random.Random(SEED)
    fast, slow = readers(None, monkeypatch)
    records = []
    for number in range(300):
        sent = headers(RESPONSE, "plain", number)[:-1]
        if form.container == BINARY:
            body, length = protobuf_kinds.binary(rng, form, 1)
            if number % 2:
                sent.append(("inference-header-content-length", str(length).encode()))
        else:
            body, protocol = _answer(rng, form, 1)
            sent.append(("content-type", b"application/protobuf"))
            sent.append(("ce_protocol", protocol.encode()))
        records.append(record(number, (sent, body)))
    for start in range(0, 300, 30):
        part = records[start : start + 30]
        assert fast.read(part) == slow.read(part)
    assert len(fast.decoded) < 150
