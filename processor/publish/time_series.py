"""Counts over time: the buckets of a window, summed to as many points as a chart can show."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import decided, ratio, wilson
from processor.domain.statistics.numbers import NumberTotals, number_totals
from processor.domain.tally.windows import DAYS, HOURS, MINUTES, TIERS, Window
from processor.domain.timestamps import SECOND, format_time
from processor.publish.cooperative import yielding
from processor.publish.interfaces import CountsSource

#: Most points of the chart of one model, and of the small charts in a list of models.
MAX_POINTS, MAX_LIST_POINTS = 60, 24


_NO_NUMBERS = NumberTotals()


class Points(msgspec.Struct):
    """Points of one model, as columns of equal length; steps without counts have no point.

    Point ``i`` lasts one step and begins ``index[i]`` steps after the start of the time series.
    ``predictions`` is 0 on the feedback basis. ``value`` is the score of the series' ``measure``,
    ``low`` and ``high`` are the bounds of its 95 % interval; all are None where nothing was judged.
    ``mean_predicted`` and ``mean_actual`` are empty unless the measure is "mae".
    """

    index: list[int] = []
    predictions: list[int] = []
    judged: list[int] = []
    correct: list[int] = []
    value: list[float | None] = []
    low: list[float | None] = []
    high: list[float | None] = []
    mean_predicted: list[float | None] = []
    mean_actual: list[float | None] = []


class ModelTimeSeries(msgspec.Struct, frozen=True):
    """One model over time. ``measure`` is "mae" for a model whose items are judged as numbers, else
    "accuracy", which of label sets is the share of exact matches."""

    namespace: str
    deployment: str
    predictor: str
    model: str
    points: Points
    measure: str = "accuracy"


class TimeSeries(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Models over time, on one time axis.

    The axis begins at ``from_`` (RFC 3339) and has ``steps`` steps of ``step`` seconds; the last step
    ends after the present.
    """

    from_: str
    step: int
    steps: int
    models: tuple[ModelTimeSeries, ...]


class Span(NamedTuple):
    """The buckets ``first`` to ``last`` of a tier; each point is the sum of ``group`` buckets."""

    tier: int
    first: int
    last: int
    group: int


async def time_series(
    counts_source: CountsSource,
    window: Window,
    by: str,
    now: float,
    only: ModelKey | None = None,
    since: float | None = None,
) -> TimeSeries:
    """All models, or the model ``only``, over the window that ends at ``now`` (seconds since 1970). That
    of all time begins at ``since`` at the latest."""
    span = _span(counts_source, window, by, now, only, since)
    size = TIERS[span.tier].size
    result = []
    models = _restrict(counts_source.buckets(span.tier, by), only)
    async for key in yielding(sorted(models)):
        result.append(ModelTimeSeries(*key, *_points(models[key], span)))
    steps = (span.last - span.first) // span.group + 1
    start = format_time(span.first * size * SECOND)
    return TimeSeries(start, span.group * size, steps, tuple(result))


def _restrict(
    models: Mapping[ModelKey, Mapping[int, Counts]], only: ModelKey | None
) -> Mapping[ModelKey, Mapping[int, Counts]]:
    if only is None:
        return models
    return {only: models[only]} if only in models else {}


def _span(
    counts_source: CountsSource,
    window: Window,
    by: str,
    now: float,
    only: ModelKey | None,
    since: float | None,
) -> Span:
    """The buckets of the window. The window of all time begins with the oldest bucket, and takes the
    finest tier that reaches back to it."""
    if window.seconds:
        tier = window.tier
        last = int(now) // TIERS[tier].size
        first = last - window.seconds // TIERS[tier].size + 1
    else:
        for tier in (DAYS, HOURS, MINUTES):
            size = TIERS[tier].size
            last = int(now) // size
            models = _restrict(counts_source.buckets(tier, by), only)
            first = min([last, *(min(buckets) for buckets in models.values() if buckets)])
            if since is not None:
                first = min(first, int(since) // size)
            # Tiers are listed from the finest: does the next finer one reach back to the oldest?
            if tier == MINUTES or now - first * size > TIERS[tier - 1].keep:
                break
    return Span(
        tier,
        first,
        last,
        -(-(last - first + 1) // (MAX_LIST_POINTS if only is None else MAX_POINTS)),
    )


def _points(buckets: Mapping[int, Counts], span: Span) -> tuple[Points, str]:
    sums: dict[int, list[int]] = {}
    numbers: dict[int, NumberTotals] = {}
    length = span.last - span.first + 1
    # The shorter loop: a window of a day has 1,440 minutes, a quiet model only a few buckets.
    buckets_of_span = range(span.first, span.last + 1) if length < len(buckets) else sorted(buckets)
    for number in buckets_of_span:
        counts = buckets.get(number)
        if counts is None or not span.first <= number <= span.last:
            continue
        index = (number - span.first) // span.group
        point = sums.setdefault(index, [0, 0, 0, 0])
        point[0] += counts.predictions
        point[1] += counts.judged
        point[2] += counts.correct
        point[3] += decided(counts)
        if counts.has_sums and (found := number_totals(counts.sums)).items:
            numbers[index] = numbers[index].plus(found) if index in numbers else found
    judged = sum(point[1] for point in sums.values())
    is_numeric = 2 * sum(each.items for each in numbers.values()) > judged
    points = Points()
    for index in sorted(sums):
        predictions, judged, correct, right_or_wrong = sums[index]
        value = ratio(correct, right_or_wrong)
        low, high = wilson(correct, right_or_wrong)
        if is_numeric:
            totals = numbers.get(index, _NO_NUMBERS)
            value, low, high = totals.mean_error()
            mean_predicted, mean_actual = totals.means()
            points.mean_predicted.append(mean_predicted)
            points.mean_actual.append(mean_actual)
        points.index.append(index)
        points.predictions.append(predictions)
        points.judged.append(judged)
        points.correct.append(correct)
        points.value.append(value)
        points.low.append(low)
        points.high.append(high)
    return points, "mae" if is_numeric else "accuracy"
