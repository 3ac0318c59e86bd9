"""CloudEvents over HTTP to raw events (HTTP protocol binding 1.0.2).

Not by the CloudEvents SDK (cloudevents 2.2, tried): it turns ``time`` into a datetime, so the
nanoseconds that order versions (counting rule 12) end at microseconds, and the live numbers would
differ from a replay's; it parses the body, so what is kept would not be the bytes that came, and
takes 22 us an event where this takes 6; it knows no batched mode, and takes a structured event that
has a ``ce-`` header too for a binary one. What it writes is read here: the tests send with it.
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote_to_bytes

from processor.domain.events import raw_json
from processor.domain.events.raw_event import DeadLetter, RawEvent

_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"

RawHeaders = Iterable[tuple[bytes, bytes]]
Headers = tuple[tuple[str, bytes], ...]

#: Headers of Seldon's executor on its own Kafka topic, which an events file can hold too, and of the
#: Open Inference Protocol's binary form. All other headers stay at the door: the archive must not
#: keep credentials and cookies.
_PLAIN = frozenset(
    {"content-type", "type", "requestid", "modelid", "inferenceservicename", "namespace",
     "endpoint", "protocol", "inference-header-content-length"}
)  # fmt: skip
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case.

    >>> media_type("Application/CloudEvents+JSON; charset=utf-8")
    'application/cloudevents+json'
    """
    return content_type.partition(";")[0].strip().lower()


def kept_headers(headers: RawHeaders) -> Headers:
    """Headers of a request as Kafka's binary mode has them; unknown ones are left out.

    >>> kept_headers([(b"Ce-Source", b"caf%C3%A9"), (b"Seldon-Puid", b"1"), (b"Cookie", b"x")])
    (('ce_source', b'caf\\xc3\\xa9'), ('seldon-puid', b'1'))
    """
    kept = []
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if name.startswith("ce-"):
            kept.append(("ce_" + name[3:], decode_value(value)))
        elif name in _PLAIN or name.startswith("seldon-"):
            kept.append((name, value))
    return tuple(kept)


def decode_value(value: bytes) -> bytes:
    """An attribute's bytes: quotes first, for senders of older versions, then percent signs.

    >>> decode_value(b"Euro%20%E2%82%AC"), decode_value(b'"a \\\\"b"')
    (b'Euro \\xe2\\x82\\xac', b'a "b')
    """
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value) if b"%" in value else value


class Unreadable(ValueError):
    """The body as a whole can't be read as what the request says it is: ``event`` holds it,
    ``letter`` says why, ``status`` is that of the answer."""

    def __init__(self, event: RawEvent, letter: DeadLetter, status: int) -> None:
        super().__init__(letter.detail)
        self.event = event
        self.letter = letter
        self.status = status


def to_events(headers: RawHeaders, content_type: str, body: bytes, time: int) -> list[RawEvent]:
    """The events of a request, in any of the three content modes; ``time`` is its acceptance.

    What an event says is not looked at: only a batch is split. `Unreadable` if it is none, or in a
    format other than JSON.
    """
    kind = media_type(content_type)
    value = body or None  # no data in binary mode is Kafka's null
    if not kind.startswith(_STRUCTURED):
        return [RawEvent(kept_headers(headers), value, time)]
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
    events: Sequence[RawEvent], found: Sequence[DeadLetter | None]
) -> Sequence[DeadLetter | None]:
    """The dead letters ``found`` of a request's events; that of a plain body says what to add."""
    if len(events) != 1 or found[0] is None or found[0].reason != "not_cloudevent":
        return found
    headers = dict(events[0].headers)
    if "ce_type" in headers or headers.get("content-type", b"").startswith(_STRUCTURED.encode()):
        return found
    detail = (
        "the request has no header Ce-Type: add it, with Ce-Id, Ce-Source and Ce-Specversion, or "
        "POST feedback in Seldon's form to /feedback"
    )
    return [DeadLetter("not_cloudevent", detail)]
