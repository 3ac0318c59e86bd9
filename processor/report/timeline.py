"""Counts of every model over time, and rolling windows that walk along them."""

from collections.abc import Iterable
from typing import NamedTuple

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, Counts
from processor.domain.tally.windows import MINUTE, TIERS, Window
from processor.domain.timestamps import SECOND
from processor.replay.fold import Selection, contribution


class Change(NamedTuple):
    """What is added to a model's counts: from the sample ``tick`` on, in the bucket of ``minute``."""

    tick: int
    minute: int
    counts: Counts


class Timeline:
    """Takes what requests contribute, and keeps it by model, basis, sample and minute.

    ``step`` is the seconds between two samples; sample number ``tick`` is of the time tick * step
    and knows what happened up to then. ``end`` (ns) is the first time that is left out.
    """

    def __init__(self, step: int, end: int | None) -> None:
        self.step = step
        #: The first and last time (ns) of anything counted.
        self.first: int | None = None
        self.last: int | None = None
        self._selections = [Selection(by, end=end) for by in BASES]
        self._changes: dict[ModelKey, tuple[dict[tuple[int, int], Counts], ...]] = {}

    def add(self, request: Iterable[tuple[ModelKey, JoinedPrediction]]) -> None:
        """Count what one request contributes."""
        for key, joined in request:
            for basis, selection in enumerate(self._selections):
                counts = contribution(joined, selection)
                if counts is None or counts.is_empty():
                    continue
                of = joined.feedback if basis and joined.feedback else joined.prediction
                self._count(key, basis, of.time, counts)

    def _count(self, key: ModelKey, basis: int, time: int, counts: Counts) -> None:
        self.first = time if self.first is None else min(self.first, time)
        self.last = time if self.last is None else max(self.last, time)
        changes = self._changes.setdefault(key, tuple({} for _ in BASES))[basis]
        # Rounded up: a sample does not know of what comes after it.
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
        """The first sample that knows of the model."""
        return min(tick for changes in self._changes[key] for tick, _ in changes)


class RollingWindow:
    """The sum of a window (counting rule 16) at one sample after another: what comes is added, what
    leaves is subtracted."""

    def __init__(self, window: Window, changes: list[Change], step: int) -> None:
        self.counts = Counts()
        self._changes = changes
        self._step = step
        self._size = TIERS[window.tier].size
        self._length = window.seconds // self._size if window.seconds else 0
        self._entered = self._left = 0

    def advance(self, tick: int) -> bool:
        """Move on to a sample; whether the counts changed."""
        changes = self._changes
        entered, left = self._entered, self._left
        while self._entered < len(changes) and changes[self._entered].tick <= tick:
            self.counts.add(changes[self._entered].counts)
            self._entered += 1
        if self._length:
            gone = tick * self._step // self._size - self._length
            while (
                self._left < self._entered
                and changes[self._left].minute * MINUTE // self._size <= gone
            ):
                self.counts.add(changes[self._left].counts, -1)
                self._left += 1
        return (entered, left) != (self._entered, self._left)
