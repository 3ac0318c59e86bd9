"""A new service of the embedded mode, into which a savepoint is loaded."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.join.loading import apply_loaded
from processor.domain.log.chunking import ChunkAssembler
from processor.domain.log.deltas import DeltaBatch, RawDeltaBatch
from processor.domain.log.loaded import LoadedCounts, LoadedRequests, LoadedState
from processor.domain.log.records import (
    RecordChunk,
    decode_observation,
    decode_raw_delta,
    encode,
)
from processor.domain.model_rules import ModelRules
from processor.domain.savepoint.contents import End, Header
from processor.domain.savepoint.loading import LoadRecord
from processor.embedded.event_fold import EventFold
from processor.embedded.saver import StateSaver
from processor.embedded.state_file import StateFolder
from processor.errors import SavepointError
from processor.settings import Settings
from processor.telemetry import Telemetry


class EmbeddedApp:
    """A `StateSink`: nothing is on the disk before `finish`, so a load that ended early can begin
    again."""

    partitions = 1

    def __init__(self, fold: EventFold, saver: StateSaver, log_id: str) -> None:
        self.log_id = log_id
        self._fold = fold
        self._saver = saver
        self._chunks = ChunkAssembler()

    async def send(self, records: Iterable[LoadRecord]) -> None:
        """See `StateSink`."""
        fold = self._fold
        for record in records:
            now = time.time_ns()
            if record.deltas:
                self._add_counts(record.value, now)
            else:
                loaded = decode_observation(record.value)
                assert isinstance(loaded, LoadedRequests | LoadedState)
                delta = apply_loaded(fold.join, fold.offset, now, loaded).get(0)
                if delta is not None:
                    raw = decode_raw_delta(encode(delta))
                    assert isinstance(raw, RawDeltaBatch)
                    fold.tally.apply(fold.offset, now, raw)
            fold.offset += 1

    def _add_counts(self, value: bytes, now: int) -> None:
        record = decode_raw_delta(value)
        batch: DeltaBatch | LoadedCounts | None = None
        if isinstance(record, RecordChunk):
            batch = self._chunks.add(record)
        elif isinstance(record, LoadedCounts):
            batch = record
        if batch is not None:
            self._fold.tally.apply(self._fold.offset, now, batch)

    async def finish(self, header: Header, end: End, size: int) -> None:
        """See `StateSink`. `SavepointError` if the state can't be written."""
        # Requests that are not in memory are not in the archive either: they may be known.
        self._fold.has_left = True
        self._saver.saved_position = -1
        await self._saver.finish(self._fold)
        if self._saver.last_error:
            raise SavepointError(f"{self._saver.last_error}: see that PROCESSOR_DATA has room")


@asynccontextmanager
async def opened_embedded(settings: Settings, rules: ModelRules) -> AsyncIterator[EmbeddedApp]:
    """Create the archive of a new service. `SavepointError` if it has events or a state."""
    path = settings.archive_path
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = await SqliteArchive.open(path)
    try:
        folder = StateFolder(settings.data, archive.id)
        if await archive.last() or folder.paths():
            raise SavepointError(
                f"the service of {path} has a state already: load the savepoint into a new "
                "PROCESSOR_DATA"
            )
        telemetry = Telemetry()
        fold = EventFold(archive, rules, settings, telemetry)
        yield EmbeddedApp(fold, StateSaver(folder, archive, telemetry), archive.id)
    finally:
        await archive.close()
