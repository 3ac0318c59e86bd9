"""Convert a feedback body, and the names of its model, to a feedback event."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import uuid4

import msgspec

from processor.domain.events.raw_event import RawEvent
from processor.domain.events.raw_json import members
from processor.domain.timestamps import format_time
from processor.domain.type_errors import type_error
from processor.ingress.cloudevents import RawHeaders, decode_value

_TYPE = b"io.seldon.serving.feedback"
_SOURCE = b"/feedback"
#: The names of a model: as a query parameter or header of the first name, as the header of the
#: CloudEvents attribute of the second, or in the body of Seldon's performance-metrics module. The first
#: two must be given, but the namespace may be empty: some request loggers do not know it.
NAMES = (
    ("deployment", "inferenceservicename", "pipelineName"),
    ("namespace", "namespace", "namespace"),
    ("predictor", "endpoint", ""),
    ("model", "modelid", "modelName"),
)
_PUID = "seldon-puid"

#: A body of each form that `POST /feedback` accepts.
EXAMPLES = (
    '{"truth": "cat"}',
    '{"truth": 2}',
    '{"truth": ["cat", "dog"]}',
    '{"reward": 1}',
    '{"truth": {"data": {"ndarray": ["cat"]}}}',
    '{"namespace": "shop", "pipelineName": "churn", "modelName": "forest", "requestId": "order-17", '
    '"feedback": {"classificationFeedback": {"value": 2}}}',
)


class _Value(msgspec.Struct):
    value: msgspec.Raw = msgspec.Raw(b"null")


class _ModuleFeedback(msgspec.Struct):
    """The body of Seldon's performance-metrics module that is a feedback; its names are optional here
    where the header or the query has them."""

    feedback: dict[str, _Value]
    request_id: str = msgspec.field(default="", name="requestId")
    batch_id: int = msgspec.field(default=0, name="batchId")
    namespace: str | None = None
    pipeline: str | None = msgspec.field(default=None, name="pipelineName")
    model: str | None = msgspec.field(default=None, name="modelName")


#: The members under which the module has the true value of a row.
_MODULE_FORMS = ("classificationFeedback", "regressionFeedback")
_read_module = msgspec.json.Decoder(_ModuleFeedback).decode


class _Body(NamedTuple):
    """A body in Seldon's form, with the request id and the names that it brought along."""

    content: bytes
    request_id: str = ""
    names: Mapping[str, str] = {}


def feedback_event(
    raw_headers: RawHeaders, query: Mapping[str, str], body: bytes, time: int
) -> RawEvent:
    """The feedback event that Seldon's executor would send, with a new id and ``time`` (ns), the time
    of acceptance.

    ValueError names the header, parameter or member of the body that is missing, unknown or
    contradictory.
    """
    headers = {name.decode("latin-1").lower(): value for name, value in raw_headers}
    read = _from_module(body) or _Body(body)
    puid = headers.get(_PUID) or read.request_id.encode()
    if not puid:
        raise ValueError(
            f"the header {_PUID} is missing: give the id that the prediction returned, there or as "
            "requestId in the body of Seldon's performance-metrics module"
        )
    if read.request_id and puid != read.request_id.encode():
        raise ValueError(f"the header {_PUID} and the body's requestId differ: keep one")
    unknown = set(query) - {name for name, _, _ in NAMES}
    if unknown:
        raise ValueError(
            f"the query parameter {min(unknown)[:60]!r} is unknown: use "
            + ", ".join(name for name, _, _ in NAMES)
        )
    names = []
    for name, attribute, _ in NAMES:
        value = _value(name, attribute, headers, query, read.names)
        if value or name == "namespace":
            names.append((f"ce_{attribute}", value))
    content_type = headers.get("content-type", b"application/json")
    return RawEvent(
        (
            ("ce_specversion", b"1.0"),
            ("ce_id", str(uuid4()).encode()),
            ("ce_type", _TYPE),
            ("ce_source", _SOURCE),
            ("ce_time", format_time(time).encode()),
            ("ce_requestid", puid),
            *names,
            ("content-type", content_type if read.content is body else b"application/json"),
        ),
        read.content or None,
        time,
    )


def _value(
    name: str,
    attribute: str,
    headers: Mapping[str, bytes],
    query: Mapping[str, str],
    of_body: Mapping[str, str],
) -> bytes:
    """The value of one of `NAMES`, which may be given several times if the values are equal."""
    values = {
        decode_value(headers[header])
        for header in (name, attribute, f"ce-{attribute}")
        if header in headers
    }
    values |= {each[name].encode("utf-8", "replace") for each in (query, of_body) if name in each}
    if len(values) > 1:
        raise ValueError(f"the {name} is given twice with different values: keep one")
    value = values.pop() if values else None
    if (name == "deployment" and not value) or (name == "namespace" and value is None):
        raise ValueError(
            f"the {name} is missing: give it as header ce-{attribute} or {name}, or as query "
            f"parameter {name}"
        )
    return value or b""


def _from_module(body: bytes) -> _Body | None:
    """The feedback of a body of Seldon's performance-metrics module; None for any other body.

    ValueError for a member of a wrong type, and for a row other than the first: the rows of a request
    are judged together.
    """
    if b'"feedback"' not in body:
        return None
    try:
        keys = members(body).keys()
    except (ValueError, RecursionError):
        return None  # it is not a JSON object
    if "feedback" not in keys or not keys.isdisjoint(("truth", "reward")):
        return None
    try:
        found = _read_module(body)
    except msgspec.ValidationError as error:
        raise ValueError(type_error(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if found.batch_id:
        raise ValueError(
            f"batchId {found.batch_id} is a row of a batch, whose rows are judged together: send all "
            'of them as {"truth": [...]}, one value a row'
        )
    given = {"namespace": found.namespace, "deployment": found.pipeline, "model": found.model}
    names = {name: value for name, value in given.items() if value is not None}
    values = [bytes(found.feedback[form].value) for form in _MODULE_FORMS if form in found.feedback]
    truth = values[0] if len(values) == 1 else b"null"
    return _Body(b'{"truth":' + truth + b"}", found.request_id, names)
