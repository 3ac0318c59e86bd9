"""The records that keep dead letters: the original event, with the reason in further headers."""

from collections.abc import Sequence
from typing import NamedTuple

from processor.domain.events.attributes import normalize, read_headers, request_id
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.events.structured import read_attributes
from processor.domain.timestamps import format_time, parse_time

#: The topic, partition and offset that an event was read from.
SourceOffset = tuple[str, int, int]

_PREFIX = "dead-letter-"
#: The header of a mark: the letter at this offset of the same partition was put on the log later.
RETRIED = f"{_PREFIX}retried"
_OURS = frozenset(
    f"{_PREFIX}{name}" for name in ("reason", "detail", "topic", "partition", "offset", "time")
)
#: Larger bodies are not searched for attributes.
_MAX_SEARCHED_BYTES = 1 << 20


class DeadLetterRecord(NamedTuple):
    """A dead letter as it is kept.

    ``id`` names it in commands; ``kept`` is the time of keeping (ns); ``key`` is its record's key.
    ``event`` is the original event with its timestamp, so that decoding it again is the same.
    """

    id: str
    kept: int
    letter: DeadLetter
    origin: SourceOffset
    key: bytes | None
    event: RawEvent


def dead_letter_headers(
    event: RawEvent, letter: DeadLetter, origin: SourceOffset
) -> list[tuple[str, bytes]]:
    """Return the headers of a dead letter's record: those of the event, then our own."""
    topic, partition, offset = origin
    headers = [
        *event.headers,
        ("dead-letter-reason", letter.reason.encode()),
        ("dead-letter-detail", letter.detail.encode("utf-8", "replace")),
        ("dead-letter-topic", topic.encode()),
        ("dead-letter-partition", str(partition).encode()),
        ("dead-letter-offset", str(offset).encode()),
    ]
    if event.timestamp >= 0:
        # An event without a time of its own has its record's, which the new record does not keep.
        headers.append(("dead-letter-time", format_time(event.timestamp).encode()))
    return headers


def read_dead_letter(
    name: str,
    headers: Sequence[tuple[str, bytes]],
    key: bytes | None,
    value: bytes | None,
    kept: int,
) -> DeadLetterRecord | None:
    """Return the dead letter of a record, None if the record is a mark or of another kind."""
    ours = {
        header: content.decode("utf-8", "replace") for header, content in headers if header in _OURS
    }
    get = ours.get
    if "dead-letter-reason" not in ours:
        return None
    time = parse_time(get("dead-letter-time", ""))
    return DeadLetterRecord(
        name,
        kept,
        DeadLetter(ours["dead-letter-reason"], get("dead-letter-detail", "")),
        (
            get("dead-letter-topic", ""),
            _number(get("dead-letter-partition", "")),
            _number(get("dead-letter-offset", "")),
        ),
        key,
        RawEvent(
            tuple((header, content) for header, content in headers if header not in _OURS),
            value,
            kept if time is None else time,
        ),
    )


def type_and_id(event: RawEvent) -> tuple[str, str]:
    """Return the CloudEvents type of an event and the id of its request, each empty if it cannot be
    read; printable, at most 120 characters each."""
    attributes = normalize(read_headers(event.headers))
    if "ce_type" not in attributes and event.value and len(event.value) <= _MAX_SEARCHED_BYTES:
        attributes = read_attributes(event.value)
    return (
        printable(attributes.get("ce_type") or b"", 120),
        printable(request_id(attributes), 120),
    )


def printable(text: str | bytes, limit: int, lines: bool = False) -> str:
    """Make text harmless on a terminal and in a log: escape characters that are not printable, and cut
    the text after ``limit`` characters. With ``lines``, line breaks stay.

    >>> printable(b"caf\\xc3\\xa9 \\x1b[31m\\xff\\n", 100)
    'café \\\\x1b[31m\\\\xff\\\\n'
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(
            c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape").decode()
            for c in cut
        )
    return cut + ("..." if len(text) > limit else "")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
