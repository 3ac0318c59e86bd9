"""The sink of HTTP events in the embedded mode: an event is accepted once the archive has it."""

import time
from collections.abc import Callable, Sequence

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.attributes import OTHER
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from processor.telemetry import Telemetry

#: Seconds for which an error is shown; one that lasts is found by those who watch the disk.
_SHOWN = 3.0


class ArchiveSink:
    """Makes events durable in the archive, and calls ``wake`` for each group; see `EventSink`."""

    def __init__(
        self,
        archive: SqliteArchive,
        rules: ModelRules,
        telemetry: Telemetry,
        wake: Callable[[], None],
    ) -> None:
        self._error, self._failed_at = "", 0.0
        self._archive = archive
        # The telemetry of this decoder is thrown away: an event counts when it is folded.
        self._decoder = Decoder(rules, Telemetry())
        self._telemetry = telemetry
        self._wake = wake

    @property
    def last_error(self) -> str:
        """Why events could not be stored a moment ago; empty if they were, or if none came since: who
        waits for the end of the error sends none."""
        return self._error if time.monotonic() - self._failed_at < _SHOWN else ""

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        """Store all events that say something about a prediction, even those that can't be decoded:
        their dead letters are found again when they are folded. `ArchiveError` if they can't be
        stored."""
        decoded = [self._decoder.decode(*event) for event in events]
        kept = [event for event, one in zip(events, decoded, strict=True) if not one.is_other]
        if kept:
            try:
                await self._archive.append(kept)
            except ArchiveError as error:
                self._error, self._failed_at = f"new events are refused: {error}", time.monotonic()
                raise
            self._error = ""
            self._wake()
        # Events that say nothing about predictions are not kept (counting rule 23).
        self._telemetry.events[OTHER] += len(events) - len(kept)
        return [one.dead_letter for one in decoded]
