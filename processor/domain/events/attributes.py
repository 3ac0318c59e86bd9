"""Attributes of events as headers hold them, from whoever put them there."""

from collections.abc import Mapping
from typing import NamedTuple

#: By name in lower case: ``ce_...`` of a CloudEvent, bare in the executor's own records.
Attributes = Mapping[str, bytes | None]

#: What Knative's KafkaSource makes of a record that is no CloudEvent: each header is an extension.
WRAPPED, _WRAP = b"dev.knative.kafka.event", "ce_kafkaheader"


class BodyFormat(NamedTuple):
    """What tells how to read a body that is not plain JSON. ``json_length`` is the header of the
    Open Inference Protocol's binary form."""

    content_type: str
    protocol: str
    json_length: bytes | None
    encoding: str


def unwrapped(attributes: Attributes) -> dict[str, bytes | None]:
    """The headers of a record that KafkaSource has wrapped; it takes all but letters and digits out
    of their names, and leaves the content type where it belongs. Its id names the record, not the
    request, and its time is the record's."""
    headers = {
        name.removeprefix(_WRAP): content
        for name, content in attributes.items()
        if name.startswith(_WRAP)
    }
    headers["seldon-puid"] = headers.get("seldonpuid")
    headers["inference-header-content-length"] = headers.get("inferenceheadercontentlength")
    for name in ("ce_time", "content-type", "ce_datacontenttype"):
        headers[name] = attributes.get(name)
    return headers


def component(name: bytes | None) -> bytes | None:
    """KServe's components answer one request by turns under one id: beside the predictor each is a
    node of its own (rule 1)."""
    return None if name == b"predictor" else name


def resolve_format(attributes: Attributes, event_type: bytes) -> BodyFormat:
    """How the body is to be read, for all that the event says."""
    get = attributes.get
    protocol = get("ce_protocol") or get("protocol") or b""
    if not protocol and event_type.startswith(b"org.kubeflow."):
        protocol = b"v2"
    return BodyFormat(
        _token(get("content-type") or get("ce_datacontenttype")),
        protocol.decode("latin-1"),
        get("inference-header-content-length") or get("ce_inferenceheadercontentlength"),
        _token(get("content-encoding")),
    )


def _token(header: bytes | None) -> str:
    """A header without its parameters, in lower case."""
    return (header or b"").partition(b";")[0].strip().lower().decode("latin-1")
