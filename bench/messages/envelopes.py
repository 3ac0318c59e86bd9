"""Events in other records than those of Kafka's binary mode: structured, batched, compressed."""

import gzip
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from itertools import islice

from .kind import Event, Headers

_STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_BATCH: Headers = [("content-type", b"application/cloudevents-batch+json; charset=UTF-8")]
_BATCH_SIZE = 10


def structured(events: Iterable[Event]) -> Iterator[Event]:
    """Each event as a JSON object with its attributes and data."""
    return (Event(_STRUCTURED, _object(event)) for event in events)


def encoded(events: Iterable[Event]) -> Iterator[Event]:
    """Each event as a JSON object, with its data as base64."""
    return (Event(_STRUCTURED, _object(event, True)) for event in events)


def batched(events: Iterable[Event]) -> Iterator[Event]:
    """Ten events in a record, as a JSON array."""
    left = iter(events)
    while batch := list(islice(left, _BATCH_SIZE)):
        yield Event(_BATCH, b"[" + b",".join(map(_object, batch)) + b"]")


def compressed(events: Iterable[Event]) -> Iterator[Event]:
    """Bodies as gzip, without the content encoding, which a receiver of Knative's drops."""
    return (Event(headers, gzip.compress(value, 6)) for headers, value in events)


def _object(event: Event, is_encoded: bool = False) -> bytes:
    attributes = {
        "datacontenttype" if name == "content-type" else name.removeprefix("ce_"): text.decode()
        for name, text in event.headers
    }
    if is_encoded:
        return json.dumps(attributes | {"data_base64": b64encode(event.value).decode()}).encode()
    return json.dumps(attributes).encode()[:-1] + b',"data":' + event.value.strip() + b"}"
