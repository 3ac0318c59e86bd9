"""What nobody should send, and somebody will: seeded, so that a run can be repeated."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Headers = list[tuple[str, bytes]]

#: Few, so that what is understood by chance does not grow the state.
_IDS = [f"request-{number}".encode() for number in range(50)]
_KINDS = [
    b"io.seldon.serving.inference.response",
    b"io.seldon.serving.feedback",
    b"org.kubeflow.serving.inference.response",
    b"io.seldon.serving.inference.request",
]
_NAMES = [
    b"model",
    b"<script>alert(1)</script>",
    b'a"b\\c\nd',
    "模型".encode(),
    b"../../etc/passwd",
]
_ODD = [b"", b"\xff\xfe", b"\x00", b"-1", b"1e999", b"a" * 5000, b"2099-13-45T99:99:99Z", b"{}"]


def _nested(depth: int) -> bytes:
    return b'{"data":{"ndarray":' + b"[" * depth + b"]" * depth + b"}}"


_BODIES: list[Callable[[random.Random], bytes]] = [
    lambda rng: rng.randbytes(rng.randrange(200)),
    lambda rng: b"",
    lambda rng: b"{" * rng.randrange(1, 3000),
    lambda rng: _nested(rng.choice((50, 1000, 50_000))),
    lambda rng: b'{"data":{"ndarray":[[NaN,Infinity,-Infinity]]}}',
    lambda rng: b'{"data":{"ndarray":[[1e400,' + b"9" * 4000 + b"]]}}",
    lambda rng: b'{"data":{"ndarray":[["' + b"x" * rng.randrange(100_000) + b'"]]}}',
    lambda rng: b'{"data":{"tensor":{"shape":[1000000000,1000000000],"values":[1]}}}',
    lambda rng: b'{"data":{"names":["a","a"],"ndarray":[[0.5,0.5]],"tensor":{"values":[1]}}}',
    lambda rng: b'{"reward":' + rng.choice((b"1e308", b"-1e9", b'"x"', b"null", b"[]")) + b"}",
    lambda rng: b'{"truth":{"data":{"ndarray":[[[[[[1]]]]]]}},"reward":true}',
    lambda rng: b'"\\ud800"',
    lambda rng: json.dumps({"data": {"ndarray": [[0.1, 0.9]] * rng.randrange(300)}}).encode(),
    lambda rng: json.dumps({"jsonData": {str(n): None for n in range(rng.randrange(50))}}).encode(),
]


def events(number: int, seed: int) -> Iterator[tuple[Headers, bytes | None]]:
    """So many records as a topic may hold them."""
    rng = random.Random(seed)
    for _ in range(number):
        headers: Headers = [
            ("ce_specversion", b"1.0"),
            ("ce_type", rng.choice(_KINDS)),
            ("ce_requestid", rng.choice(_IDS)),
            ("ce_inferenceservicename", rng.choice(_NAMES)),
            ("ce_namespace", rng.choice(_NAMES)),
            ("ce_endpoint", b"default"),
            ("ce_modelid", rng.choice(_NAMES)),
            ("ce_time", b"2026-11-20T09:00:00Z"),
        ]
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(headers) + 1)
            if place == len(headers) or rng.random() < 0.3:
                headers.insert(place, (rng.choice(("", "ce_", "ce_type", "x" * 300)), b"?"))
            else:
                headers[place] = (headers[place][0], rng.choice(_ODD))
        yield headers, None if rng.random() < 0.02 else rng.choice(_BODIES)(rng)


def requests(number: int, seed: int) -> Iterator[bytes]:
    """So many requests as bytes on a connection, most of them HTTP."""
    rng = random.Random(seed)
    for headers, value in events(number, seed + 1):
        body = value or b""
        lines = [
            b"ce-" + name[3:].encode() + b": " + content.replace(b"\n", b" ").replace(b"\0", b"")
            for name, content in headers
            if name.startswith("ce_") and len(name) > 3
        ]
        kind = rng.choice((b"application/json", b"application/cloudevents+json", b"text/\xff"))
        if rng.random() < 0.2:
            kind = b"application/cloudevents-batch+json"
            body = b"[" + b",".join([body or b"0"] * rng.randrange(4)) + b"]"
        method = rng.choice((b"POST",) * 9 + (b"GET", b"PUT", b"\x16\x03\x01"))
        path = rng.choice((b"/",) * 8 + (b"/feedback", b"/feedback?deployment=%ff", b"/../x"))
        length = len(body) if rng.random() < 0.97 else rng.choice((-1, 10**12))
        lines += [b"Host: x", b"Content-Type: " + kind, b"Content-Length: %d" % length]
        if rng.random() < 0.05:
            lines.append(b"Content-Encoding: " + rng.choice((b"gzip", b"deflate", b"lzma")))
        if rng.random() < 0.02:
            lines.append(b"X-Long: " + b"y" * 20_000)
        yield method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body


def largest(names: list[bytes], seed: int) -> Iterator[tuple[Headers, bytes]]:
    """The most that one deployment's messages may say: every row of each has a label of its own, of
    nearly the longest kind; all ``names`` are predictors that answer the same requests, and the truth
    is corrected twice, the last time for all rows at once."""
    rng = random.Random(seed)
    rows = 20_000
    labels = [f"{rng.getrandbits(1000):0250x}" for _ in range(4 * rows)]

    def headers(kind: bytes, request: int, name: bytes, minute: int) -> Headers:
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"%d-%d" % (request, minute)),
            ("ce_source", b"hostile"),
            ("ce_type", b"io.seldon.serving." + kind),
            ("ce_requestid", b"request-%d" % request),
            ("ce_inferenceservicename", b"largest"),
            ("ce_namespace", b"seldon"),
            ("ce_endpoint", name),
            ("ce_modelid", b"model"),
            ("ce_time", b"2026-11-20T09:%02d:00Z" % minute),
            ("content-type", b"application/json"),
        ]

    def body(said: list[str]) -> dict[str, Any]:
        return {"data": {"ndarray": [[label] for label in said]}}

    for number, name in enumerate(names):
        said = body(labels[number % 2 * rows :][:rows])
        yield headers(b"inference.response", 1, name, number), json.dumps(said).encode()
    for minute, truth in enumerate((labels[:rows], labels[2 * rows : 3 * rows], labels[:rows]), 30):
        said = {"truth": body(truth)}
        yield headers(b"feedback", 1, names[0], minute), json.dumps(said).encode()
    # Names in the largest characters.
    for number in range(6):
        wide = ["\U0001f600" * 500_000, "\U0001f601" * (500_000 + number)]
        said = {"data": {"names": wide, "ndarray": [[0.1, 0.9]]}}
        text = json.dumps(said, ensure_ascii=False).encode()
        yield headers(b"inference.response", 2, names[0], number), text
