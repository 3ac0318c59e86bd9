"""Deleting old events from the archive, in small steps between the writes of new ones."""

import sqlite3
from typing import NamedTuple

from processor.archive.sqlite.requests import SEGMENT_BITS
from processor.domain.timestamps import format_time

#: The most rows of each table that one step deletes: new events wait for the end of a step.
_STEP = 10_000


class Deleted(NamedTuple):
    """The number of rows that a step has deleted, by table."""

    events: int = 0
    notes: int = 0
    outcomes: int = 0


def delete_old(
    connection: sqlite3.Connection, accepted_before: int, seq_before: int, now: int
) -> Deleted:
    """Delete some of the oldest events that were accepted before a time (ns) and have a sequence
    number below ``seq_before``, the notes of requests of deleted events, and old outcomes.

    The newest event stays, since the next one is numbered after it. An event that was accepted after
    ``now`` (ns), by a clock that was wrong, does not hold back the events behind it.
    """
    first = _number(connection, "SELECT MIN(seq) FROM events")
    newest = _number(connection, "SELECT MAX(seq) FROM events")
    end = min(first + _STEP, seq_before, newest)
    (kept,) = connection.execute(
        "SELECT MIN(seq) FROM events WHERE seq < ? AND accepted >= ? AND accepted <= ?",
        (end, accepted_before, now),
    ).fetchone()
    end = end if kept is None else kept
    events = connection.execute("DELETE FROM events WHERE seq < ?", (end,)).rowcount
    notes = connection.execute(
        "DELETE FROM requests WHERE (segment, request, seq) IN"
        " (SELECT segment, request, seq FROM requests WHERE segment < ? LIMIT ?)",
        (max(first, end) >> SEGMENT_BITS, _STEP),
    ).rowcount
    outcomes = connection.execute(
        "DELETE FROM outcomes WHERE (request_id, namespace, deployment, predictor, node, item) IN"
        " (SELECT request_id, namespace, deployment, predictor, node, item FROM outcomes"
        " WHERE feedback_time < ? ORDER BY feedback_time LIMIT ?)",
        (format_time(accepted_before), _STEP),
    ).rowcount
    return Deleted(events, notes, outcomes)


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0] or 0)
