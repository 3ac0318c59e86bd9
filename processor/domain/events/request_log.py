"""Events as documents in the layout of Seldon's request logger, which users of Kibana know.

Unlike the documents of Seldon's logger, these depend neither on the order of the events nor on
repetition: the newest response and the newest feedback by their own times stand as a whole, and a
feedback reaches each row of a batch.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.domain.events.attributes import (
    FEEDBACK,
    KINDS,
    REQUEST,
    RESPONSE,
    Attributes,
    request_id,
    resolve_format,
)
from processor.domain.events.compression import decompress
from processor.domain.events.envelope import read_event, verdict
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.json_bodies import read_response
from processor.domain.events.payloads.rows import UNREADABLE, PayloadRows
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.structured import STRUCTURED_HEADERS
from processor.domain.timestamps import format_time, is_zero_time, parse_time

#: Characters that an index name cannot hold; letters are turned into lower case.
_NOT_IN_INDEX = re.compile(r"""[\\/*?"<>| ,#:\x00-\x1f]""")
_MAX_INDEX_BYTES = 255

Document = dict[str, Any]


class Logged(NamedTuple):
    """The contribution of one event to the documents of its request.

    ``part`` is the kind of the event and the name of its part of the document; ``time`` is in ns.
    ``top`` are members of the document, ``content`` those of the part. ``rows`` is the number of
    items in the message, 0 if the message does not say it; ``items`` are members of the part that
    belong to one item alone, in order of the items.
    """

    index_name: str
    request_id: str
    part: str
    time: int
    top: Document
    content: Document
    rows: int
    items: Sequence[Document]


def read_logged(event: RawEvent) -> list[Logged]:
    """Return the contributions of the events in a record.

    Unreadable events contribute nothing: they are among the dead letters.
    """
    found = [
        _logged(attributes, body, event.timestamp)
        for attributes, body in _events(event.headers, event.value)
    ]
    return [logged for logged in found if logged is not None]


def ids(request_id: str, rows: int) -> list[str]:
    """Return the ids of a request's documents: one for each row.

    >>> ids("r", 1), ids("r", 2)
    (['r'], ['r-item-0', 'r-item-1'])
    """
    return [request_id] if rows <= 1 else [f"{request_id}-item-{i}" for i in range(rows)]


def rows_of(document: Mapping[str, Any] | None) -> int:
    """Return the number of rows in the request of a document, 0 if the document does not show it."""
    for part in (RESPONSE, REQUEST):
        payload = ((document or {}).get(part) or {}).get("payload")
        if payload is not None:
            rows = _read(part, msgspec.json.encode(payload))
            if rows is not None:
                return len(rows.rows)
    return 0


def merge(stored: Mapping[str, Any] | None, events: Iterable[Logged], item: int) -> Document:
    """Return the document of one item after some events; its other members stay."""
    document = dict(stored or {})
    for event in events:
        own = event.items[item] if item < len(event.items) else {}
        part = {**event.content, **own}
        if _version(part) > _version(document.get(event.part)):
            document[event.part] = part
            if event.part == RESPONSE:
                document |= event.top  # the names of the node that answered
        latest = parse_time(str(document.get("@timestamp"))) or -1
        document["@timestamp"] = format_time(max(event.time, latest))
        for name, value in event.top.items():
            document.setdefault(name, value)
    return document


def _version(part: object) -> tuple[int, bytes]:
    if not isinstance(part, dict):
        return -1, b""
    time = parse_time(str(part.get("ce-time")))
    return (-1 if time is None else time), msgspec.json.encode(part, order="sorted")


def _events(
    headers: Sequence[tuple[str, bytes]], value: bytes | None
) -> Iterator[tuple[Attributes, bytes]]:
    """Yield the attributes and the data of each readable event in a record."""
    event = read_event(headers, value)
    if isinstance(event, list):
        for text in event:
            yield from _events(STRUCTURED_HEADERS, text)
    elif not isinstance(event, DeadLetter):
        data = decompress(event[1])
        if not isinstance(data, DeadLetter):
            yield event[0], data


def _logged(attributes: Attributes, body: bytes, timestamp: int) -> Logged | None:
    event_type = attributes.get("ce_type") or b""
    engine = "seldon" if event_type.startswith(b"io.seldon.") else "inferenceservice"
    part = KINDS.get(event_type)
    if verdict(part, attributes) is not None:
        return None  # it is no prediction, though its type says so (rule 23)
    name = request_id(attributes).decode("utf-8", "replace")
    stamp = _text(attributes, "ce_time")
    if is_zero_time(stamp.encode()):
        stamp = ""
    time = parse_time(stamp) if stamp else timestamp
    if part is None or not name or time is None or time < 0:
        return None
    payload = _payload(part, attributes, body)
    if payload is None:
        return None
    names = {
        "Ce-Namespace": _text(attributes, "ce_namespace"),
        "Ce-Inferenceservicename": _text(attributes, "ce_inferenceservicename"),
        "Ce-Endpoint": _text(attributes, "ce_endpoint"),
        "Ce-Modelid": _text(attributes, "ce_modelid"),
    }
    top: Document = {"RequestId": name, "ServingEngine": engine}
    top |= {name: value for name, value in names.items() if value}
    content: Document = {
        "ce-time": stamp or format_time(time),
        "ce-source": _text(attributes, "ce_source").replace("/", ""),
    }
    rows: PayloadRows | None
    items: list[Document] = []
    if part == FEEDBACK:
        content = {**payload, **content}
        if isinstance(payload.get("reward"), bool):
            # One type for all rewards: the first one in an index decides which others are refused.
            content["reward"] = int(payload["reward"])
        truth = payload.get("truth")
        if truth is not None and not isinstance(truth, dict):
            # One type for all truths too: an index takes either objects or values.
            values = truth if isinstance(truth, list) else [truth]
            truth = content["truth"] = {"data": {"ndarray": values}}
        rows = _read(RESPONSE, msgspec.json.encode(truth)) if isinstance(truth, dict) else None
    else:
        content["payload"] = payload
        content |= {name: payload[name] for name in ("meta", "id") if name in payload}
        rows = _read(part, msgspec.json.encode(payload))
        if rows is not None:
            items = [_item(row, rows.names) for row in rows.rows]
            if rows.names:
                content["names"] = list(rows.names)
    index = _index(engine, *list(names.values())[:3])
    number = 0 if rows is None else len(rows.rows)
    return Logged(index, name, part, time, top, content, number, items)


def _payload(part: str, attributes: Attributes, body: bytes) -> Document | None:
    """Return the body as JSON; a protobuf message is turned into the JSON message of equal content."""
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if part == FEEDBACK:
            return None
        rows = bodies.read_response(body, resolve_format(attributes), None)
        if not isinstance(rows, PayloadRows):
            return None
        data = {"ndarray": [_plain(row) for row in rows.rows]}
        return {"data": {**data, "names": list(rows.names)} if rows.names else data}
    return payload if isinstance(payload, dict) else None


def _plain(value: Any) -> Any:
    """Return a value with None in place of what JSON does not have: NaN, infinity, unreadable text."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if value == UNREADABLE:
        return None
    return None if isinstance(value, float) and value - value != 0 else value


def _read(part: str, body: bytes) -> PayloadRows | None:
    if part == REQUEST:
        # Inputs have the shape of outputs, under other names.
        content = msgspec.json.decode(body)
        renamed = {"inputs": "outputs", "instances": "predictions"}
        body = msgspec.json.encode({renamed.get(key, key): content[key] for key in content})
    rows = read_response(body, None)
    return rows if isinstance(rows, PayloadRows) else None


def _item(row: Any, names: tuple[str, ...] | None) -> Document:
    row = None if row == UNREADABLE else row
    values = row if isinstance(row, list) else [row]
    elements, instance = None, row
    if names is not None and len(names) == len(values):
        elements = dict(zip(names, values, strict=True))
    if isinstance(row, list):
        nested = any(isinstance(value, list) for value in row)
        kind = "image" if nested else "tabular"
        if not nested:
            instance = [_float(value) for value in row]
    elif isinstance(row, str):
        kind = "text"
    elif isinstance(row, int | float):
        kind, instance = "number", _float(row)
    else:
        kind = "json"
    return {"instance": instance, "dataType": kind, "elements": elements}


def _float(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) else value


def _index(engine: str, namespace: str, deployment: str, predictor: str) -> str:
    name = "-".join(
        (
            "inference-log",
            engine,
            namespace or "unknown-namespace",
            deployment or "unknown-inferenceservice",
            predictor or "unknown-endpoint",
        )
    ).lower()
    safe = _NOT_IN_INDEX.sub("_", name).encode()
    return safe[:_MAX_INDEX_BYTES].decode("utf-8", "ignore")


def _text(attributes: Attributes, name: str) -> str:
    return (attributes.get(name) or b"").decode("utf-8", "replace")
