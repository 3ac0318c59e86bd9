"""The data of a report: a replay's results, each model's counts over time, and feedback delays."""

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.model_key import ModelKey
from processor.domain.results import ModelResult, Replay
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import decided, wilson
from processor.domain.statistics.numbers import NumberTotals, number_totals
from processor.domain.tally.late_days import LateDays
from processor.domain.tally.windows import DAY, HOUR, MINUTE
from processor.domain.timestamps import SECOND
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.report.compare import Comparisons, model_key
from processor.telemetry import DELAY_BOUNDS

#: Lengths of a point in seconds; the shortest one that needs at most `_MAX_POINTS` is taken.
_LENGTHS = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY,
)  # fmt: skip
_MAX_POINTS = 60


class Point(msgspec.Struct, frozen=True):
    """Counts of items in one point of a timeline, which begins at ``start`` (seconds since 1970).

    ``decided`` items are right or wrong: all judged ones but numbers without a tolerance. ``numbers``
    are the totals of the items judged as numbers.
    """

    start: int
    predictions: int
    judged: int
    correct: int
    decided: int
    numbers: NumberTotals

    @property
    def accuracy(self) -> float | None:
        """Accuracy: correct items divided by decided items; None without any."""
        return self.correct / self.decided if self.decided else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Both ends of the 95 % Wilson interval of the accuracy; None without decided items."""
        return wilson(self.correct, self.decided)

    @property
    def coverage(self) -> float | None:
        """Feedback coverage: judged items divided by predicted items; None without predicted items."""
        return self.judged / self.predictions if self.predictions else None


class ModelTimeline(msgspec.Struct, frozen=True):
    """One model over time.

    ``length`` is the length of a point in seconds; points without counts are left out. ``delays`` are
    numbers of feedbacks by delay: one for each upper bound of `DELAY_BOUNDS`, and one for longer delays.
    """

    length: int = DAY
    points: tuple[Point, ...] = ()
    delays: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A replay's results, the timeline of each model, the comparisons that were asked for, and the plots
    of late labels."""

    replay: Replay
    timelines: dict[ModelKey, ModelTimeline]
    comparisons: Comparisons | None = None
    late: dict[ModelKey, LateDays] = {}

    def timeline(self, model: ModelResult) -> ModelTimeline:
        """The timeline of a model, empty where there is none."""
        return self.timelines.get(model_key(model), ModelTimeline())

    def late_labels(self, model: ModelResult) -> LateDays:
        """The late labels of a model, empty where there are none."""
        return self.late.get(model_key(model), LateDays())


class ModelTimelines:
    """Sums the contributions of requests by model and minute."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._minutes: dict[ModelKey, dict[int, _Sums]] = {}
        self._delays: dict[ModelKey, list[int]] = {}

    def add(self, request: Iterable[tuple[ModelKey, JoinedPrediction]]) -> None:
        """Add the contribution of one request."""
        for key, joined in request:
            contribution = self._selection.contribution(joined)
            if contribution is None:
                continue
            time, counts = contribution
            if time >= MINUTE * SECOND:  # less is the number of a table's row without a time
                minutes = self._minutes.setdefault(key, {})
                minutes.setdefault(time // (MINUTE * SECOND), _Sums()).add(counts)
            # In a table without feedback times both times are equal, and the delay is unknown.
            prediction, feedback, _ = joined
            if feedback is not None and feedback.time != prediction.time:
                delay = max(0, feedback.time - prediction.time) / SECOND
                delays = self._delays.setdefault(key, [0] * (len(DELAY_BOUNDS) + 1))
                delays[bisect_left(DELAY_BOUNDS, delay)] += 1

    def result(self) -> dict[ModelKey, ModelTimeline]:
        """The timeline of each model; all have points of one length, so that they can be compared."""
        all_minutes = [minute for minutes in self._minutes.values() for minute in minutes]
        if not all_minutes:
            return {}
        span = (max(all_minutes) - min(all_minutes) + 1) * MINUTE
        length = next((each for each in _LENGTHS if span <= each * _MAX_POINTS), _LENGTHS[-1])
        return {
            key: ModelTimeline(length, _points(minutes, length), tuple(self._delays.get(key, ())))
            for key, minutes in self._minutes.items()
        }


def timelines_of(fold: ReplayFold) -> dict[ModelKey, ModelTimeline]:
    """The timeline of each model of a fold."""
    timelines = ModelTimelines(fold.selection)
    for request in fold.requests():
        timelines.add(request)
    return timelines.result()


class _Sums:
    """The sums of a span of time from which a `Point` is made."""

    __slots__ = ("counts", "numbers")

    def __init__(self) -> None:
        self.counts = (0, 0, 0, 0)
        self.numbers = NumberTotals()

    def add(self, counts: Counts) -> None:
        """Add the counts of one contribution."""
        some = counts.predictions, counts.judged, counts.correct, decided(counts)
        self._plus(some, number_totals(counts.sums) if counts.has_sums else None)

    def add_sums(self, other: "_Sums") -> None:
        """Add the sums of a shorter span."""
        self._plus(other.counts, other.numbers)

    def _plus(self, counts: tuple[int, int, int, int], numbers: NumberTotals | None) -> None:
        a, b, c, d = self.counts
        self.counts = a + counts[0], b + counts[1], c + counts[2], d + counts[3]
        if numbers is not None and numbers.items:
            self.numbers = self.numbers.plus(numbers)


def _points(minutes: dict[int, _Sums], length: int) -> tuple[Point, ...]:
    sums: dict[int, _Sums] = {}
    for minute, some in minutes.items():
        sums.setdefault(minute * MINUTE // length * length, _Sums()).add_sums(some)
    return tuple(Point(start, *sums[start].counts, sums[start].numbers) for start in sorted(sums))
