"""Counts over time: the buckets of a window, put together to as many points as a chart can show."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import wilson
from processor.domain.tally.windows import DAYS, HOURS, MINUTES, TIERS, Window
from processor.domain.timestamps import SECOND, format_time
from processor.publish.cooperative import yielding
from processor.publish.interfaces import CountsSource

#: Points at the most: of the chart of one model, and of the small ones beside many.
POINTS, FEW_POINTS = 60, 24


class Points(msgspec.Struct):
    """Columns of one length, without points where nothing is counted. Point ``index[i]`` lasts from
    the history's start + ``index[i]`` steps, for one step. ``predictions`` is 0 on the feedback
    basis; the ends of accuracy's interval are None where nothing was judged."""

    index: list[int] = []
    predictions: list[int] = []
    judged: list[int] = []
    correct: list[int] = []
    low: list[float | None] = []
    high: list[float | None] = []


class ModelTimeSeries(msgspec.Struct, frozen=True):
    """One model over time."""

    namespace: str
    deployment: str
    predictor: str
    model: str
    points: Points


class History(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """``from_`` is RFC 3339; ``step`` is in seconds, and ``steps`` of them reach past the present."""

    from_: str
    step: int
    steps: int
    models: tuple[ModelTimeSeries, ...]


class Span(NamedTuple):
    """Buckets ``first`` to ``last`` of a tier, ``group`` of them to a point."""

    tier: int
    first: int
    last: int
    group: int


async def history(
    board: CountsSource, window: Window, by: str, now: float, only: ModelKey | None = None
) -> History:
    """All models, or ``only`` one, over the window at ``now`` (seconds since 1970)."""
    span = _span(board, window, by, now, only)
    size = TIERS[span.tier].size
    result = []
    models = _of(board.buckets(span.tier, by), only)
    async for key in yielding(sorted(models)):
        result.append(ModelTimeSeries(*key, _points(models[key], span)))
    steps = (span.last - span.first) // span.group + 1
    start = format_time(span.first * size * SECOND)
    return History(start, span.group * size, steps, tuple(result))


def _of(
    models: Mapping[ModelKey, Mapping[int, Counts]], only: ModelKey | None
) -> Mapping[ModelKey, Mapping[int, Counts]]:
    if only is None:
        return models
    return {only: models[only]} if only in models else {}


def _span(board: CountsSource, window: Window, by: str, now: float, only: ModelKey | None) -> Span:
    """The buckets of the window. Those of all time begin with the oldest, and are the finest that
    reach back so far."""
    if window.seconds:
        tier = window.tier
        last = int(now) // TIERS[tier].size
        first = last - window.seconds // TIERS[tier].size + 1
    else:
        for tier in (DAYS, HOURS, MINUTES):
            size = TIERS[tier].size
            last = int(now) // size
            models = _of(board.buckets(tier, by), only)
            first = min([last, *(min(buckets) for buckets in models.values() if buckets)])
            # Tiers are listed from the finest on: does the next finer one reach back so far?
            if tier == MINUTES or now - first * size > TIERS[tier - 1].keep:
                break
    return Span(
        tier, first, last, -(-(last - first + 1) // (FEW_POINTS if only is None else POINTS))
    )


def _points(buckets: Mapping[int, Counts], span: Span) -> Points:
    sums: dict[int, list[int]] = {}
    length = span.last - span.first + 1
    # Whichever is shorter: a window of a day has 1,440 minutes, a quiet model a few buckets.
    numbers = range(span.first, span.last + 1) if length < len(buckets) else sorted(buckets)
    for number in numbers:
        counts = buckets.get(number)
        if counts is None or not span.first <= number <= span.last:
            continue
        point = sums.setdefault((number - span.first) // span.group, [0, 0, 0])
        point[0] += counts.predictions
        point[1] += counts.judged
        point[2] += counts.correct
    points = Points()
    for index in sorted(sums):
        predictions, judged, correct = sums[index]
        low, high = wilson(correct, judged)
        points.index.append(index)
        points.predictions.append(predictions)
        points.judged.append(judged)
        points.correct.append(correct)
        points.low.append(low)
        points.high.append(high)
    return points
