"""Damage to an event: bodies cut, joined and filled with odd tokens, headers gone or changed."""

import random

from tests.support.domain.envelope_kinds import FEEDBACK, RESPONSE

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


def damaged_body(rng: random.Random, body: bytes, other: bytes) -> bytes | None:
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


def damaged_headers(
    rng: random.Random, headers: list[tuple[str, bytes]]
) -> list[tuple[str, bytes]]:
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
