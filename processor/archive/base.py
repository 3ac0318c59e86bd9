"""What every kind of archive is, as far as they are alike; how one is read is a matter of its kind:
SQLite holds raw events in one order, Elasticsearch documents in one order per shard."""

from typing import Protocol


class Archive(Protocol):
    """What outlives the log."""

    async def count(self) -> int:
        """How much it holds: events, or documents. `ArchiveError` if it can't be read."""
        ...

    async def close(self) -> None:
        """Let go of files and connections; to be called again does no harm."""
        ...
