"""CloudEvents over HTTP to raw events (HTTP protocol binding 1.0.2)."""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from processor.domain import raw_json
from processor.domain.events import RawEvent

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


class BrokenBatch(ValueError):
    """The body says that it is a batch, and is no JSON array; `event` holds it whole."""

    def __init__(self, event: RawEvent, detail: str) -> None:
        super().__init__(detail)
        self.event = event


def to_events(headers: RawHeaders, content_type: str, body: bytes, time: int) -> list[RawEvent]:
    """The events of a request, in any of the three content modes; ``time`` is its acceptance.

    What an event says is not looked at; only a batch is split, which can raise `BrokenBatch`.
    """
    kind = media_type(content_type)
    value = body or None  # no data in binary mode is Kafka's null
    if kind.startswith(_BATCH):
        return _split(content_type, body, time)
    if kind.startswith(_STRUCTURED):
        return [RawEvent((("content-type", content_type.encode()),), value, time)]
    return [RawEvent(kept_headers(headers), value, time)]


def _split(content_type: str, body: bytes, time: int) -> list[RawEvent]:
    try:
        if not media_type(content_type).endswith("+json"):
            raise ValueError(f"a batch as {content_type} is not supported: use {_BATCH}+json")
        headers = (("content-type", f"{_STRUCTURED}+json".encode()),)
        return [RawEvent(headers, element, time) for element in raw_json.elements(body)]
    except ValueError as error:
        whole = RawEvent((("content-type", content_type.encode()),), body or None, time)
        raise BrokenBatch(whole, str(error)) from None
