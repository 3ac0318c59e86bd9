"""Seldon's feedback body and a few names to the event that the executor would make of them."""

from collections.abc import Mapping
from uuid import uuid4

from processor.domain.events import RawEvent
from processor.domain.times import format_time
from processor.ingress.cloudevents import Headers

_TYPE = b"io.seldon.serving.feedback"
_SOURCE = b"/feedback"
#: Query parameter, and the attribute whose header says the same. The first two must be given, but
#: the namespace may be empty: some loggers know none.
_NAMES = (
    ("deployment", "ce_inferenceservicename"),
    ("namespace", "ce_namespace"),
    ("predictor", "ce_endpoint"),
    ("model", "ce_modelid"),
)
_PUID = "seldon-puid"


def feedback_event(headers: Headers, query: Mapping[str, str], body: bytes, time: int) -> RawEvent:
    """A feedback event with a new id, its ``ce_time`` that of acceptance (ns).

    ``headers`` as `cloudevents.kept_headers` gives them. ValueError names what is missing.
    """
    given = dict(headers)
    puid = given.get(_PUID)
    if not puid:
        raise ValueError(f"the header {_PUID} is missing: give the id that the prediction returned")
    unknown = set(query) - {name for name, _ in _NAMES}
    if unknown:
        raise ValueError(
            f"the query parameter {min(unknown)} is unknown: use "
            + ", ".join(name for name, _ in _NAMES)
        )
    names = []
    for name, attribute in _NAMES:
        value = _named(name, attribute, given, query)
        if value or name == "namespace":
            names.append((attribute, value))
    return RawEvent(
        (
            ("ce_specversion", b"1.0"),
            ("ce_id", str(uuid4()).encode()),
            ("ce_type", _TYPE),
            ("ce_source", _SOURCE),
            ("ce_time", format_time(time).encode()),
            ("ce_requestid", puid),
            *names,
            ("content-type", given.get("content-type", b"application/json")),
        ),
        body or None,
        time,
    )


def _named(
    name: str, attribute: str, headers: Mapping[str, bytes], query: Mapping[str, str]
) -> bytes:
    header = headers.get(attribute)
    parameter = query[name].encode() if name in query else None
    if header is not None and parameter is not None and header != parameter:
        raise ValueError(f"the {name} is given twice with different values: keep one")
    value = parameter if header is None else header
    if (name == "deployment" and not value) or (name == "namespace" and value is None):
        raise ValueError(
            f"the {name} is missing: give it as header {attribute.replace('_', '-', 1)} or as "
            f"query parameter {name}"
        )
    return value or b""
