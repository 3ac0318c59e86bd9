"""Convert a Seldon feedback body, and the names of its model, to a feedback event."""

from collections.abc import Mapping
from uuid import uuid4

from processor.domain.events.raw_event import RawEvent
from processor.domain.timestamps import format_time
from processor.ingress.cloudevents import RawHeaders, decode_value

_TYPE = b"io.seldon.serving.feedback"
_SOURCE = b"/feedback"
#: The names of a model, as a query parameter or header of the first name, or as the header of the
#: CloudEvents attribute of the second. The first two must be given, but the namespace may be empty:
#: some request loggers do not know it.
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
    """The feedback event that Seldon's executor would send, with a new id and ``time`` (ns), the time
    of acceptance.

    ValueError names the header or parameter that is missing, unknown or contradictory.
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
        value = _value(name, attribute, headers, query)
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


def _value(
    name: str, attribute: str, headers: Mapping[str, bytes], query: Mapping[str, str]
) -> bytes:
    """The value of one of `_NAMES`, which may be given several times if the values are equal."""
    values = {
        decode_value(headers[header])
        for header in (name, attribute, f"ce-{attribute}")
        if header in headers
    }
    if name in query:
        values.add(query[name].encode("utf-8", "replace"))
    if len(values) > 1:
        raise ValueError(f"the {name} is given twice with different values: keep one")
    value = values.pop() if values else None
    if (name == "deployment" and not value) or (name == "namespace" and value is None):
        raise ValueError(
            f"the {name} is missing: give it as header ce-{attribute} or {name}, or as query "
            f"parameter {name}"
        )
    return value or b""
