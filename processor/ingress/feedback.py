"""Seldon's feedback body and a few names to the event that the executor would make of them."""

from collections.abc import Mapping
from uuid import uuid4

from processor.domain.events.raw_event import RawEvent
from processor.domain.timestamps import format_time
from processor.ingress.cloudevents import RawHeaders, decode_value

_TYPE = b"io.seldon.serving.feedback"
_SOURCE = b"/feedback"
#: Query parameter, the header that says the same, and the attribute whose header does too. The first
#: two must be given, but the namespace may be empty: some loggers know none.
_NAMES = (
    ("deployment", "inferenceservicename"),
    ("namespace", "namespace"),
    ("predictor", "endpoint"),
    ("model", "modelid"),
)
_PUID = "seldon-puid"


def feedback_event(
    raw_headers: RawHeaders, query: Mapping[str, str], body: bytes, time: int
) -> RawEvent:
    """A feedback event with a new id, its ``ce_time`` that of acceptance (ns).

    ValueError names what is missing.
    """
    headers = {name.decode("latin-1").lower(): value for name, value in raw_headers}
    puid = headers.get(_PUID)
    if not puid:
        raise ValueError(f"the header {_PUID} is missing: give the id that the prediction returned")
    unknown = set(query) - {name for name, _ in _NAMES}
    if unknown:
        raise ValueError(
            f"the query parameter {min(unknown)[:60]!r} is unknown: use "
            + ", ".join(name for name, _ in _NAMES)
        )
    names = []
    for name, attribute in _NAMES:
        value = _named(name, attribute, headers, query)
        if value or name == "namespace":
            names.append((f"ce_{attribute}", value))
    return RawEvent(
        (
            ("ce_specversion", b"1.0"),
            ("ce_id", str(uuid4()).encode()),
            ("ce_type", _TYPE),
            ("ce_source", _SOURCE),
            ("ce_time", format_time(time).encode()),
            ("ce_requestid", puid),
            *names,
            ("content-type", headers.get("content-type", b"application/json")),
        ),
        body or None,
        time,
    )


def _named(
    name: str, attribute: str, headers: Mapping[str, bytes], query: Mapping[str, str]
) -> bytes:
    """Given once, or several times with one value."""
    given = {
        decode_value(headers[header])
        for header in (name, attribute, f"ce-{attribute}")
        if header in headers
    }
    if name in query:
        given.add(query[name].encode("utf-8", "replace"))
    if len(given) > 1:
        raise ValueError(f"the {name} is given twice with different values: keep one")
    value = given.pop() if given else None
    if (name == "deployment" and not value) or (name == "namespace" and value is None):
        raise ValueError(
            f"the {name} is missing: give it as header ce-{attribute} or {name}, or as query "
            f"parameter {name}"
        )
    return value or b""
