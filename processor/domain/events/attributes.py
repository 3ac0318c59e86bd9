"""Attributes of an event, named as CloudEvents names them in Kafka's binary mode.

Binary events, the executor's own records and records wrapped by KafkaSource are read here;
`structured` reads the attributes of events that are JSON as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: Content by name in lower case: ``ce_...``, ``content-type`` and the other headers of the record.
Attributes = Mapping[str, bytes | None]

RESPONSE, REQUEST, FEEDBACK = "response", "request", "feedback"

#: The kind of an event by its CloudEvents type.
KINDS = {
    f"{vendor}.serving.{name}".encode(): kind
    for vendor in ("io.seldon", "org.kubeflow")
    for name, kind in (
        ("inference.response", RESPONSE),
        ("inference.request", REQUEST),
        ("feedback", FEEDBACK),
    )
}

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
    """Return the headers of a record by name in lower case; a name sent in lower case wins."""
    attributes: dict[str, bytes | None] = dict(headers)
    if "content-type" in attributes and ("ce_type" in attributes or "type" in attributes):
        return attributes
    return {name.lower(): content for name, content in headers} | attributes


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
    if headers.get("type") not in KINDS:
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
    if not protocol and (get("ce_type") or b"").startswith(b"org.kubeflow."):
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
