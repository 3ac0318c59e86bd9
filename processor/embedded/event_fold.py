"""The fold of the embedded mode: events of the archive to counts, in their order, in one process."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from processor.archive.sqlite.file import StoredEvent
from processor.archive.sqlite.requests import Note
from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import RawEvent
from processor.domain.join.fold import JoinFold
from processor.domain.join.id_set import request_digest
from processor.domain.join.requests.finder import BatchRequests
from processor.domain.join.vacuum import is_worth_vacuuming
from processor.domain.log.deltas import RawDeltaBatch
from processor.domain.log.observations import SCHEMA_VERSION, BatchBuilder, Feedback, Prediction
from processor.domain.log.records import decode_raw_delta, encode
from processor.domain.model_rules import ModelRules
from processor.domain.tally.tally import CheckpointManifest, Tally
from processor.domain.timestamps import HOUR, SECOND
from processor.embedded.row_decoder import DecodedEvents, RowDecoder
from processor.embedded.state_file import STATE_VERSION, State, StateHead
from processor.settings import Settings
from processor.stream.snapshot_file import SNAPSHOT_VERSION, Snapshot, vacuum_snapshot
from processor.telemetry import RecentDeadLetter, Telemetry

#: A prediction finds earlier events of its request that have left memory if they are so many events
#: before it, or fewer. Feedback finds its prediction at any distance.
REPEAT_EVENTS = 1 << 25


class EventArchive(Protocol):
    """The archive from which a fold reads requests back that have left memory."""

    id: str
    path: Path

    async def earlier_events(
        self, requests: Sequence[int], before: int, since: int = 0
    ) -> list[tuple[int, RawEvent]]:
        """The events of some requests, also of those that were noted just now; see `SqliteReader`."""
        ...


class EventFold:
    """Folds the events of an archive by the join and the tally that also work on Kafka.

    A request leaves memory after the horizon, or earlier if ``PROCESSOR_MAX_MEMORY`` asks for it. It is
    read back from the archive when another of its events comes. So the counts are a function of the
    archive's events alone, whatever left memory and whenever.
    """

    def __init__(
        self,
        archive: EventArchive,
        rules: ModelRules,
        settings: Settings,
        telemetry: Telemetry,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.position = 0
        """The sequence number of the last event that was folded."""
        self.offset = 0
        """The number of batches that were folded."""
        self.has_left = False
        """Whether a request has left memory."""
        #: The last hour that had all requests in memory, and more than should be.
        self._crowded = -1
        self._archive = archive
        self._rules = rules
        self._clock = clock
        self._live = telemetry
        self._is_live = False
        # Until it is live it repeats what an earlier process has counted in its telemetry.
        telemetry = Telemetry(recent_dead_letters=self._live.recent_dead_letters)
        self.join = JoinFold(archive.id, 0, 1, settings.horizon * SECOND, telemetry)
        self.join.judged = {} if settings.outcomes else None
        self.tally = Tally(SCHEMA_VERSION, archive.id, settings.windows)
        self._decoder = RowDecoder(rules, telemetry, archive.id, archive.path)
        #: Decodes events that were counted before.
        self._quiet_decoder = Decoder(rules, Telemetry())
        self._rules_digest = _digest(rules)
        self._rules_since = 0
        rules.listeners.add(self)

    def invalidate(self) -> None:
        """The models file has changed: events so far were counted by other rules."""
        digest = _digest(self._rules)
        if digest != self._rules_digest:
            self._rules_digest, self._rules_since = digest, self.position + 1

    def go_live(self) -> None:
        """From now on events are counted in the telemetry of this process."""
        self._is_live = True
        self.join.telemetry = self._live
        archive = self._archive
        self._decoder = RowDecoder(self._rules, self._live, archive.id, archive.path)

    # -- state

    def restore(self, state: State) -> None:
        """Continue from the state in a file."""
        head = state.head
        self.position, self.offset, self.has_left = head.position, head.offset, head.has_left
        self._rules_since = head.rules_since
        if head.rules != self._rules_digest:
            self._rules_since = head.position + 1
        self._live.recent_dead_letters.extend(head.dead_letters)
        self.join.restore(state.join.state)
        if self.join.judged is not None:
            self.join.judged.update(dict.fromkeys(state.join.judged, -1))
        self.tally.restore(head.manifest, state.blocks)

    def snapshot(self) -> Snapshot:
        """The join's part of the state, without what no request refers to any more."""
        judged = list(self.join.judged or ())
        snapshot = Snapshot(
            SNAPSHOT_VERSION, self._archive.id, 0, 1, 0, self.offset, self.join.state, judged
        )
        if is_worth_vacuuming(self.join.state):
            vacuum_snapshot(snapshot)
            self.join.restore(snapshot.state)
            if self.join.judged is not None:
                # In place, since the writer of outcomes holds it.
                self.join.judged.clear()
                self.join.judged.update(dict.fromkeys(snapshot.judged, -1))
        return snapshot

    def head(self, manifest: CheckpointManifest) -> StateHead:
        """The head of a file; ``manifest`` is that of the tally's blocks in it."""
        return StateHead(
            STATE_VERSION,
            self._archive.id,
            self.position,
            self.offset,
            self._rules_digest,
            self._rules_since,
            self.has_left,
            list(self._live.recent_dead_letters),
            manifest,
        )

    # -- events

    def decode(self, rows: Sequence[StoredEvent]) -> DecodedEvents:
        """Decode events; the telemetry counts them. The result is for `apply`. `ArchiveError` if one is
        damaged; it may be repeated."""
        dead_letters = list[RecentDeadLetter]()
        decoded = self._decoder.decode(rows, dead_letters)
        self._live.recent_dead_letters.extend(dead_letters)
        return decoded

    async def page_in(self, rows: Sequence[StoredEvent], decoded: DecodedEvents) -> BatchRequests:
        """Read back the requests of some events that have left memory by the time of these events.
        Returns the requests of the events, as of before. `ArchiveError` if they can't be read; it may
        be repeated."""
        self._advance(self._time(rows))
        requests = self.join.requests_of(decoded.batch)
        if self.has_left:
            first = rows[0][0]
            judged = set(requests.missing_feedbacks)
            predicted = set(requests.missing_predictions) - judged
            for wanted, since in ((judged, 0), (predicted, max(0, first - REPEAT_EVENTS))):
                if wanted:
                    events = await self._archive.earlier_events(list(wanted), first, since)
                    self._put_back(events, wanted)
        return requests

    def _put_back(self, events: Iterable[tuple[int, RawEvent]], wanted: set[int]) -> None:
        found: dict[int, list[tuple[int, Prediction | Feedback]]] = {}
        for number, event in events:
            for one in self._quiet_decoder.decode(*event).observations:
                digest = request_digest(*one[0][:2], one.request_id)
                if digest in wanted:
                    found.setdefault(digest, []).append((number, one))
        same_rules, other_rules = BatchBuilder(), BatchBuilder()
        for observations in found.values():
            builder = same_rules
            if observations[0][0] < self._rules_since:
                if any(isinstance(one, Feedback) for _, one in observations):
                    continue  # its outcome was counted by other rules, so it can't be taken back
                builder = other_rules
            for _, one in observations:
                builder.add(one)
            self._live.recalled += self._is_live
        self.join.page_in(same_rules.build(self._archive.id))
        self.join.page_in(other_rules.build(self._archive.id), restored=True)

    def apply(
        self, rows: Sequence[StoredEvent], decoded: DecodedEvents, requests: BatchRequests
    ) -> list[Note]:
        """Fold events that were decoded, after `page_in`. Returns the notes of their requests, for the
        archive."""
        timestamp = self._time(rows)
        delta = self.join.apply(self.offset, timestamp, decoded.batch).get(0)
        if delta is None:
            self.tally.advance(self.offset, timestamp)
        else:
            raw = decode_raw_delta(encode(delta))
            assert isinstance(raw, RawDeltaBatch)
            self.tally.apply(self.offset, timestamp, raw)
            if self._is_live:
                waited = max(0, self._clock() - rows[0][1])
                self._live.end_to_end.observe_ns(waited)
        self.offset += 1
        self.position = rows[-1][0]
        return list(zip(requests.digests, decoded.numbers, strict=True))

    def tick(self) -> None:
        """Let time pass while there are no events."""
        now = self._clock()
        self._advance(now)
        self.tally.advance(self.tally.offset - 1, now)

    def _time(self, rows: Sequence[StoredEvent]) -> int:
        """The time (ns) of the last of some events, by its acceptance. A clock that was ahead for a
        while must not make all requests leave."""
        return min(max(row[1] for row in rows), self._clock())

    def _advance(self, timestamp: int) -> None:
        before = len(self.join.state.requests)
        self.join.advance(timestamp)
        if len(self.join.state.requests) < before:
            self.has_left = True

    def evict(self, max_bytes: int) -> bool:
        """Let the oldest hour of requests leave memory if they take more than ``max_bytes``; those of
        the running hour stay. Returns whether any left."""
        join = self.join
        if join.approx_bytes <= max_bytes:
            return False
        hour = join.state.log_time // HOUR
        if self._crowded == hour:
            return False
        oldest = join.oldest()
        if oldest is None or oldest >= hour:
            # Only the next hour lets any leave, and the look at all requests takes long.
            self._crowded = hour
            return False
        join.evict(oldest + 1)
        self.has_left = True
        return True


def slices(rows: Sequence[StoredEvent], size: int) -> Iterator[Sequence[StoredEvent]]:
    """Some events at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _digest(rules: ModelRules) -> str:
    return hashlib.blake2b(repr(rules.entries).encode(), digest_size=8).hexdigest()
