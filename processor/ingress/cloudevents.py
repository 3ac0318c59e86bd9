"""Convert CloudEvents over HTTP to raw events (HTTP protocol binding 1.0.2).

The CloudEvents SDK (cloudevents 2.2, tried) is not used. It turns ``time`` into a datetime, which
cuts the nanoseconds that order versions (counting rule 12) to microseconds, so live numbers would
differ from a replay's. It parses the body, so the archive would not keep the received bytes, and
takes 22 us an event instead of 6. It does not support the batched mode, and reads a structured event
that also has a ``ce-`` header as a binary one. The tests send events with it.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import unquote_to_bytes

from processor.domain.events import raw_json
from processor.domain.events.raw_event import DeadLetter, RawEvent

_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"

RawHeaders = Iterable[tuple[bytes, bytes]]
Headers = tuple[tuple[str, bytes], ...]

#: Headers without the prefix ``ce-`` that are kept: those of Seldon's executor on its own Kafka topic,
#: which an events file can hold too, and of the Open Inference Protocol's binary form. All others are
#: dropped: the archive must not keep credentials and cookies.
_UNPREFIXED = frozenset(
    {"content-type", "type", "requestid", "modelid", "inferenceservicename", "namespace",
     "endpoint", "protocol", "inference-header-content-length"}
)  # fmt: skip
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def media_type(content_type: str) -> str:
    """A content type without its parameters, in lower case.

    >>> media_type("Application/CloudEvents+JSON; charset=utf-8")
    'application/cloudevents+json'
    """
    return content_type.partition(";")[0].strip().lower()


def kept_headers(headers: RawHeaders, named: Collection[str] = ()) -> Headers:
    """The headers of a request in the form of Kafka's binary mode; unknown headers are dropped, but for
    those ``named`` in the models file.

    >>> kept_headers([(b"Ce-Source", b"caf%C3%A9"), (b"Seldon-Puid", b"1"), (b"Cookie", b"x")])
    (('ce_source', b'caf\\xc3\\xa9'), ('seldon-puid', b'1'))
    """
    kept = []
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith("ce-"):
            kept.append(("ce_" + name[3:], decode_value(value)))
        elif name in _UNPREFIXED or name in named or name.startswith("seldon-"):
            kept.append((name, value))
    return tuple(kept)


def decode_value(value: bytes) -> bytes:
    """The decoded value of an attribute's header: quotes, which senders of older CloudEvents versions
    add, are removed, then percent-encoded bytes are decoded.

    >>> decode_value(b"Euro%20%E2%82%AC"), decode_value(b'"a \\\\"b"')
    (b'Euro \\xe2\\x82\\xac', b'a "b')
    """
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value) if b"%" in value else value


class Unreadable(ValueError):
    """A body that is not in the format that its content type names: ``event`` is the whole body as a
    raw event, ``dead_letter`` gives the reason, ``status`` is the HTTP status to respond with."""

    def __init__(self, event: RawEvent, dead_letter: DeadLetter, status: int) -> None:
        super().__init__(dead_letter.detail)
        self.event = event
        self.dead_letter = dead_letter
        self.status = status


def to_events(
    headers: RawHeaders, content_type: str, body: bytes, time: int, named: Collection[str] = ()
) -> list[RawEvent]:
    """The events of a request in any of the three content modes; ``time`` (ns) is that of acceptance,
    ``named`` are further headers that a binary event keeps.

    Events are not decoded, only a batch is split. `Unreadable` if the body is not a batch although
    its content type says so, or in a format other than JSON.
    """
    kind = media_type(content_type)
    value = body or None  # an event without data is a record without a value in Kafka
    if not kind.startswith(_STRUCTURED):
        return [RawEvent(kept_headers(headers, named), value, time)]
    whole = RawEvent((("content-type", content_type.encode()),), value, time)
    if kind not in (f"{_STRUCTURED}+json", f"{_BATCH}+json"):
        detail = f"{kind[:120]} is not supported: use {_STRUCTURED}+json or {_BATCH}+json"
        raise Unreadable(whole, DeadLetter("not_cloudevent", detail), 415)
    if not kind.startswith(_BATCH):
        return [whole]
    single = (("content-type", f"{_STRUCTURED}+json".encode()),)
    try:
        return [RawEvent(single, element, time) for element in raw_json.elements(body)]
    except ValueError as error:
        raise Unreadable(whole, DeadLetter("bad_json", f"a batch: {error}"), 400) from None


def with_advice(
    events: Sequence[RawEvent], results: Sequence[DeadLetter | None]
) -> Sequence[DeadLetter | None]:
    """The ``results`` of a request's events. If the request is a single event without the header
    Ce-Type, its dead letter names the missing headers."""
    if len(events) != 1 or results[0] is None or results[0].reason != "not_cloudevent":
        return results
    headers = dict(events[0].headers)
    if "ce_type" in headers or headers.get("content-type", b"").startswith(_STRUCTURED.encode()):
        return results
    detail = (
        "the request has no header Ce-Type: add it, with Ce-Id, Ce-Source and Ce-Specversion, or "
        "POST feedback in Seldon's form to /feedback"
    )
    return [DeadLetter("not_cloudevent", detail)]
