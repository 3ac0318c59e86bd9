"""A payload in each kind of envelope, in the bytes that the official SDK writes."""

import gzip
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v03.event import CloudEvent as CloudEvent03
from cloudevents.core.v1.event import CloudEvent

from processor.domain.events.raw_event import RawEvent
from processor.domain.timestamps import parse_time
from processor.ingress.cloudevents import to_events
from tests.support.domain.payload_kinds import JSON, Payload

RESPONSE, FEEDBACK = "io.seldon.serving.inference.response", "io.seldon.serving.feedback"
TIME = "2026-11-20T09:00:00.330000Z"
NS = parse_time(TIME) or 0
_FORMAT = JSONFormat()

#: The extensions that Seldon's executor sets.
_EXTENSIONS = {
    "requestid": "r-1",
    "modelid": "classifier",
    "inferenceservicename": "iris",
    "namespace": "seldon",
    "endpoint": "default",
}
#: What Knative adds on the way.
_KNATIVE = {"knativearrivaltime": "2026-11-20T09:00:00.4Z", "knativebrokerttl": "255"}


def attributes(payload: Payload, kind: str, version: str = "1.0") -> dict[str, Any]:
    return {
        "specversion": version,
        "id": "e-1",
        "source": "http://:8000/",
        "type": kind,
        "time": datetime(2026, 11, 20, 9, 0, 0, 330000, UTC),
        "datacontenttype": payload.content_type,
        "protocol": payload.protocol,
        **_EXTENSIONS,
    }


def _data(payload: Payload) -> Any:
    """The data that a sender passes to its SDK: parsed JSON, or bytes."""
    return json.loads(payload.body) if payload.content_type == JSON else payload.body


def _record(message: kafka.KafkaMessage) -> RawEvent:
    # The record's time is used for events without a time of their own.
    return RawEvent(list(message.headers.items()), message.value, NS)


def binary(payload: Payload, kind: str) -> RawEvent:
    event = CloudEvent({**attributes(payload, kind), **_KNATIVE}, _data(payload))
    return _record(kafka.to_binary(event, _FORMAT))


def binary_03(payload: Payload, kind: str) -> RawEvent:
    event = CloudEvent03(attributes(payload, kind, "0.3"), _data(payload))
    return _record(kafka.to_binary(event, _FORMAT))


def structured(payload: Payload, kind: str) -> RawEvent:
    event = CloudEvent({**attributes(payload, kind), **_KNATIVE}, _data(payload))
    return _record(kafka.to_structured(event, _FORMAT))


def structured_bytes(payload: Payload, kind: str) -> RawEvent:
    """An event with ``data_base64``."""
    event = CloudEvent(attributes(payload, kind), payload.body)
    return _record(kafka.to_structured(event, _FORMAT))


def structured_03(payload: Payload, kind: str) -> RawEvent:
    """An event with the ``datacontentencoding`` base64."""
    event = CloudEvent03(attributes(payload, kind, "0.3"), payload.body)
    return _record(kafka.to_structured(event, _FORMAT))


def batched(payload: Payload, kind: str) -> RawEvent:
    """A batch of a request event and the payload's: an array of structured events."""
    request = CloudEvent(attributes(payload, "io.seldon.serving.inference.request"), None)
    events = [
        kafka.to_structured(request, _FORMAT).value,
        structured(payload, kind).value or b"",
    ]
    headers = [("content-type", b"application/cloudevents-batch+json; charset=utf-8")]
    return RawEvent(headers, b"[" + b",".join(events) + b"]", NS)


def _http(message: http.HTTPMessage) -> RawEvent:
    headers = [(name.encode(), value.encode()) for name, value in message.headers.items()]
    content_type = {name.lower(): value for name, value in message.headers.items()}["content-type"]
    (event,) = to_events(headers, content_type, message.body, NS)
    return event


def http_binary(payload: Payload, kind: str) -> RawEvent:
    event = CloudEvent(attributes(payload, kind), _data(payload))
    return _http(http.to_binary(event, _FORMAT))


def http_structured(payload: Payload, kind: str) -> RawEvent:
    event = CloudEvent(attributes(payload, kind), _data(payload))
    return _http(http.to_structured(event, _FORMAT))


def executor(payload: Payload, kind: str) -> RawEvent:
    """A record of the executor's own log on Kafka: not a CloudEvent, so without id and time."""
    headers = {
        "type": kind,
        "content-type": payload.content_type,
        "modelid": "classifier",
        "requestid": "r-1",
        "inferenceservicename": "iris",
        "namespace": "seldon",
        "endpoint": "default",
        "protocol": payload.protocol,
    }
    return RawEvent([(name, text.encode()) for name, text in headers.items()], payload.body, NS)


def wrapped(payload: Payload, kind: str) -> RawEvent:
    """The executor's record after KafkaSource: its headers are extensions, its time is the event's."""
    headers = [
        (f"kafkaheader{name}", content.decode())
        for name, content in executor(payload, kind).headers
        if name != "content-type"
    ]
    event = CloudEvent(
        {
            "specversion": "1.0",
            "id": "partition:3/offset:17",
            "source": "/apis/v1/namespaces/seldon/kafkasources/log#seldon",
            "subject": "partition:3#17",
            "type": "dev.knative.kafka.event",
            "time": datetime(2026, 11, 20, 9, 0, 0, 330000, UTC),
            "datacontenttype": payload.content_type,
            "partitionkey": "k",
            "key": "k",
            **dict(headers),
        },
        _data(payload),
    )
    return _record(kafka.to_binary(event, _FORMAT))


def packed(payload: Payload, kind: str) -> RawEvent:
    """A gzip body without its content encoding, which a receiver of Knative's drops."""
    event = binary(payload, kind)
    return event._replace(value=gzip.compress(event.value or b""))


def packed_structured(payload: Payload, kind: str) -> RawEvent:
    event = structured(payload, kind)
    headers = [*event.headers, ("content-encoding", b"gzip")]
    return RawEvent(headers, gzip.compress(event.value or b""), NS)


Envelope = Callable[[Payload, str], RawEvent]
ENVELOPES: Sequence[Envelope] = (
    binary, binary_03, structured, structured_bytes, structured_03, batched, http_binary,
    http_structured, executor, wrapped, packed, packed_structured,
)  # fmt: skip
