"""Bodies of any form: JSON, JSON with binary data behind it, protobuf messages."""

from processor.domain.events import raw_json
from processor.domain.events.attributes import BodyFormat
from processor.domain.events.payloads import json_bodies, protobuf
from processor.domain.events.payloads.json_bodies import Judgement
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import DeadLetter

_PROTOBUF = frozenset(
    {
        "application/protobuf",
        "application/x-protobuf",
        "application/vnd.google.protobuf",
        "application/grpc",
        "application/grpc+proto",
    }
)


#: Gzip is unpacked by its first bytes before a body comes here.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})


def read_response(
    body: bytes, body_format: BodyFormat, output: str | None
) -> PayloadRows | DeadLetter:
    """Rows of a response; ``output`` names the one of several outputs that counts.

    A body that is JSON is read as such whatever the headers say: nearly all are, and the quick look
    has no eye for these.
    """
    rows = json_bodies.read_response(body, output) if _may_be_json(body, body_format) else None
    if rows is not None and (isinstance(rows, PayloadRows) or rows.reason != "bad_json"):
        return rows
    if body_format.encoding not in _ENCODINGS:
        return _packed(body_format)
    if body_format.content_type in _PROTOBUF:
        return protobuf.read_response(body, body_format.protocol, output)
    if body_format.json_length is not None:
        parts = _split(body, body_format.json_length)
        if isinstance(parts, DeadLetter):
            return parts
        return json_bodies.read_response(parts[0], output, parts[1])
    return _with_binary(body, output) or rows or json_bodies.read_response(body)


def read_feedback(
    body: bytes, body_format: BodyFormat, output: str | None
) -> Judgement | DeadLetter:
    """What a feedback says."""
    said = json_bodies.read_feedback(body, output) if _may_be_json(body, body_format) else None
    if said is not None and (isinstance(said, Judgement) or said.reason != "bad_json"):
        return said
    if body_format.encoding not in _ENCODINGS:
        return _packed(body_format)
    if body_format.content_type in _PROTOBUF:
        return protobuf.read_feedback(body)
    return said or json_bodies.read_feedback(body)


def _may_be_json(body: bytes, body_format: BodyFormat) -> bool:
    """Saves a protobuf message the attempt: every JSON message is an object."""
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


def _with_binary(body: bytes, output: str | None) -> PayloadRows | None:
    """The JSON ends by itself, and Knative's receivers drop the header that says where; it counts
    only if its outputs tell of exactly the bytes that follow."""
    try:
        head, rest = raw_json.first(body)
    except ValueError:
        return None
    rows = json_bodies.read_response(head, output, rest) if rest else None
    return rows if isinstance(rows, PayloadRows) else None
