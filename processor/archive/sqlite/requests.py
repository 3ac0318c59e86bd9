"""The archive's tables by request: the events of each request, and its outcomes."""

import sqlite3
from collections.abc import Iterable

from processor.archive.base import RequestKey, StoreResult
from processor.domain.join.id_set import identity
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


def request_digest(namespace: str, deployment: str, request_id: str) -> int:
    """64 bits that stand for a request, as a signed integer of SQLite. Two requests can have the same
    digest, so a reader of the events must check their request."""
    return identity(namespace, deployment, request_id) - (1 << 63)


def note(connection: sqlite3.Connection, notes: Iterable[Note]) -> None:
    """Add the notes that are not in the table yet."""
    # Sorted, so that neighbouring rows are written together.
    rows = sorted((seq >> SEGMENT_BITS, request, seq) for request, seq in notes)
    connection.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, ?)", rows)


def events_of(
    connection: sqlite3.Connection, requests: Iterable[int], before: int, since: int = 0
) -> list[int]:
    """The sequence numbers of the events of some requests (digests) below ``before``, in order, from
    the segment of the event ``since`` on."""
    segments = _segments(connection, since)
    found: set[int] = set()
    for request in requests:
        for segment in segments:
            rows = connection.execute(
                "SELECT seq FROM requests WHERE segment = ? AND request = ? AND seq < ?",
                (segment, request, before),
            )
            found.update(seq for (seq,) in rows)
    return sorted(found)


def _segments(connection: sqlite3.Connection, since: int = 0) -> range:
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
    segments = _segments(connection)
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
