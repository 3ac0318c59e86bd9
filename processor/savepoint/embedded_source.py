"""The state of the embedded mode, read from its newest state and its archive as a start reads it.

The service may run meanwhile: nothing is written.
"""

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from processor.archive.sqlite.archive import SqliteReader
from processor.archive.sqlite.file import connect_to_read
from processor.archive.sqlite.requests import Note
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.state import JoinState
from processor.domain.log.observations import SCHEMA_VERSION
from processor.domain.model_rules import ModelRules
from processor.domain.savepoint.contents import Header
from processor.domain.tally.tally import Tally
from processor.domain.timestamps import HOUR, SECOND
from processor.embedded.event_fold import EventFold, slices
from processor.embedded.state_file import State, StateFolder, read_state
from processor.errors import ArchiveError
from processor.settings import Settings
from processor.telemetry import Telemetry, product_version

#: Bytes of events that are read at a time, and events that are folded at a time.
_READ_BYTES, _SLICE = 4 << 20, 2000


class _Archive(SqliteReader):
    """The archive, with the notes of the events that were folded here."""

    id: str
    #: Sequence numbers by request.
    noted: dict[int, list[int]]

    @classmethod
    async def opened(cls, path: Path) -> "_Archive":
        archive = cls(path, connect_to_read(path))
        archive.id, archive.noted = await archive.identity(), {}
        return archive

    def note(self, notes: Iterable[Note]) -> None:
        for request, number in notes:
            self.noted.setdefault(request, []).append(number)

    async def earlier_events(
        self, requests: Sequence[int], before: int, since: int = 0, noted: Sequence[int] = ()
    ) -> list[tuple[int, RawEvent]]:
        own = [
            number
            for request in requests
            for number in self.noted.get(request, ())
            if since <= number < before
        ]
        return await super().earlier_events(requests, before, since, own)


class EmbeddedState:
    """A `StateSource` of the embedded mode, as of the newest event when it was opened."""

    def __init__(self, settings: Settings, rules: ModelRules) -> None:
        self.header: Header
        """What the savepoint begins with, once it is open."""
        self.read = self.total = 0
        """The events that were folded, and how many there are to fold."""
        self._settings = settings
        self._rules = rules
        self._fold: EventFold

    async def measure(self) -> None:
        """Measure how much there is to read. `ArchiveError` if there is no archive."""
        archive = await _Archive.opened(self._settings.archive_path)
        try:
            self.total = await archive.last()
        finally:
            await archive.close()

    async def open(self) -> Header:
        """See `StateSource`."""
        settings = self._settings
        archive = await _Archive.opened(settings.archive_path)
        try:
            self._fold = fold = EventFold(archive, self._rules, settings, Telemetry())
            last = await archive.last()
            state = _newest_state(StateFolder(settings.data, archive.id), last)
            if state is not None:
                fold.restore(state)
            self.read, self.total = fold.position, last
            while fold.position < last:
                rows = await archive.stored_events(fold.position, _READ_BYTES)
                for some in slices([row for row in rows if row[0] <= last], _SLICE):
                    decoded = fold.decode(some)
                    requests = await fold.page_in(some, decoded)
                    archive.note(fold.apply(some, decoded, requests))
                    fold.evict(settings.join_memory)
                    self.read = fold.position
        finally:
            self._rules.listeners.discard(self._fold)
            await archive.close()
        self.header = Header(
            secrets.token_hex(8),
            product_version(),
            SCHEMA_VERSION,
            settings.app_id,
            time.time_ns(),
            0,
            settings.horizon,
            1,
        )
        return self.header

    def log_times(self) -> Sequence[int]:
        """See `StateSource`."""
        return [self._fold.tally.log_time]

    async def joins(self) -> AsyncIterator[tuple[int, JoinState]]:
        """See `StateSource`."""
        yield 0, self._fold.join.state

    def tallies(self) -> Sequence[Tally]:
        """See `StateSource`."""
        return [self._fold.tally]

    async def evicted(self) -> int:
        """See `StateSource`."""
        horizon = time.time_ns() - self._settings.horizon * SECOND
        oldest = self._fold.join.oldest()
        if not self._fold.has_left or oldest is None:
            return horizon
        return max(horizon, oldest * HOUR)


def _newest_state(folder: StateFolder, last: int) -> State | None:
    """The newest state that can be used, up to the event ``last``; None if there is none."""
    for path in folder.paths():
        try:
            state = read_state(path)
        except ArchiveError:
            continue  # the service says so at its next start
        if state.head.position <= last:
            return state
    return None
