"""The control topic: the log's epoch, how far the archive was read, and whether all of it was."""

from typing import Literal

import msgspec
from aiokafka import AIOKafkaProducer

from processor.domain.log.observations import SCHEMA_VERSION
from processor.errors import LogMismatchError
from processor.kafka.log_reader import LogReader


class ControlRecord(msgspec.Struct, omit_defaults=True):
    """One record, as JSON, so that people can read the topic.

    ``epoch``: the first one names the log, and says which horizon (seconds) its fold has.
    ``cursor``: documents of ``source`` up to ``position`` are on the log. ``done``: so is all of the
    archive that there was at the first start. ``outcomes``: every outcome counted since the time
    ``position`` (ns) is in the archive; -1: from here on none is. ``gap``: the source has lost what
    came after the time ``position`` (ns); ``filled``: what the archive has of it is on the log.
    ``evicted``: requests from before the time ``position`` (ns) may have left memory early.
    """

    kind: Literal["epoch", "cursor", "done", "outcomes", "gap", "filled", "evicted"]
    version: int = SCHEMA_VERSION
    log_id: str = msgspec.field(name="epoch", default="")
    horizon: int = 0
    source: str = ""
    position: int = -1
    outcomes: bool = False
    """Of an epoch: whether outcomes are written from its start."""


encode_control = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ControlRecord).decode


def decode_control(value: bytes) -> ControlRecord:
    """A record of this release; `LogMismatchError` for one of another."""
    record = _decode(value)
    if record.version != SCHEMA_VERSION:
        raise LogMismatchError(
            f"the log of this app has schema {record.version}, this release writes "
            f"{SCHEMA_VERSION}: use a new PROCESSOR_APP_ID"
        )
    return record


class ControlLog:
    """Reads and writes the control topic of a running app."""

    def __init__(self, reader: LogReader, producer: AIOKafkaProducer, topic: str) -> None:
        self._reader = reader
        self._producer = producer
        self._topic = topic
        self._next = 0
        self.cursors: dict[str, int] = {}
        """The last position on the log, by source."""
        self.done = False
        self.evicted = 0
        """Requests from before this time (ns) may have left memory before the horizon."""
        self.made = 0
        """When the log was made, in ns."""
        self.gap_since: int | None = None
        """The source lost what came after this time (ns), and the archive was not asked for it yet."""
        self.outcomes_since: int | None = None
        """From when on (ns) every counted outcome is in the archive; None while they are not."""

    async def refresh(self) -> None:
        """Take in what was written since the last time."""
        begin, end = await self._reader.bounds()
        async for messages in self._reader.read(max(begin, self._next), end):
            for message in messages:
                record = decode_control(message.value)
                if not self.made:
                    self.made = message.timestamp * 1_000_000
                    self.outcomes_since = 0 if record.outcomes else None
                self._take(record)
        self._next = end

    async def write(self, record: ControlRecord) -> None:
        """Write one record; durable on return."""
        await self._producer.send_and_wait(self._topic, encode_control(record), partition=0)
        self._take(record)

    def _take(self, record: ControlRecord) -> None:
        if record.kind == "cursor":
            # A late write of a former leader can be behind.
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
