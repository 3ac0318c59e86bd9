"""The archive's tables by request: the events of each request, and its outcomes."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from processor.archive.base import RequestKey, StoreResult
from processor.domain.join.id_set import request_digest
from processor.domain.join.outcomes import RequestOutcome

#: The index of requests is in segments of 4,194,304 events, by the bits of their sequence numbers: new
#: notes are written to a part of it that fits in the cache, and an old segment is deleted as a whole.
SEGMENT_BITS = 22

#: A request's digest, and the sequence number of an event that belongs to the request.
Note = tuple[int, int]
#: A prediction: namespace, deployment, request id, predictor and node.
PredictionRef = tuple[str, str, str, str, str]
#: An item of a request: predictor, node and position.
_Item = tuple[str, str, int]
#: An item's outcome: predicted, actual, correct (0 or 1), request time and feedback time.
_Outcome = tuple[str, str | None, int, str, str]


def note(connection: sqlite3.Connection, rows: Iterable[tuple[int, int, int]]) -> None:
    """Add the rows (segment, request, number) that are not in the table yet."""
    connection.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, ?)", rows)


def everywhere(requests: Sequence[int], first: int, last: int) -> list[tuple[int, int]]:
    """All segments from ``first`` to ``last`` with all requests."""
    return [(segment, request) for segment in range(first, last + 1) for request in requests]


def events_of(
    connection: sqlite3.Connection,
    requests: Sequence[int],
    before: int,
    since: int = 0,
    places: Callable[[Sequence[int], int, int], list[tuple[int, int]]] = everywhere,
) -> list[int]:
    """The sequence numbers of the events of some requests (digests) below ``before``, in order, from
    the segment of the event ``since`` on. ``places`` says which requests a segment may have, of those
    from a first one to a last one."""
    segments = segments_of(connection, since)
    found: set[int] = set()
    for segment, request in places(requests, segments.start, segments.stop - 1):
        rows = connection.execute(
            "SELECT seq FROM requests WHERE segment = ? AND request = ? AND seq < ?",
            (segment, request, before),
        )
        found.update(seq for (seq,) in rows)
    return sorted(found)


def segments_of(connection: sqlite3.Connection, since: int = 0) -> range:
    """The segments that have notes, from that of the event ``since`` on."""
    first, last = connection.execute(
        "SELECT (SELECT MIN(segment) FROM requests), (SELECT MAX(segment) FROM requests)"
    ).fetchone()
    return range(0) if first is None else range(max(first, since >> SEGMENT_BITS), last + 1)


def _is_noted(connection: sqlite3.Connection, segments: range, request: int) -> bool:
    """Whether the archive has an event of the request (digest)."""
    # Most outcomes are of recent requests.
    return any(
        connection.execute(
            "SELECT 1 FROM requests WHERE segment = ? AND request = ? LIMIT 1", (segment, request)
        ).fetchone()
        for segment in reversed(segments)
    )


def predictions_with_outcome(
    connection: sqlite3.Connection, keys: Iterable[RequestKey]
) -> set[PredictionRef]:
    """The predictions of some requests that have an outcome in the archive."""
    return {
        (*key, predictor, node)
        for key in keys
        for predictor, node, _ in _stored_outcomes(connection, _columns(key))
    }


def write_outcomes(
    connection: sqlite3.Connection, outcomes: Iterable[RequestOutcome]
) -> StoreResult:
    """Replace the stored outcomes of each request; requests without noted events are missing."""
    stored = StoreResult()
    segments = segments_of(connection)
    for outcome in outcomes:
        key = RequestKey(outcome.namespace, outcome.deployment, outcome.request_id)
        if not _is_noted(connection, segments, request_digest(*key)):
            stored.missing.append(key)
            continue
        request_columns = _columns(key)
        old = _stored_outcomes(connection, request_columns)
        new = _outcomes(outcome)
        changed = [(item, row) for item, row in new.items() if old.get(item) != row]
        gone = [item for item in old if item not in new]
        connection.executemany(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*request_columns, *item, *row) for item, row in changed],
        )
        connection.executemany(
            "DELETE FROM outcomes WHERE request_id = ? AND namespace = ? AND deployment = ?"
            " AND predictor = ? AND node = ? AND item = ?",
            [(*request_columns, *item) for item in gone],
        )
        stored.written += len(changed) + len(gone)
    return stored


def _outcomes(outcome: RequestOutcome) -> dict[_Item, _Outcome]:
    return {
        (one.predictor, one.node, number): (
            item.predicted,
            item.actual,
            int(item.correct),
            item.request_time,
            item.feedback_time,
        )
        for one in outcome.predictions
        for number, item in enumerate(one.items)
        if item is not None
    }


def _stored_outcomes(
    connection: sqlite3.Connection, request_columns: tuple[str, str, str]
) -> dict[_Item, _Outcome]:
    rows = connection.execute(
        "SELECT predictor, node, item, predicted, actual, correct, request_time, feedback_time"
        " FROM outcomes WHERE request_id = ? AND namespace = ? AND deployment = ?",
        request_columns,
    )
    return {(predictor, node, item): tuple(row) for predictor, node, item, *row in rows}


def _columns(key: RequestKey) -> tuple[str, str, str]:
    return key.request_id, key.namespace, key.deployment
