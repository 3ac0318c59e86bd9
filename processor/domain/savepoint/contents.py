"""The blocks of a savepoint. Their fields are the file's format: see docs/savepoint-file.md.

A savepoint is a `Header`; for each partition of the join its `Tables`, its `Requests` and its
`Fingerprints`; the `BaseCounts`; and an `End`.
"""

import msgspec

from processor.domain.log.loaded import LoadedBucket
from processor.domain.log.observations import AnswerRow
from processor.domain.model_key import ModelKey
from processor.domain.values import Reading, Schema


class SourcePosition(msgspec.Struct):
    """The next offset that a consumer group reads of a partition; ``group`` is its name without that of
    the app, ``metadata`` the text of its commit."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str = ""


class Header(msgspec.Struct, tag="header", tag_field="kind"):
    """Where a savepoint comes from. Times are in ns since 1970, the horizon is in seconds.

    ``cursors``, ``done``, ``outcomes_since`` and ``gap_since`` are those of `ControlLog`.
    """

    id: str
    product: str
    schema: int
    app: str
    taken_at: int
    created_at: int
    horizon: int
    partitions: int
    sources: list[SourcePosition] = []
    cursors: dict[str, int] = {}
    done: bool = False
    outcomes_since: int | None = None
    gap_since: int | None = None


class Tables(msgspec.Struct, tag="tables", tag_field="kind"):
    """The entries to which the requests up to the next `Tables` refer by position."""

    models: list[ModelKey]
    schemas: list[Schema]
    answers: list[AnswerRow]
    truths: list[Reading]


class Requests(msgspec.Struct, tag="requests", tag_field="kind"):
    """Requests that were first seen in one log hour, as columns; see `pack_requests`. ``restored`` is
    that of their predictions, ``start`` (ns) the first time of all, ``unit`` that of the others in ns,
    ``widths`` the numbers of planes of the kinds, the steps and the other times."""

    hour: int
    restored: bool
    count: int
    start: int
    unit: int
    widths: tuple[int, int, int]
    kinds: list[bytes]
    long_ids: list[str]
    planes: list[bytes]
    """The last field: the planes are compressed each by itself."""


class Fingerprints(msgspec.Struct, tag="fingerprints", tag_field="kind"):
    """Identities of requests that were counted and not kept, from one partition of the join; the fields
    are those of `LoadedState`."""

    partition: int
    completed_hour: int
    completed_until: int
    ids: bytes


class BaseCounts(msgspec.Struct, tag="counts", tag_field="kind"):
    """Counts by bucket without what the requests count; ``log_time`` (ns) is that of the tally, whose
    expired buckets are left out."""

    log_time: int
    models: list[ModelKey]
    labels: list[str]
    buckets: list[LoadedBucket]


class ModelTotals(msgspec.Struct):
    """The counts of all time of a model, with those of the requests."""

    model: ModelKey
    predictions: int
    judged: int
    correct: int
    rewards: int


class End(msgspec.Struct, tag="end", tag_field="kind"):
    """The last block: what is known only then.

    Requests from before ``evicted`` (ns) may have left memory. The diagnostics are those of
    `LoadedState`.
    """

    requests: int
    fingerprints: int
    evicted: int
    rows_differ: int
    ambiguous: int
    not_scorable: dict[str, int]
    models: list[ModelTotals]


Block = Header | Tables | Requests | Fingerprints | BaseCounts | End
