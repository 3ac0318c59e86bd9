"""Records by which the state of another app, from a savepoint, comes onto a log.

They stand before all others of their app, and each is folded once: a record has a position, and a fold
takes only the one after the last that it has. So a load that was interrupted can begin again.
"""

import msgspec

from processor.domain.log.observations import ObservationBatch
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Totals

#: The ``source`` of loaded counts: no partition of the observations has this number.
LOADED = -1


class LoadedRequests(msgspec.Struct, array_like=True, tag="l"):
    """Requests that were in memory, all of which were first seen in one log hour. They are folded as the
    ``batches`` say, as if these had come in that hour. The first ``position`` of a partition is 1."""

    version: int
    log_id: str
    position: int
    first_seen_hour: int
    batches: list[ObservationBatch]


class LoadedState(msgspec.Struct, array_like=True, tag="s"):
    """The rest of the join's state beside its requests; the fields are those of `JoinState`.

    ``ids`` are further ``completed_ids``, of 8 bytes each, the lowest first. The last three fields are
    without what the requests in memory count.
    """

    version: int
    log_id: str
    position: int
    ids: bytes
    completed_hour: int
    completed_until: int
    rows_differ: int
    ambiguous: int
    not_scorable: dict[str, int]


#: A model (its position among those of the record), a tier, a basis, the number of the bucket, and what
#: `BucketCounts.pack` returns.
LoadedBucket = tuple[int, int, int, int, Totals, list[int], bytes, bytes]


class LoadedCounts(msgspec.Struct, array_like=True, tag="b"):
    """Counts by bucket, without what the requests in memory count. ``source`` is `LOADED`; ``offset``
    and ``prev`` are those of a `DeltaBatch`, and number these records from 0. ``log_time`` (ns) is that
    of the tally that the counts come from."""

    version: int
    log_id: str
    source: int
    offset: int
    prev: int
    log_time: int
    models: list[ModelKey]
    labels: list[str]
    buckets: list[LoadedBucket]
