"""The control topic: the log's id, the archive's cursors, gaps of the source, and evictions."""

from typing import Literal

import msgspec
from aiokafka import AIOKafkaProducer

from processor.domain.log.observations import SCHEMA_VERSION
from processor.errors import LogMismatchError
from processor.kafka.log_reader import LogReader
from processor.kafka.reading import FAULTS, explain


class ControlRecord(msgspec.Struct, omit_defaults=True):
    """A record of the control topic, as JSON, so that people can read the topic.

    - ``epoch``: the first such record holds the log's id, and the horizon (seconds) of its fold.
    - ``cursor``: the documents of ``source`` up to ``position`` are on the log.
    - ``done``: the documents that the archive had at the first start are all on the log.
    - ``outcomes``: each outcome counted since the time ``position`` (ns) is in the archive; from a
      position of -1 on, outcomes are not written.
    - ``gap``: the source has lost records that came after the time ``position`` (ns).
    - ``filled``: the archive's documents from the gap are on the log.
    - ``evicted``: requests from before the time ``position`` (ns) may have left memory early.
    - ``loaded``: the ``savepoint`` that the ``epoch`` names is on the log since the time ``position``
      (ns). Before that no worker may use the log.
    """

    kind: Literal["epoch", "cursor", "done", "outcomes", "gap", "filled", "evicted", "loaded"]
    version: int = SCHEMA_VERSION
    log_id: str = msgspec.field(name="epoch", default="")
    horizon: int = 0
    source: str = ""
    position: int = -1
    outcomes: bool = False
    """In an ``epoch`` record: whether outcomes are written from the start of the log."""
    schema: int = 0
    """In an ``epoch`` record: the schema of the log; 0 in those that did not name it."""
    savepoint: str = ""
    """In an ``epoch`` and a ``loaded`` record: which savepoint the log begins with."""
    created_at: int = 0
    """In an ``epoch`` record: when the log was created from which the savepoint comes (ns). In a
    ``loaded`` record: when the savepoint was taken."""
    size: int = 0
    """In a ``loaded`` record: the bytes of the savepoint."""
    requests: int = 0
    """In a ``loaded`` record: the requests in memory that the savepoint had."""


encode_control = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ControlRecord).decode


def decode_control(value: bytes) -> ControlRecord:
    """Decode a record. `LogMismatchError` if a release with another schema wrote it."""
    record = _decode(value)
    if record.version != SCHEMA_VERSION:
        raise LogMismatchError(
            f"the log of this app has schema {record.version}, this release writes "
            f"{SCHEMA_VERSION}: use a new PROCESSOR_APP_ID"
        )
    return record


class ControlLog:
    """Reads and writes the control topic of a running app, and holds its current content."""

    def __init__(self, reader: LogReader, producer: AIOKafkaProducer | None, topic: str) -> None:
        """Without a ``producer`` it only reads."""
        self._reader = reader
        self._producer = producer
        self._topic = topic
        self._next_offset = 0
        self.cursors: dict[str, int] = {}
        """The highest position that is on the log, by source (index and shard)."""
        self.done = False
        """Whether the documents that the archive had at the first start are on the log."""
        self.evicted = 0
        """Requests from before this time (ns) may have left memory before the horizon; 0 if none."""
        self.created_at = 0
        """When the log was created (ns), or the one that its savepoint comes from."""
        self.gap_since: int | None = None
        """The time (ns) after which the source lost records that were not yet read from the archive."""
        self.outcomes_since: int | None = None
        """The time (ns) since which each counted outcome is in the archive; None if none is written."""

    async def refresh(self) -> None:
        """Read the records written since the last call. `BrokerError` if the broker is away."""
        try:
            await self._refresh()
        except FAULTS as error:
            raise explain(error, self._reader.servers) from None

    async def _refresh(self) -> None:
        begin, end = await self._reader.bounds()
        async for messages in self._reader.read(max(begin, self._next_offset), end):
            for message in messages:
                record = decode_control(message.value)
                if not self.created_at:
                    self.created_at = record.created_at or message.timestamp * 1_000_000
                    self.outcomes_since = 0 if record.outcomes else None
                self._apply(record)
        self._next_offset = end

    async def write(self, record: ControlRecord) -> None:
        """Write a record; it is durable when this returns."""
        if self._producer is None:
            raise RuntimeError("this control log has no producer")
        await self._producer.send_and_wait(self._topic, encode_control(record), partition=0)
        self._apply(record)

    def _apply(self, record: ControlRecord) -> None:
        if record.kind == "cursor":
            # A late write of a former leader can be lower.
            before = self.cursors.get(record.source, -1)
            self.cursors[record.source] = max(before, record.position)
        elif record.kind == "done":
            self.done = True
        elif record.kind == "gap":
            since = self.gap_since
            self.gap_since = record.position if since is None else min(since, record.position)
        elif record.kind == "evicted":
            self.evicted = max(self.evicted, record.position)
        elif record.kind == "filled":
            self.gap_since = None
        elif record.kind == "outcomes":
            self.outcomes_since = record.position if record.position >= 0 else None
