"""Events in every spelling of their envelope: header names, content modes, compression, odd values."""

import base64
import gzip
import json
import random
from collections.abc import Callable, Iterator

from processor.domain.events.raw_event import RawEvent
from tests.support.domain.envelope_kinds import ENVELOPES, FEEDBACK, NS, RESPONSE, TIME
from tests.support.domain.payload_kinds import PAYLOADS, Payload

Headers = list[tuple[str, bytes]]
_STRUCTURED, _BATCH = b"application/cloudevents+json", b"application/cloudevents-batch+json"

_ANSWERS = (
    '{"data":{"names":["a","b","c"],"ndarray":[[0.1,0.7,0.2]]},"meta":{"tags":{"x":[1]}}}',
    '{"data":{"ndarray":[["cat"]]},"meta":{"tags":{"café":"über \\"x\\" \\\\ \\n\\ud83d\\ude00"}}}',
    '{"data":{"names":["größe","日本"],"ndarray":[[0.25,0.75]]},"meta":{"puid":"\\u00e9"}}',
    '{"data":{"names":["gr\\u00f6\\u00dfe","\\t"],"ndarray":[[0.5,0.25]]}}',
    '{"data":{"ndarray":["日本"]}}', '{"data":{"ndarray":["\\u65e5\\u672c"]}}',
    '{"data":{"ndarray":["\\ud800"]}}', '{"meta":{"x":"\\ud800"},"data":{"ndarray":[1]}}',
    '{"d\\u0061ta":{"ndarray":[[0.2,0.8]]}}', '{"data":{"ndarray":[[1,0]]},"me\\u0074a":{}}',
    '{"data":{"ndarray":[[0.5,NaN]]}}', '{"error":"no model"}', "{}", "", "null", '"text"',
)  # fmt: skip
_FEEDBACKS = (
    '{"reward":1}', '{"reward":0.5,"truth":{"data":{"ndarray":[[0,1,0]]}}}', '{"reward":-2,"truth":{}}',
    '{"truth":{"data":{"names":["größe","x"],"ndarray":["größe"]}},"meta":{"é":1}}', "{}",
    '{"reward":1,"request":{"data":{"ndarray":[["ä\\u00e4"]]}},"response":{"meta":{"tags":{"ß":1}}}}',
)  # fmt: skip
_TYPES = (
    RESPONSE, RESPONSE, RESPONSE, FEEDBACK, FEEDBACK, "org.kubeflow.serving.inference.response",
    "io.kserve.inference.response", "io.kserve.inference.request", "org.kubeflow.serving.feedback",
    "io.seldon.serving.inference.request", "io.seldon.serving.inference.outlier", "order.created", "",
    f'"{RESPONSE}"', '"x"', "dev.knative.kafka.event",
)  # fmt: skip
_IDS = (
    "0a1b2c3d-0000-4000-8000-{:012x}", "r{}", "é{}", "{}" + "x" * 60, "{}" + "é" * 100, "{}" + "é" * 130,
    "{}" + "x" * 600,
)  # fmt: skip
_TIMES = (
    TIME, TIME, TIME, "2026-11-20T10:00:00+01:00", "2026-11-20 09:00:00.1234567891-00:30",
    "2026-11-20t09:00:60z", "0001-01-01T00:00:00Z", "2026-11-20T09:20:00Z", "1970-01-01T00:00:00+00:01",
    "2026-11-20T09:00:00+24:00", "2026-11-20T09:00:00", "2026-02-29T09:00:00Z", "yesterday", "",
)  # fmt: skip
#: Further headers, in names as a CloudEvent over Kafka has them.
_MORE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ce_id", ("e-{}", "e-1", "")),
    ("ce_source", ("http://:8000/",)),
    ("ce_specversion", ("1.0", "1.0", '"1.0"', '"', "")),
    ("ce_statuscode", ("200", "200", "404", "x", "", "0400", "99999999999")),
    ("ce_component", ("predictor", "transformer", "explainer", "")),
    ("ce_protocol", ("seldon", "v2")),
    ("ce_datacontenttype", ("application/json", "text/plain")),
    ("ce_datacontentencoding", ("base64",)),
    ("content-encoding", ("gzip", "identity", "br")),
    ("seldon-puid", ("p-{}", "")),
    ("inference-header-content-length", ("20", "x", "")),
    ("ce_inferenceheadercontentlength", ("20",)),
    ("requestid", ("q-{}", "")),
    ("type", (RESPONSE, "x")),
    ("namespace", ("other",)),
    ("traceparent", ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",)),
    ("Accept", ("x",)),
    ("ce_größe", ("x",)),
    ("ce_\u212ano", ("x",)),
    ("Ce_Type", (RESPONSE, FEEDBACK)),
    ("ce-type", (RESPONSE,)),
    ("CE-Requestid", ("up-{}",)),
    ("a b", ("x",)),
)
_CONTENT_TYPES = (
    "application/json", "application/json", "application/json; charset=utf-8", "text/plain", "",
    "Application/JSON", "application/protobuf", "application/cloudevents+xml", "application/x;q=1",
)  # fmt: skip


def attributes(rng: random.Random, number: int, odd: float) -> dict[str, str]:
    """The headers of an event in binary mode; ``odd`` is the chance of an uncommon one."""

    def pick(values: tuple[str, ...]) -> str:
        return (rng.choice(values) if rng.random() < odd else values[0]).format(number % 997)

    found = {
        "ce_type": rng.choice(_TYPES[:5]) if rng.random() > odd else rng.choice(_TYPES),
        "ce_namespace": rng.choice(("ns", "ns", "größe") if rng.random() < odd else ("ns",)),
        "ce_inferenceservicename": pick(("dep", "dep", "other", "", '"dep"', "a\nb")),
        "ce_endpoint": pick(("default", "canary", "")),
        "ce_modelid": pick(("clf", "clf", "mödell", "")),
        "ce_requestid": pick(_IDS) if rng.random() < 0.9 else rng.choice(_IDS[:6]).format(number),
        "ce_time": pick(_TIMES),
        "content-type": pick(_CONTENT_TYPES),
    }
    for _ in range(rng.choice((0, 0, 1, 2))):
        name, values = rng.choice(_MORE)
        found[name] = rng.choice(values).format(number)
    for _ in range(rng.random() < odd):
        found.pop(rng.choice(list(found)), None)
    return found


def _binary(rng: random.Random, found: dict[str, str], body: str) -> RawEvent:
    headers = [(name, text.encode()) for name, text in found.items()]
    respell: Callable[[str], str] = rng.choice((str, str, str, _dashed, str.title, str.upper))
    if rng.random() < 0.1:
        headers = [(respell(name) if rng.random() < 0.3 else name, text) for name, text in headers]
    else:
        headers = [(respell(name), text) for name, text in headers]
    rng.shuffle(headers)
    value = body.encode("utf-8", "surrogatepass")
    return RawEvent(headers, gzip.compress(value) if rng.random() < 0.2 else value, NS)


def _dashed(name: str) -> str:
    return name.replace("ce_", "ce-")


def executor(rng: random.Random, found: dict[str, str], body: str) -> RawEvent:
    """A record of the executor's own log, whose headers have no prefix, or wrapped by KafkaSource."""
    names = {name: name.removeprefix("ce_") for name in list(found)[:6]}
    own = {names.get(name, name): text for name, text in found.items()}
    if rng.random() < 0.9:
        own.pop("ce_time", None)
    if rng.random() < 0.4:
        prefix = "ce_kafkaheader"
        wrapped = {
            name if name[:3] == "ce_" else prefix + name.replace("-", ""): text
            for name, text in own.items()
            if name.isascii() and (name[:3] == "ce_" or rng.random() < 0.98)
        }
        wrapped["content-type"] = found.get("content-type", "")
        own = wrapped | {"ce_type": "dev.knative.kafka.event", "ce_id": "partition:3/offset:17"}
        if rng.random() < 0.02:
            own[f"{prefix}ce_statuscode"] = "404"
    return _binary(rng, own, body)


def _json(rng: random.Random, found: dict[str, str], body: str) -> str:
    """The text of a structured event."""
    members: list[tuple[str, str]] = []
    for name, text in found.items():
        if name.startswith("ce_"):
            value: object = text
            if rng.random() < 0.02:
                value = rng.choice((None, 1, 404, True, [1], {"a": None}))
            members.append((name[3:], json.dumps(value, ensure_ascii=rng.random() < 0.5)))
    data = body or "null"
    if rng.random() < 0.05:
        data = json.dumps(rng.choice((" ", "", "\u00a0")) + body)
    if rng.random() < 0.15:
        members.append(("data_base64", json.dumps(_base64(rng, body))))
        data = rng.choice((data, "null", "1"))
    members.insert(rng.choice((0, len(members), len(members))), ("data", data))
    if rng.random() < 0.03:
        extra = ("data_base64", "null"), ("data_base64", '"e30="'), ("é", "[1]"), ("time", "null")
        members.append(rng.choice(extra))
    space = rng.choice(("", "", " ", "\n "))
    letter = ("a", "\\u0061") if rng.random() < 0.02 else ("", "")
    names = [json.dumps(name).replace(*letter, 1) for name, _ in members]
    texts = [f"{space}{name}:{space}{text}" for name, (_, text) in zip(names, members, strict=True)]
    return "{" + ",".join(texts) + "}"


def _base64(rng: random.Random, body: str) -> str:
    """A body in base64, some of it in gzip or in an odd form."""
    found = body.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        found = gzip.compress(found)
    text = base64.b64encode(found).decode()
    if rng.random() < 0.1:
        text = rng.choice(
            (text.rstrip("="), text + "=", f" {text}", text[:-1], text.replace("e", "-"), "")
        )
    return text


def _structured(rng: random.Random, text: str, media_type: bytes) -> RawEvent:
    if rng.random() < 0.2:
        media_type = rng.choice((media_type + b"; charset=UTF-8", media_type.title()))
    value = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        value = gzip.compress(value)
    headers = [(rng.choice(("content-type", "Content-Type")), media_type)]
    return RawEvent(headers, value, NS)


def event(rng: random.Random, number: int) -> RawEvent:
    """An event whose envelope has a form of its own."""
    if rng.random() < 0.1:
        payload = Payload(rng.choice(_ANSWERS).encode("utf-8", "replace"), "", "text/plain")
        payload = rng.choice((payload, *PAYLOADS.values()))
        make = rng.choice(ENVELOPES)
        try:
            return make(payload, rng.choice((RESPONSE, FEEDBACK)))
        except ValueError:  # what is no JSON has no such envelope
            return make(PAYLOADS["ndarray"], RESPONSE)
    odd = rng.choice((0.0, 0.0, 0.1, 0.3))

    def one() -> tuple[dict[str, str], str]:
        found = attributes(rng, number, odd)
        bodies = _FEEDBACKS if "feedback" in found.get("ce_type", "") else _ANSWERS
        return found, rng.choice(bodies if odd else bodies[:5])

    kind = rng.randrange(8)
    if kind < 4:
        return _binary(rng, *one())
    if kind == 4:
        return executor(rng, *one())
    if kind == 5:
        texts = [_json(rng, *one()) for _ in range(rng.randrange(5))]
        if rng.random() < 0.1:
            texts.append(rng.choice(("1", "[]", '"x"', "{", "NaN", '{"a":NaN}')))
        return _structured(rng, "[" + ", ".join(texts) + "]", _BATCH)
    return _structured(rng, _json(rng, *one()), _STRUCTURED)


def events(
    seed: int, count: int, damage: Callable[[random.Random, bytes, bytes], bytes | None]
) -> Iterator[RawEvent]:
    """The same events each time for one seed; some are damaged by ``damage``."""
    rng = random.Random(seed)
    others = [b"{}"]
    for number in range(count):
        found = event(rng, number)
        others = [*others[-20:], found.value or b""]
        if rng.random() < 0.15:
            found = found._replace(value=damage(rng, found.value or b"", rng.choice(others)))
        if rng.random() < 0.03:
            null: bytes = None  # type: ignore[assignment]  # Kafka has headers without a value
            at = rng.randrange(len(found.headers) or 1)
            headers = [
                (name, null if position == at else text)
                for position, (name, text) in enumerate(found.headers)
            ]
            found = found._replace(headers=headers)
        if rng.random() < 0.02:
            # Kafka writes -1 ms, which the client that makes the batches here takes for unset.
            found = found._replace(timestamp=-2_000_000)
        yield found
