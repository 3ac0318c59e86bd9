"""Attributes of an event, named as CloudEvents names them in Kafka's binary mode.

Binary events, the executor's own records and records wrapped by KafkaSource are read here;
`structured` reads the attributes of events that are JSON as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: Content by name in lower case: ``ce_...``, ``content-type`` and the other headers of the record.
Attributes = Mapping[str, bytes | None]

RESPONSE, REQUEST, FEEDBACK = "response", "request", "feedback"
#: Events that are counted and mean nothing else (counting rule 23): those of a type that says nothing
#: about predictions, answers that are errors, and explanations.
UNCOUNTED = OTHER, FAILED, EXPLANATION = "other", "failed", "explanation"

#: The kind of an event by its CloudEvents type.
KINDS = {
    f"{vendor}.{name}".encode(): kind
    for vendor, name, kind in (
        ("io.seldon.serving", "inference.response", RESPONSE),
        ("io.seldon.serving", "inference.request", REQUEST),
        ("io.seldon.serving", "feedback", FEEDBACK),
        ("org.kubeflow.serving", "inference.response", RESPONSE),
        ("org.kubeflow.serving", "inference.request", REQUEST),
        ("org.kubeflow.serving", "feedback", FEEDBACK),
        ("io.kserve", "inference.response", RESPONSE),
        ("io.kserve", "inference.request", REQUEST),
    )
}
#: The vendors whose records without ``ce_`` are events, even of a type that is not among `KINDS`.
_VENDORS = (b"io.seldon.", b"org.kubeflow.", b"io.kserve.")
#: The vendors whose events have protobuf bodies of the Open Inference Protocol.
_KSERVE = (b"org.kubeflow.", b"io.kserve.")

#: The type that Knative's KafkaSource gives to a record that is not a CloudEvent; each header of the
#: record becomes an extension with this prefix.
_WRAPPED, _WRAPPED_PREFIX = b"dev.knative.kafka.event", "ce_kafkaheader"
#: Headers of the executor's own records, which are not CloudEvents, and the attributes that they are.
_EXECUTOR_HEADERS = [
    (name, f"ce_{name}")
    for name in ("type", "namespace", "inferenceservicename", "endpoint", "modelid", "requestid")
]


class BodyFormat(NamedTuple):
    """The properties that select the reader of a body which is not plain JSON.

    ``content_type`` and ``encoding`` are in lower case without parameters; ``json_length`` is the
    header that ends the JSON part in the binary form of the Open Inference Protocol.
    """

    content_type: str
    protocol: str
    json_length: bytes | None
    encoding: str


def read_headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, bytes | None]:
    """Return the headers of a record by name in lower case, with ``ce-`` read like ``ce_``.

    A name sent in lower case wins over another case of it, and ``ce_`` over ``ce-``.

    >>> found = read_headers([("CE-Type", b"a"), ("ce-id", b"1"), ("ce_id", b"2")])
    >>> found["ce_type"], found["ce_id"]
    (b'a', b'2')
    """
    attributes: dict[str, bytes | None] = dict(headers)
    if (
        "content-type" in attributes
        and ("ce_type" in attributes or "type" in attributes)
        and not any(map(_has_dash, attributes))
    ):
        return attributes
    lower: dict[str, bytes | None] = {name.lower(): content for name, content in headers}
    lower |= attributes
    dashed = {f"ce_{name[3:]}": content for name, content in lower.items() if _has_dash(name)}
    return dashed | lower


def _has_dash(name: str) -> bool:
    return name[:3] == "ce-"


def normalize(attributes: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """Give the executor's own record, wrapped by KafkaSource or not, the names of a CloudEvent.

    The attributes of every other event are returned as they are; those given may be changed. The
    executor's records have no event id and no time of their own.

    >>> executor = {"type": b"io.seldon.serving.feedback", "requestid": b"r-1", "id": b"x"}
    >>> sorted((name, content) for name, content in normalize(executor).items() if content)
    ... # doctest: +NORMALIZE_WHITESPACE
    [('ce_requestid', b'r-1'), ('ce_type', b'io.seldon.serving.feedback'), ('id', b'x'),
     ('requestid', b'r-1'), ('type', b'io.seldon.serving.feedback')]
    """
    event_type = attributes.get("ce_type")
    if event_type == _WRAPPED:
        headers = _unwrap(attributes)
    elif "ce_type" in attributes:
        return attributes
    else:
        headers = attributes
    if not (headers.get("type") or b"").startswith(_VENDORS):
        return attributes
    for name, attribute in _EXECUTOR_HEADERS:
        headers[attribute] = headers.get(name)
    headers["ce_id"] = headers["ce_component"] = None
    return headers


def _unwrap(attributes: Attributes) -> dict[str, bytes | None]:
    """Return the headers of a record that KafkaSource has wrapped.

    KafkaSource removes all but letters and digits from their names and leaves the content type in
    its place. The wrapper's id names the record, not the request; its time is the record's.
    """
    headers = {
        name.removeprefix(_WRAPPED_PREFIX): content
        for name, content in attributes.items()
        if name.startswith(_WRAPPED_PREFIX)
    }
    headers["seldon-puid"] = headers.get("seldonpuid")
    headers["inference-header-content-length"] = headers.get("inferenceheadercontentlength")
    for name in ("ce_time", "content-type", "ce_datacontenttype"):
        headers[name] = attributes.get(name)
    return headers


def is_quoted(text: bytes | None) -> bool:
    """Return whether a text stands in quotes, as some senders write every header.

    >>> is_quoted(b'"1.0"'), is_quoted(b"1.0"), is_quoted(None)
    (True, False, False)
    """
    return text is not None and len(text) > 1 and text[:1] == text[-1:] == b'"'


def request_id(attributes: Attributes) -> bytes:
    """Return the id of an event's request, empty if the event has none (rule 2)."""
    get = attributes.get
    return get("ce_requestid") or get("requestid") or get("seldon-puid") or get("ce_id") or b""


def model_name(attributes: Attributes) -> bytes | None:
    """Return the name of the node that answered, None if the event does not name one.

    KServe's components answer one request in turn under one id: each component but the predictor
    is a node of its own (rule 1).
    """
    component = attributes.get("ce_component")
    return attributes.get("ce_modelid") or (None if component == b"predictor" else component)


def resolve_format(attributes: Attributes) -> BodyFormat:
    """Return the format of an event's body by everything that its attributes say."""
    get = attributes.get
    protocol = get("ce_protocol") or get("protocol") or b""
    if not protocol and (get("ce_type") or b"").startswith(_KSERVE):
        protocol = b"v2"
    return BodyFormat(
        _token(get("content-type") or get("ce_datacontenttype")),
        protocol.decode("latin-1"),
        get("inference-header-content-length") or get("ce_inferenceheadercontentlength"),
        _token(get("content-encoding")),
    )


def _token(header: bytes | None) -> str:
    """Return a header without its parameters, in lower case."""
    return (header or b"").partition(b";")[0].strip().lower().decode("latin-1")
