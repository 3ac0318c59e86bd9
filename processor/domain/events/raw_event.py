"""What comes in at any door, before it is understood."""

from collections.abc import Sequence
from typing import NamedTuple


class RawEvent(NamedTuple):
    """One event as Kafka would hold it; HTTP and files are brought to this form first.

    ``headers`` are Kafka's, in binary mode ``("ce_type", b"...")`` and ``("content-type", b"...")``;
    ``value`` is the body, None for a tombstone; ``timestamp`` is the time in nanoseconds since 1970
    that stands in for a missing ``ce_time``: the record's, or that of acceptance over HTTP; below 0
    where there is none (a line of a file).
    """

    headers: Sequence[tuple[str, bytes]]
    value: bytes | None
    timestamp: int


class Batch(NamedTuple):
    """The events that one record held in batched mode: each is to be decoded by itself."""

    events: list[RawEvent]


class DeadLetter(NamedTuple):
    """An event that can't be understood: ``reason`` is one of `REASONS`, ``detail`` is for people."""

    reason: str
    detail: str


#: Every reason a dead letter can have; fixed, since people alert on them.
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
    "unknown_type",
)
