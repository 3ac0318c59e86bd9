"""What a report shows beyond the counts of the whole span: counts over time, and delays."""

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.model_key import ModelKey
from processor.domain.results import ModelResult, Replay
from processor.domain.statistics.labels import wilson
from processor.domain.tally.windows import DAY, HOUR, MINUTE
from processor.domain.timestamps import SECOND
from processor.replay.fold import Selection, contribution
from processor.report.compare import Comparisons, model_key
from processor.telemetry import DELAY_BOUNDS

#: Lengths of a point in time, in seconds; the shortest that needs no more than `_POINTS` is taken.
_LENGTHS = (
    MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, DAY, 7 * DAY, 28 * DAY, 364 * DAY,
)  # fmt: skip
_POINTS = 60


class Point(msgspec.Struct, frozen=True):
    """Counts of items from ``start`` (seconds since 1970) on, for the length of the report's points."""

    start: int
    predictions: int
    judged: int
    correct: int

    @property
    def accuracy(self) -> float | None:
        """None where nothing was judged."""
        return self.correct / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Accuracy's 95 % Wilson interval."""
        return wilson(self.correct, self.judged)

    @property
    def coverage(self) -> float | None:
        """None where nothing was predicted."""
        return self.judged / self.predictions if self.predictions else None


class ModelTimeline(msgspec.Struct, frozen=True):
    """One model over time. ``length`` is the seconds of a point; points without counts are left out.
    ``delays`` counts feedbacks by delay, bounded as `DELAY_BOUNDS`, the last for all above."""

    length: int = DAY
    points: tuple[Point, ...] = ()
    delays: tuple[int, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A replay's numbers, each model's course, and what was compared where that was asked for."""

    replay: Replay
    courses: dict[ModelKey, ModelTimeline]
    compared: Comparisons | None = None

    def course(self, model: ModelResult) -> ModelTimeline:
        """The course of a model, empty where there is none."""
        return self.courses.get(model_key(model), ModelTimeline())


class ModelTimelines:
    """Takes what requests contribute, and keeps it by model and minute."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._minutes: dict[ModelKey, dict[int, list[int]]] = {}
        self._delays: dict[ModelKey, list[int]] = {}

    def add(self, request: Iterable[tuple[ModelKey, JoinedPrediction]]) -> None:
        """Count what one request contributes."""
        by_feedback = self._selection.by == "feedback"
        for key, joined in request:
            counts = contribution(joined, self._selection)
            if counts is None:
                continue
            prediction, feedback, outcome = joined
            time = feedback.time if by_feedback and feedback is not None else prediction.time
            if time >= MINUTE * SECOND:  # less is a row of a table without a time: its place
                minutes = self._minutes.setdefault(key, {})
                minute = minutes.setdefault(time // (MINUTE * SECOND), [0, 0, 0])
                minute[0] += counts.predictions
                minute[1] += counts.judged
                minute[2] += counts.correct
            # A table without times of the feedback has those of the predictions: no delay is known.
            if feedback is not None and outcome is not None and feedback.time != prediction.time:
                delay = max(0, feedback.time - prediction.time) / SECOND
                delays = self._delays.setdefault(key, [0] * (len(DELAY_BOUNDS) + 1))
                delays[bisect_left(DELAY_BOUNDS, delay)] += 1

    def result(self) -> dict[ModelKey, ModelTimeline]:
        """The course of each model; all have points of one length, so that they compare."""
        every = [minute for minutes in self._minutes.values() for minute in minutes]
        if not every:
            return {}
        span = (max(every) - min(every) + 1) * MINUTE
        length = next((each for each in _LENGTHS if span <= each * _POINTS), _LENGTHS[-1])
        return {
            key: ModelTimeline(length, _points(minutes, length), tuple(self._delays.get(key, ())))
            for key, minutes in self._minutes.items()
        }


def _points(minutes: dict[int, list[int]], length: int) -> tuple[Point, ...]:
    sums: dict[int, list[int]] = {}
    for minute, counts in minutes.items():
        start = minute * MINUTE // length * length
        held = sums.setdefault(start, [0, 0, 0])
        for i, n in enumerate(counts):
            held[i] += n
    return tuple(Point(start, *sums[start]) for start in sorted(sums))
