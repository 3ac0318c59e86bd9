"""Events with the recorded messages of ``tests/data`` in every envelope, and damaged copies of them."""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle

from processor.domain.events.events_file import parse_line
from processor.domain.events.raw_event import RawEvent
from tests.support.domain.envelope_kinds import ENVELOPES, FEEDBACK, NS, RESPONSE
from tests.support.domain.payload_kinds import DATA, PAYLOADS, PROTOBUF, Payload
from tests.support.events.damage import damaged_body, damaged_headers

ANSWER_FORMS = DATA.parent / "answer-forms"


def seeds() -> list[RawEvent]:
    """Every payload as a response, and as the truth of a feedback, in every envelope."""
    truth = [
        Payload(b'{"reward":%s,"truth":%s}' % (reward, payload.body), "")
        for reward, payload in zip(cycle([b"1", b"false", b"0.5", b"-1e6"]), PAYLOADS.values())
        if payload.body[:1] == b"{" and payload.body[-1:] == b"}"
    ]
    truth.append(Payload((DATA / "feedback-truth.pb").read_bytes(), "", PROTOBUF))
    found = [make(payload, RESPONSE) for make in ENVELOPES for payload in PAYLOADS.values()]
    return found + [make(payload, FEEDBACK) for make in ENVELOPES for payload in truth]


def answer_forms() -> list[RawEvent]:
    """The events of the recorded files of answers and feedback."""
    paths = sorted(ANSWER_FORMS.glob("*.ndjson"))
    return [
        parse_line(line, 0, NS) for path in paths for line in path.read_bytes().split(b"\n") if line
    ]


def damaged(rng: random.Random, originals: Sequence[RawEvent], count: int) -> Iterator[RawEvent]:
    """So many copies, each damaged in its own way."""
    for _ in range(count):
        seed = rng.choice(originals)
        headers, body = list(seed.headers), seed.value
        changes = rng.choice((1, 1, 1, 2, 3))
        for _ in range(changes):
            if rng.random() < 0.7:
                body = damaged_body(rng, body or b"", rng.choice(originals).value or b"")
            elif headers:
                headers = damaged_headers(rng, headers)
        yield RawEvent(headers, body, rng.choice((NS, NS, -1)))
