"""The fold of an embedded service with its files, whose clock a test moves."""

from collections.abc import Sequence
from pathlib import Path

from processor.archive.sqlite.archive import SqliteArchive
from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.domain.results import ModelResult, model_results
from processor.domain.timestamps import HOUR
from processor.embedded.event_fold import EventFold
from processor.embedded.saver import StateSaver
from processor.embedded.state_file import StateFolder
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.settings import Settings
from processor.telemetry import Telemetry

START = 500_000 * HOUR
_BASES = ("request", "feedback")


class Process:
    """Folds the events of an archive when it is told to, and can be started again."""

    def __init__(
        self, folder: Path, archive: SqliteArchive, rules: ModelRules | None = None
    ) -> None:
        self.folder = StateFolder(folder, archive.id)
        self.archive = archive
        self.now = START
        self.rules = rules or ModelRules()
        self._start()

    def _start(self) -> None:
        self.telemetry = Telemetry()
        settings, telemetry = Settings(), self.telemetry
        self.fold = EventFold(self.archive, self.rules, settings, telemetry, lambda: self.now)
        self.saver = StateSaver(self.folder, self.archive, telemetry)

    async def restart(self, save: bool = True) -> None:
        """Start again from the newest state, after saving one unless the process was killed."""
        if save:
            await self.saver.finish(self.fold)
        self._start()
        state = self.folder.load(await self.archive.last())
        if state is not None:
            self.fold.restore(state)
            self.saver.saved_position = state.head.position
        await self.follow()
        self.fold.go_live()

    async def put(self, *events: RawEvent) -> None:
        """Accept events and fold them."""
        await self.archive.append(events)
        await self.follow()

    async def follow(self) -> None:
        """Fold the events that are not folded yet."""
        while rows := await self.archive.stored_events(self.fold.position, 1 << 20):
            decoded = self.fold.decode(rows)
            requests = await self.fold.page_in(rows, decoded)
            await self.archive.note(self.fold.apply(rows, decoded, requests))

    def pass_hours(self, hours: int) -> None:
        """Let time pass without events."""
        self.now += hours * HOUR
        self.fold.tick()

    def leave(self) -> None:
        """Let all requests leave memory but those of the running hour."""
        while self.fold.evict(0):
            pass

    @property
    def models(self) -> list[tuple[ModelResult, ...]]:
        """The results of all time on both bases."""
        found = []
        for by in _BASES:
            counts = {
                key: counts
                for key, window, basis, counts in self.fold.tally.window_counts(0.0)
                if window == "all" and basis == by and not counts.is_empty()
            }
            found.append(model_results(counts, by, self.rules))
        return found


def replayed(events: Sequence[RawEvent]) -> list[tuple[ModelResult, ...]]:
    """The results of a replay of events on both bases."""
    found = []
    for by in _BASES:
        fold = ReplayFold(ModelRules(), Selection(by=by))
        fold.add(events)
        found.append(fold.result().models)
    return found
