"""Bodies in any format: JSON, JSON followed by binary data, protobuf messages."""

from processor.domain.events import raw_json
from processor.domain.events.attributes import BodyFormat
from processor.domain.events.payloads import json_bodies, protobuf
from processor.domain.events.payloads.forms import Choice
from processor.domain.events.payloads.json_bodies import Judgement
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.payloads.whole_bodies import read_object
from processor.domain.events.raw_event import DeadLetter, Uncounted

_PROTOBUF = frozenset(
    {
        "application/protobuf",
        "application/x-protobuf",
        "application/vnd.google.protobuf",
        "application/grpc",
        "application/grpc+proto",
    }
)


#: Gzip bodies are decompressed by their first bytes before they come here.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})


def read_response(
    body: bytes, body_format: BodyFormat, choice: Choice | None
) -> PayloadRows | DeadLetter | Uncounted:
    """Return the rows of a response; without a ``choice`` they stay as they are written.

    A body that is JSON is read as JSON whatever its format says: nearly all bodies are, and the fast
    path does not look at these headers.
    """
    rows = json_bodies.read_response(body, choice) if _may_be_json(body, body_format) else None
    if rows is not None and (not isinstance(rows, DeadLetter) or rows.reason != "bad_json"):
        return rows
    if body_format.encoding not in _ENCODINGS:
        return _packed(body_format)
    if body_format.content_type in _PROTOBUF:
        return protobuf.read_response(protobuf.unframed(body), body_format.protocol, choice)
    if body_format.json_length is not None:
        parts = _split(body, body_format.json_length)
        if isinstance(parts, DeadLetter):
            return parts
        return json_bodies.read_response(parts[0], choice, parts[1])
    return _with_binary(body, choice) or rows or json_bodies.read_response(body, choice)


def read_identity(body: bytes, body_format: BodyFormat) -> dict[str, object]:
    """Return the members of a body that can name its request: ``id`` and ``parameters``."""
    if _may_be_json(body, body_format):
        return read_object(body)
    if body_format.protocol in protobuf.INFERENCE:
        return {"id": protobuf.read_id(protobuf.unframed(body))}
    return {}


def read_feedback(
    body: bytes, body_format: BodyFormat, choice: Choice | None
) -> Judgement | DeadLetter:
    """Return the truth and the reward of a feedback; JSON is read whatever the format says."""
    judgement = json_bodies.read_feedback(body, choice) if _may_be_json(body, body_format) else None
    if judgement is not None and (
        isinstance(judgement, Judgement) or judgement.reason != "bad_json"
    ):
        return judgement
    if body_format.encoding not in _ENCODINGS:
        return _packed(body_format)
    if body_format.content_type in _PROTOBUF:
        return protobuf.read_feedback(protobuf.unframed(body), choice)
    return judgement or json_bodies.read_feedback(body, choice)


def _may_be_json(body: bytes, body_format: BodyFormat) -> bool:
    """Return whether a body can be JSON, whose messages all are objects: saves protobuf the attempt."""
    return body_format.content_type not in _PROTOBUF or body.lstrip()[:1] == b"{"


def _packed(body_format: BodyFormat) -> DeadLetter:
    return DeadLetter(
        "bad_header",
        f"content-encoding {body_format.encoding[:40]} can't be read: use gzip or none",
    )


def _split(body: bytes, length: bytes) -> tuple[bytes, bytes] | DeadLetter:
    if not length.isdigit() or len(length) > 10 or int(length) > len(body):
        text = length[:40].decode("utf-8", "replace")
        return DeadLetter(
            "bad_header",
            f"inference-header-content-length {text!r} is no length within a body of {len(body)}",
        )
    return body[: int(length)], body[int(length) :]


def _with_binary(body: bytes, choice: Choice | None) -> PayloadRows | None:
    """Return the rows of JSON followed by binary data, whose length header Knative's receivers drop.

    None unless the outputs in the JSON declare exactly the bytes that follow it.
    """
    try:
        head, rest = raw_json.first(body)
    except ValueError:
        return None
    rows = json_bodies.read_response(head, choice, rest) if rest else None
    return rows if isinstance(rows, PayloadRows) else None
