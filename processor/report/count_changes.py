"""Changes of every model's counts over time, and rolling windows over them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, Counts
from processor.domain.tally.windows import MINUTE, TIERS, Window
from processor.domain.timestamps import SECOND
from processor.replay.selection import Selection


class Change(NamedTuple):
    """Counts that are added to a model's: ``tick`` is the first sample that includes them, ``minute``
    (since 1970) the bucket of windows that they belong to."""

    tick: int
    minute: int
    counts: Counts


class CountChanges:
    """Sums the contributions of requests by model, basis, sample and minute.

    ``step`` is the seconds between two samples; sample number ``tick`` is taken at tick * step seconds
    since 1970 and includes all that happened up to then. ``end`` (ns) is the first time left out.
    """

    def __init__(self, step: int, end: int | None) -> None:
        self.step = step
        self.first: int | None = None
        """The first time (ns) of all contributions."""
        self.last: int | None = None
        """The last time (ns) of all contributions."""
        self._selections = [Selection(by, end=end) for by in BASES]
        self._changes: dict[ModelKey, tuple[dict[tuple[int, int], Counts], ...]] = {}

    def add(self, request: Iterable[tuple[ModelKey, JoinedPrediction]]) -> None:
        """Add the contribution of one request on both bases."""
        for key, joined in request:
            for basis, selection in enumerate(self._selections):
                contribution = selection.contribution(joined)
                if contribution is not None and not contribution[1].is_empty():
                    self._add(key, basis, *contribution)

    def _add(self, key: ModelKey, basis: int, time: int, counts: Counts) -> None:
        self.first = time if self.first is None else min(self.first, time)
        self.last = time if self.last is None else max(self.last, time)
        changes = self._changes.setdefault(key, tuple({} for _ in BASES))[basis]
        # Rounded up: a sample does not include later contributions.
        at = -(-time // (self.step * SECOND)), time // (MINUTE * SECOND)
        changes.setdefault(at, Counts()).add(counts)

    def models(self) -> list[ModelKey]:
        """Every model, sorted by its four names."""
        return sorted(self._changes)

    def changes(self, key: ModelKey, by: str) -> list[Change]:
        """The changes of a model on a basis, in the order of time."""
        found = self._changes[key][BASES.index(by)]
        return [Change(*at, found[at]) for at in sorted(found)]

    def first_tick(self, key: ModelKey) -> int:
        """The first sample that includes a contribution to the model."""
        return min(tick for changes in self._changes[key] for tick, _ in changes)


class RollingWindow:
    """The sum of a window (counting rule 16) at one sample after another: changes that enter the window
    are added, changes that leave it are subtracted."""

    def __init__(self, window: Window, changes: list[Change], step: int) -> None:
        self.counts = Counts()
        self._changes = changes
        self._step = step
        self._end = 0  # the changes that are in a window of all time
        adds: dict[int, list[Callable[[Counts, Counts, int], None]]] = {}
        adds.setdefault(window.tier, []).append(Counts.add_labels)
        adds.setdefault(window.sums_tier, []).append(Counts.add_sums)
        self._starts = [_Start(window, tier, parts) for tier, parts in adds.items()]

    def advance(self, tick: int) -> bool:
        """Move on to a sample. Returns whether the counts changed."""
        changes = self._changes
        before = self._end, [start.first for start in self._starts]
        while self._end < len(changes) and changes[self._end].tick <= tick:
            self.counts.add(changes[self._end].counts)
            self._end += 1
        for start in self._starts:
            start.advance(tick * self._step, changes, self._end, self.counts)
        return before != (self._end, [start.first for start in self._starts])


class _Start:
    """The start of a window in one tier: ``first`` is the first change in it."""

    def __init__(
        self, window: Window, tier: int, parts: list[Callable[[Counts, Counts, int], None]]
    ) -> None:
        self.first = 0
        self._parts = parts
        self._size = TIERS[tier].size
        self._length = window.length(tier)

    def advance(self, now: int, changes: Sequence[Change], end: int, counts: Counts) -> None:
        """Subtract the changes before ``end`` that have left the window at ``now`` (seconds since
        1970)."""
        if not self._length:
            return
        expired = now // self._size - self._length
        while self.first < end and changes[self.first].minute * MINUTE // self._size <= expired:
            for add in self._parts:
                add(counts, changes[self.first].counts, -1)
            self.first += 1
