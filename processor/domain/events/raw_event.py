"""Events as they arrive, before they are decoded, and the reasons why some cannot be."""

from collections.abc import Sequence
from typing import NamedTuple


class RawEvent(NamedTuple):
    """One event as Kafka would hold it; HTTP requests and lines of files are turned into this form.

    ``headers`` are Kafka's, in binary mode ``("ce_type", b"...")`` and ``("content-type", b"...")``;
    ``value`` is the body, None for a tombstone; ``timestamp`` is the time in nanoseconds since 1970
    that stands in for a missing ``ce_time``: the record's time, or that of acceptance over HTTP; it
    is negative if there is none (a line of a file).
    """

    headers: Sequence[tuple[str, bytes]]
    value: bytes | None
    timestamp: int


class DeadLetter(NamedTuple):
    """The verdict on an event that cannot be decoded: ``reason`` is one of `REASONS`, ``detail`` is
    text for people."""

    reason: str
    detail: str


class Uncounted(NamedTuple):
    """The verdict on an event that is counted by its ``kind`` and means nothing else (counting rule 23):
    ``other``, ``failed`` or ``explanation``."""

    kind: str


#: Every reason that a dead letter can have; the set is fixed, since people alert on it.
REASONS = (
    "not_cloudevent",
    "bad_json",
    "bad_header",
    "no_id",
    "bad_time",
    "bad_reward",
    "two_containers",
    "bad_shape",
    "too_large",
)

#: Why the native extension leaves an event to Python: its headers, its content mode, or JSON that is not
#: strict; the form of its body; or that it is the first of its kind, or of a kind without a template,
#: such as a dead letter.
INTERPRETED = "envelope", "body", "template"
