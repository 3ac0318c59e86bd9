"""The sink of HTTP events in the embedded mode: an event is accepted once the archive has it."""

from collections.abc import Callable, Sequence

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.attributes import OTHER
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from processor.telemetry import Telemetry


class ArchiveSink:
    """Makes events durable in the archive, and calls ``wake`` for each group; see `EventSink`."""

    def __init__(
        self,
        archive: SqliteArchive,
        rules: ModelRules,
        telemetry: Telemetry,
        wake: Callable[[], None],
    ) -> None:
        self.last_error = ""
        """Why the last events could not be stored; empty if they were."""
        self._archive = archive
        # The telemetry of this decoder is thrown away: an event counts when it is folded.
        self._decoder = Decoder(rules, Telemetry())
        self._telemetry = telemetry
        self._wake = wake

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
                self.last_error = f"new events are refused: {error}"
                raise
            self.last_error = ""
            self._wake()
        # Events that say nothing about predictions are not kept (counting rule 23).
        self._telemetry.events[OTHER] += len(events) - len(kept)
        return [one.dead_letter for one in decoded]
