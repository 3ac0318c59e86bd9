"""Events as documents in the layout of Seldon's request logger, which Kibana users know.

Unlike Seldon's, what is written depends on neither order nor repetition: the newest response and the
newest feedback by their own time stand whole, and feedback reaches each row of a batch.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.domain.events.attributes import WRAPPED, Attributes, resolve_format, unwrapped
from processor.domain.events.compression import decompress
from processor.domain.events.envelope import FEEDBACK, REQUEST, RESPONSE
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.json_bodies import read_response
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.structured import BATCH, STRUCTURED, read_structured, split_batch
from processor.domain.timestamps import format_time, parse_time

_PARTS = {
    f"{vendor}.serving.{name}".encode(): (engine, part)
    for vendor, engine in (("io.seldon", "seldon"), ("org.kubeflow", "inferenceservice"))
    for name, part in (
        ("inference.request", REQUEST),
        ("inference.response", RESPONSE),
        ("feedback", FEEDBACK),
    )
}
#: What no index name may hold; letters are made small.
_NOT_IN_INDEX = re.compile(r"""[\\/*?"<>| ,#:\x00-\x1f]""")
_MAX_INDEX_BYTES = 255

Document = dict[str, Any]


class Logged(NamedTuple):
    """What one event adds to the documents of its request. ``rows`` is how many items the message
    has, 0 where it does not tell; ``items`` what of it belongs to each of them alone."""

    index_name: str
    request_id: str
    part: str
    time: int
    top: Document
    content: Document
    rows: int
    items: Sequence[Document]


def read_logged(event: RawEvent) -> list[Logged]:
    """What the events of a record add; those that can't be understood add nothing, since they are
    among the dead letters."""
    found = [_logged(attributes, body, event.timestamp) for attributes, body in _events(event)]
    return [one for one in found if one is not None]


def ids(request_id: str, rows: int) -> list[str]:
    """The names of a request's documents.

    >>> ids("r", 1), ids("r", 2)
    (['r'], ['r-item-0', 'r-item-1'])
    """
    return [request_id] if rows <= 1 else [f"{request_id}-item-{i}" for i in range(rows)]


def rows_of(document: Mapping[str, Any] | None) -> int:
    """How many rows the request of a document has, by what it shows; 0 where it shows none."""
    for part in (RESPONSE, REQUEST):
        payload = ((document or {}).get(part) or {}).get("payload")
        if payload is not None:
            rows = _read(part, msgspec.json.encode(payload))
            if rows is not None:
                return len(rows.rows)
    return 0


def merge(held: Mapping[str, Any] | None, events: Iterable[Logged], item: int) -> Document:
    """The document of one item after some events; what else it holds stays."""
    document = dict(held or {})
    for event in events:
        own = event.items[item] if item < len(event.items) else {}
        part = {**event.content, **own}
        if _version(part) > _version(document.get(event.part)):
            document[event.part] = part
            if event.part == RESPONSE:
                document |= event.top  # the node that answered
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


def _events(event: RawEvent) -> Iterable[tuple[Attributes, bytes]]:
    """The attributes and the data of each event in a record, named as in binary mode."""
    attributes: Attributes = {name.lower(): content for name, content in event.headers}
    body = decompress(event.value)
    if isinstance(body, DeadLetter):
        return
    media_type = (attributes.get("content-type") or b"").partition(b";")[0].strip().lower()
    if media_type in (STRUCTURED, BATCH):
        texts = split_batch(body) if media_type == BATCH else [body]
        for text in () if isinstance(texts, DeadLetter) else texts:
            read = read_structured(text)
            if not isinstance(read, DeadLetter):
                yield read
        return
    if attributes.get("ce_type") == WRAPPED:
        attributes = unwrapped(attributes)
    if "ce_type" not in attributes:
        attributes = {
            name if name.startswith(("ce_", "content-")) else f"ce_{name}": content
            for name, content in attributes.items()
        }
    yield attributes, body


def _logged(attributes: Attributes, body: bytes, timestamp: int) -> Logged | None:
    engine, part = _PARTS.get(attributes.get("ce_type") or b"", ("", ""))
    request_id = _text(attributes, "ce_requestid", "requestid", "seldon-puid", "ce_id")
    stamp = _text(attributes, "ce_time")
    time = parse_time(stamp) if stamp else timestamp
    payload = _payload(part, attributes, body)
    if not part or not request_id or time is None or time < 0 or payload is None:
        return None
    names = {
        "Ce-Namespace": _text(attributes, "ce_namespace"),
        "Ce-Inferenceservicename": _text(attributes, "ce_inferenceservicename"),
        "Ce-Endpoint": _text(attributes, "ce_endpoint"),
        "Ce-Modelid": _text(attributes, "ce_modelid"),
    }
    top: Document = {"RequestId": request_id, "ServingEngine": engine}
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
            # One type for all: the first one in an index decides which others are refused.
            content["reward"] = int(payload["reward"])
        truth = payload.get("truth")
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
    return Logged(
        index, request_id, part, time, top, content, 0 if rows is None else len(rows.rows), items
    )


def _payload(part: str, attributes: Attributes, body: bytes) -> Document | None:
    """The body as JSON; that of a protobuf message as the JSON message that says the same."""
    shape = resolve_format(attributes, attributes.get("ce_type") or b"")
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if isinstance(shape, DeadLetter) or part == FEEDBACK:
            return None
        rows = bodies.read_response(body, shape, None)
        if isinstance(rows, DeadLetter):
            return None
        data = {"ndarray": [_plain(row) for row in rows.rows]}
        return {"data": {**data, "names": list(rows.names)} if rows.names else data}
    return payload if isinstance(payload, dict) else None


def _plain(value: Any) -> Any:
    """Without what JSON has no number for."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _read(part: str, body: bytes) -> PayloadRows | None:
    if part == REQUEST:
        # Inputs are written as outputs are, under other names.
        content = msgspec.json.decode(body)
        renamed = {"inputs": "outputs", "instances": "predictions"}
        body = msgspec.json.encode({renamed.get(key, key): content[key] for key in content})
    rows = read_response(body)
    return rows if isinstance(rows, PayloadRows) else None


def _item(row: Any, names: tuple[str, ...] | None) -> Document:
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


def _text(attributes: Attributes, *names: str) -> str:
    for name in names:
        value = attributes.get(name)
        if value:
            return value.decode("utf-8", "replace")
    return ""
