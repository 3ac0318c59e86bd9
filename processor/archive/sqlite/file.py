"""The SQLite file of the archive: schema, opening, locking, queries on events, and error messages."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from processor.domain.events.raw_event import RawEvent
from processor.errors import ArchiveError

#: "FMPA" in the file's header tells an archive from any other SQLite file.
APPLICATION_ID = 0x464D5041
SCHEMA_VERSION = 3
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,     -- 1, 2, 3, ... in the order of acceptance, without gaps
    accepted INTEGER NOT NULL,   -- nanoseconds since 1970
    headers BLOB NOT NULL,       -- msgpack: [[name, value], ...]
    value BLOB                   -- NULL for a tombstone
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
COMMIT;
"""
#: The upgrade from version 1 to 2.
_SCHEMA_2 = """
BEGIN IMMEDIATE;
CREATE TABLE requests (
    request INTEGER NOT NULL,    -- a digest of namespace, deployment and request id
    seq INTEGER NOT NULL,        -- of an event that belongs to the request
    PRIMARY KEY (request, seq)
) WITHOUT ROWID;
CREATE TABLE outcomes (
    request_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    deployment TEXT NOT NULL,
    predictor TEXT NOT NULL,
    node TEXT NOT NULL,
    item INTEGER NOT NULL,
    predicted TEXT NOT NULL,
    actual TEXT,                 -- NULL where it is unknown
    correct INTEGER NOT NULL,
    request_time TEXT NOT NULL,
    feedback_time TEXT NOT NULL,
    PRIMARY KEY (request_id, namespace, deployment, predictor, node, item)
) WITHOUT ROWID;
PRAGMA user_version = 2;
COMMIT;
"""
#: The upgrade from version 2 to 3. The new index of requests starts empty: the next start of the service
#: folds all events, and notes their requests.
_SCHEMA_3 = """
BEGIN IMMEDIATE;
DROP TABLE requests;
CREATE TABLE requests (
    segment INTEGER NOT NULL,    -- of the event, see `SEGMENT_BITS`
    request INTEGER NOT NULL,    -- a digest of namespace, deployment and request id
    seq INTEGER NOT NULL,        -- of an event that belongs to the request
    PRIMARY KEY (segment, request, seq)
) WITHOUT ROWID;
CREATE INDEX outcomes_by_time ON outcomes (feedback_time);
CREATE TABLE archive (id TEXT NOT NULL);   -- one row: tells this archive from any other
INSERT INTO archive VALUES (lower(hex(randomblob(8))));
PRAGMA user_version = 3;
COMMIT;
"""
#: The largest number of events that `select` returns.
_MAX_EVENTS = 10_000
#: The largest row in bytes. SQLite's own limit is 1e9; a row above it would fail the whole commit.
_MAX_ROW = 900_000_000
#: The remedy for each primary result code.
_REMEDIES = {
    sqlite3.SQLITE_FULL: "the disk is full: free space",
    sqlite3.SQLITE_BUSY: "another program holds its lock: end that program",
    sqlite3.SQLITE_LOCKED: "another program holds its lock: end that program",
    sqlite3.SQLITE_READONLY: "it is read-only: give this user the right to write it and its folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore a copy, or move it away to start an empty one",
    sqlite3.SQLITE_NOTADB: "it is not an archive: name another file, or move it away",
    sqlite3.SQLITE_CANTOPEN: "see that its folder exists and that this user may write there",
    sqlite3.SQLITE_IOERR: "the disk fails, is full or over its quota: check it",
}

#: An event as it is stored: its sequence number, and its `Row`.
StoredEvent = tuple[int, int, bytes, bytes | None]
#: An event's acceptance time, encoded headers and value.
Row = tuple[int, bytes, bytes | None]
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def explain(error: Exception, path: Path, action: str) -> ArchiveError:
    """The error with its remedy; ``action`` is the participle that failed: "read", "written"..."""
    if isinstance(error, ArchiveError):
        return error
    remedy = ""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        remedy = _REMEDIES.get(code & 0xFF, "")
    elif isinstance(error, msgspec.MsgspecError):
        remedy = _REMEDIES[sqlite3.SQLITE_CORRUPT]
    return ArchiveError(
        f"the archive {path} can't be {action} ({error}){': ' if remedy else ''}{remedy}"
    )


def lock_file(path: Path) -> int:
    """Lock ``<path>.lock`` for this process. Returns a file descriptor, which holds the lock until it
    is closed; `ArchiveError` names the process that holds it already."""
    side = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(side, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise explain(error, path, "opened") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise ArchiveError(
            f"the archive {path} is in use by another processor (process {owner}): end that one, "
            "or give this one a PROCESSOR_DATA of its own"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise explain(error, path, "locked") from None
    return descriptor


def connect_to_write(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Open or create the archive, and upgrade its schema; the caller must hold its lock.
    ``busy_timeout`` in seconds."""
    connection = None
    try:
        connection = _connect(path, "rwc", busy_timeout)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: plain fsync does not reach the disk
        if _is_empty(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        version = _check_format(connection, path)
        for script in (_SCHEMA_2, _SCHEMA_3)[version - 1 :]:
            connection.executescript(script)
        # A crash between the two steps above, or another program, may have left another mode.
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ArchiveError(
                f"the archive {path} is on a file system that can't share memory: move it to a "
                "local disk"
            )
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection
    except (sqlite3.Error, ArchiveError) as error:
        if connection:
            connection.close()
        raise explain(error, path, "opened") from None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an archive that exists for reading; another process may be writing it."""
    if not path.exists():
        raise ArchiveError(f"there is no archive {path}: check the path")
    if not path.is_file():
        raise ArchiveError(f"{path} is not a file: name the archive's file, such as events.sqlite")
    try:
        return _connect_read_only(path, "ro")
    except sqlite3.OperationalError as error:
        # Reading in WAL mode needs a shared-memory file beside the archive. If it can't be created
        # and the write-ahead log is empty, nobody writes, so the archive's file is complete.
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise explain(error, path, "read") from None
    except sqlite3.Error as error:
        raise explain(error, path, "read") from None
    try:
        return _connect_read_only(path, "ro&immutable=1")
    except sqlite3.Error as error:
        raise explain(error, path, "read") from None


def _connect_read_only(path: Path, mode: str) -> sqlite3.Connection:
    connection = _connect(path, mode, 5.0)
    try:
        _check_format(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,  # `transaction` begins and ends transactions
        check_same_thread=False,
    )


def query_number(connection: sqlite3.Connection, query: str) -> int:
    """The result of a query that returns one integer."""
    number: int = connection.execute(query).fetchone()[0]
    return number


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not any(
        query_number(connection, query)
        for query in (
            "SELECT COUNT(*) FROM sqlite_master",
            "PRAGMA application_id",
            "PRAGMA user_version",
        )
    )


def _check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The archive's schema version; `ArchiveError` if the file is not an archive, or a newer one."""
    if query_number(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise ArchiveError(f"{path} is not an archive of the processor: name another file")
    version = query_number(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise ArchiveError(
            f"the archive {path} was written by a newer processor (schema {version}, this one "
            f"knows {SCHEMA_VERSION}): use that processor, or another file"
        )
    return version


def to_row(event: RawEvent) -> Row:
    """The columns of an event; ValueError or TypeError if SQLite can't store it."""
    headers = _pack(list(event.headers))
    if len(headers) + len(event.value or b"") > _MAX_ROW:
        raise ValueError(f"it is larger than {_MAX_ROW:,} bytes")
    if not 0 <= event.timestamp < 1 << 63:
        raise ValueError(f"its time {event.timestamp} is not in 64 bits of nanoseconds")
    return event.timestamp, headers, event.value


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction: all writes inside are durable afterwards, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # after any error, even one of COMMIT itself
            connection.execute("ROLLBACK")


def insert(connection: sqlite3.Connection, first: int, rows: Sequence[Row]) -> None:
    """Insert events, numbered from ``first``."""
    numbered = ((seq, *row) for seq, row in enumerate(rows, first))
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", numbered)


def select(connection: sqlite3.Connection, after: int, limit_bytes: int) -> list[StoredEvent]:
    """The events after a sequence number; see `SqliteReader.stored_events`."""
    events = []
    cursor = connection.execute(
        "SELECT seq, accepted, headers, value FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, _MAX_EVENTS),
    )
    try:
        for event in cursor:
            events.append(event)
            limit_bytes -= len(event[2]) + len(event[3] or b"")
            if limit_bytes <= 0:
                break
    finally:
        cursor.close()  # an open cursor would block the writer's checkpoints
    return events


def raw_event(event: StoredEvent) -> RawEvent:
    """An event as it was accepted. `msgspec.MsgspecError` if its headers are damaged."""
    _, accepted, headers, value = event
    return RawEvent(_unpack(headers), value, accepted)


def select_some(
    connection: sqlite3.Connection, numbers: Sequence[int]
) -> list[tuple[int, RawEvent]]:
    """The events with the given sequence numbers, without those that don't exist."""
    found = []
    for number in numbers:
        row = connection.execute(
            "SELECT accepted, headers, value FROM events WHERE seq = ?", (number,)
        ).fetchone()
        if row is not None:
            found.append((number, RawEvent(_unpack(row[1]), row[2], row[0])))
    return found
