"""The worker of the embedded mode: follows the archive, and publishes the counts of its events."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from processor.archive.sqlite.archive import SqliteArchive
from processor.archive.sqlite.file import StoredEvent
from processor.backoff import Backoff
from processor.domain.join.fold import JoinFold
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.statistics.counts import Counts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.recent import RecentCounts
from processor.embedded.event_fold import EventFold, slices
from processor.embedded.row_decoder import DecodedEvents
from processor.embedded.saver import StateSaver
from processor.embedded.state_file import StateFolder
from processor.errors import ArchiveError
from processor.publish.interfaces import CountsByWindow, Gauges, OwnedPartitions
from processor.settings import Settings
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: Bytes of events that are read at a time, and events that are folded before other tasks get a turn.
_READ_BYTES, SLICE = 4 << 20, 2000
#: Seconds between ticks of the clock while there are no events, and from the first new event to reading:
#: a slow stream of events must not become as many reads as events.
_TICK, _GATHER = 1.0, 0.02
#: Seconds that saving the state at the end may take: a large state is folded again instead.
_LAST_SAVE = 5.0


class EmbeddedWorker:
    """Folds the events of an archive, from the newest saved state on, and follows new ones.

    Nothing is published before all events are folded that the archive had at the start: counts that
    lack a part of the past would look like news.
    """

    def __init__(
        self, settings: Settings, archive: SqliteArchive, rules: ModelRules, telemetry: Telemetry
    ) -> None:
        self.complete = asyncio.Event()
        """Set once all events are folded that were in the archive at the start."""
        self.fold = EventFold(archive, rules, settings, telemetry)
        self.folder = StateFolder(settings.data, archive.id)
        self.saver = StateSaver(self.folder, archive, telemetry)
        self.last_error = ""
        """Why the archive can't be read; empty if it can."""
        self.last = 0
        """The sequence number of the newest event of the archive, when last seen."""
        self._settings = settings
        self._archive = archive
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        #: The newest event that the archive had at the start.
        self._past = 0
        self._loaded = False
        self._started = time.monotonic()
        self._seconds: float | None = None
        self._ids = OwnedPartitions((0,), (0,))

    # -- the loop

    def wake(self) -> None:
        """Fold the events that were appended meanwhile."""
        self._wake.set()

    async def run(self) -> None:
        """Load the state, and fold events until cancelled."""
        await self._load()
        while True:
            self._wake.clear()
            rows = await self._read()
            for some in slices(rows, SLICE):
                await self._fold(some)
            if self.fold.position >= self._past and not self.complete.is_set():
                self._complete()
            if not rows:
                await self._wait()

    async def stop(self) -> None:
        """Save the state; `run` must have ended."""
        if not self._loaded:
            return
        try:
            async with asyncio.timeout(_LAST_SAVE):
                await self.saver.finish(self.fold)
        except TimeoutError:
            logger.info("no time to save the state: the next start folds more events")

    async def _load(self) -> None:
        self.last = self._past = await self._archive.last()
        await asyncio.to_thread(self.folder.remove_unfinished)
        whole = self._settings.bootstrap == "full"
        state = None if whole else await asyncio.to_thread(self.folder.load, self.last)
        if state is None:
            first = await self._archive.first()
            if first > 1:
                logger.error(
                    "no saved state is used, and the events before number %d were deleted "
                    "(PROCESSOR_RETENTION): the counts begin with that event",
                    first,
                )
        else:
            self.fold.restore(state)
            self.saver.saved_position = state.head.position
        logger.info(
            "archive: %d events, folding from event %d on", self.last, self.fold.position + 1
        )
        self._loaded = True

    async def _read(self) -> list[StoredEvent]:
        """The next events; tries again while the archive can't be read."""
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                rows = await self._archive.stored_events(self.fold.position, _READ_BYTES)
            except ArchiveError as error:
                await self._wait_after(error, backoff)
            else:
                self.last_error = ""
                if rows:
                    self.last = max(self.last, rows[-1][0])
                return rows

    async def _fold(self, rows: Sequence[StoredEvent]) -> None:
        fold, backoff = self.fold, Backoff(0.2, 10.0)
        decoded: DecodedEvents | None = None
        while True:
            try:
                decoded = decoded or fold.decode(rows)
                requests = await fold.page_in(rows, decoded)
                break
            except ArchiveError as error:
                await self._wait_after(error, backoff)
        self.saver.note_all_saved(fold)
        notes = fold.apply(rows, decoded, requests)
        if not self.complete.is_set():
            self._telemetry.bootstrap_documents += len(rows)
        try:
            await self._archive.note(notes)
        except ArchiveError as error:
            # The archive keeps the notes and tries again with the next ones.
            logger.warning("noting requests: %s; trying again", error)
        fold.evict(self._settings.join_memory)
        if self.saver.is_due(fold):
            await self.saver.begin(fold)
        await asyncio.sleep(0)

    async def _wait(self) -> None:
        """Wait for new events, for a second at most."""
        try:
            async with asyncio.timeout(_TICK):
                await self._wake.wait()
            await asyncio.sleep(_GATHER)
        except TimeoutError:
            self.fold.tick()
            if self.saver.is_due(self.fold):
                await self.saver.begin(self.fold)

    async def _wait_after(self, error: ArchiveError, backoff: Backoff) -> None:
        if str(error) != self.last_error:
            logger.warning("%s; trying again", error)
        self.last_error = str(error)
        await backoff.sleep()

    def _complete(self) -> None:
        self.fold.go_live()
        self._seconds = time.monotonic() - self._started
        logger.info("%d events are counted after %.1f s", self._past, self._seconds)
        self.complete.set()

    # -- counts

    def advance(self, now: float) -> Iterator[None]:
        """Move the windows of the models to ``now``, one after the other."""
        for _ in self._window_counts(now):
            yield

    def windows(self, now: float) -> CountsByWindow:
        """Return the counts of all models by window and basis at ``now`` (seconds since 1970)."""
        board: dict[tuple[str, str], dict[ModelKey, Counts]] = {
            (window.name, basis): {}
            for window in self._settings.windows
            for basis in ("request", "feedback")
        }
        for key, window, basis, counts in self._window_counts(now):
            board[window, basis][key] = counts
        return board

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """Yield the models with their counts of recent windows."""
        return self.fold.tally.recent_counts(now) if self.complete.is_set() else iter(())

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """Return the buckets of a tier and basis, by model and start."""
        return dict(self.fold.tally.buckets(tier, by)) if self.complete.is_set() else {}

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        """Return the counts of delays by model, for the estimates while labels are late."""
        return dict(self.fold.tally.cohorts()) if self.complete.is_set() else {}

    def _window_counts(self, now: float) -> Iterator[tuple[ModelKey, str, str, Counts]]:
        return self.fold.tally.window_counts(now) if self.complete.is_set() else iter(())

    # -- health

    @property
    def is_ready(self) -> bool:
        """Whether the state was loaded, so that events are folded."""
        return self._loaded

    @property
    def owned(self) -> OwnedPartitions:
        """The embedded mode has one partition."""
        return self._ids if self._loaded else OwnedPartitions((), ())

    @property
    def behind(self) -> int:
        """Events that are accepted and not folded yet, of those that were seen."""
        return max(0, self.last - self.fold.position)

    async def refresh(self) -> int:
        """Events that are accepted and not folded yet."""
        self.last = max(self.last, await self._archive.last())
        return self.behind

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """Return whether a prediction for a request is in memory; None if it may be in the archive."""
        if not self.complete.is_set():
            return None
        found = self.fold.join.has_prediction(namespace, deployment, request_id)
        return None if not found and self.fold.has_left else found

    def joins(self) -> Mapping[int, JoinFold]:
        """The join, for the writer of outcomes."""
        return {0: self.fold.join} if self.complete.is_set() else {}

    def gauges(self) -> Gauges:
        """The gauges of the fold and of the archive."""
        state, tally = self.fold.join.state, self.fold.tally
        unsaved = self.fold.position != self.saver.saved_position
        seconds = time.monotonic() - self._started if self._seconds is None else self._seconds
        return Gauges(
            rows_differ=state.rows_differ,
            ambiguous=state.ambiguous,
            not_scorable_items={reason: n for reason, n in state.not_scorable.items() if n > 0},
            unmatched_feedbacks=state.unmatched,
            waiting_requests=state.waiting,
            matched_requests=len(state.requests) - state.waiting - state.unmatched,
            recovery_remaining_records=0 if self.complete.is_set() else self.behind,
            recovery_seconds=seconds,
            watermark_timestamp_seconds=tally.log_time / 1e9 if tally.log_time else None,
            checkpoint_age_seconds=max(0.0, time.time() - self.saver.saved_at) if unsaved else 0.0,
            archive_bytes=_size(self._archive.path),
        )


def _size(path: Path) -> int | None:
    """Bytes of the archive's file and of its write-ahead log; None if it is gone."""
    try:
        wal = path.with_name(path.name + "-wal")
        return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    except OSError:
        return None
