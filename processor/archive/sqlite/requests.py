"""What the archive's file knows by request: which events speak of it, and what became of it."""

import sqlite3
from collections.abc import Iterable

from processor.archive.base import RequestKey, Stored
from processor.domain.join.id_set import identity
from processor.domain.join.outcomes import RequestOutcome

#: A request's number and the sequence number of an event that speaks of it.
Note = tuple[int, int]
#: Whose outcome is shown: the request, predictor and node.
Judged = tuple[str, str, str, str, str]
_Item = tuple[str, str, int]
_Shown = tuple[str, str | None, int, str, str]


def number_of(namespace: str, deployment: str, request_id: str) -> int:
    """A request as SQLite's integers can hold it. Two requests can share one: whoever reads its events
    looks whose they are."""
    return identity(namespace, deployment, request_id) - (1 << 63)


def note(connection: sqlite3.Connection, notes: Iterable[Note]) -> None:
    """Add what is not noted yet."""
    # In order, so that neighbours are written together.
    connection.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?)", sorted(notes))


def events_about(connection: sqlite3.Connection, keys: Iterable[RequestKey]) -> list[int]:
    """The sequence numbers of the events that speak of some requests, in order."""
    found: set[int] = set()
    for key in keys:
        rows = connection.execute("SELECT seq FROM requests WHERE request = ?", (number_of(*key),))
        found.update(seq for (seq,) in rows)
    return sorted(found)


def judged_of(connection: sqlite3.Connection, keys: Iterable[RequestKey]) -> set[Judged]:
    """The predictions of some requests that an outcome is shown of."""
    return {
        (*key, predictor, node)
        for key in keys
        for predictor, node, _ in _shown(connection, _columns(key))
    }


def write_outcomes(connection: sqlite3.Connection, outcomes: Iterable[RequestOutcome]) -> Stored:
    """Make the items of each request show these outcomes and no others."""
    stored = Stored()
    for outcome in outcomes:
        key = RequestKey(outcome.namespace, outcome.deployment, outcome.request_id)
        known = connection.execute(
            "SELECT 1 FROM requests WHERE request = ? LIMIT 1", (number_of(*key),)
        )
        if known.fetchone() is None:
            stored.missing.append(key)
            continue
        of_request = _columns(key)
        shown = _shown(connection, of_request)
        wanted = _items(outcome)
        changed = [(item, row) for item, row in wanted.items() if shown.get(item) != row]
        gone = [item for item in shown if item not in wanted]
        connection.executemany(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*of_request, *item, *row) for item, row in changed],
        )
        connection.executemany(
            "DELETE FROM outcomes WHERE request_id = ? AND namespace = ? AND deployment = ?"
            " AND predictor = ? AND node = ? AND item = ?",
            [(*of_request, *item) for item in gone],
        )
        stored.written += len(changed) + len(gone)
    return stored


def _items(outcome: RequestOutcome) -> dict[_Item, _Shown]:
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


def _shown(connection: sqlite3.Connection, of_request: tuple[str, str, str]) -> dict[_Item, _Shown]:
    rows = connection.execute(
        "SELECT predictor, node, item, predicted, actual, correct, request_time, feedback_time"
        " FROM outcomes WHERE request_id = ? AND namespace = ? AND deployment = ?",
        of_request,
    )
    return {(predictor, node, item): tuple(row) for predictor, node, item, *row in rows}


def _columns(key: RequestKey) -> tuple[str, str, str]:
    return key.request_id, key.namespace, key.deployment
