"""The body of ``GET /api/page``: everything that the live page shows at one moment."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.nowcast_result import (
    DriftResult,
    NowcastResult,
    drift_result,
    nowcast_result,
)
from processor.domain.results import CalibrationBin, Events, ModelResult, model_result, task_of
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.delays import ENDS
from processor.domain.statistics.labels import decided, ratio, wilson
from processor.domain.statistics.numbers import number_totals
from processor.domain.statistics.sums import Key, Sum
from processor.domain.tally.late_days import AGES, LateDays
from processor.domain.tally.windows import Window
from processor.domain.timestamps import format_time
from processor.publish.api import instant, live_events
from processor.publish.cardinality import cap_result
from processor.publish.cooperative import yielding
from processor.publish.estimates.live import ModelEstimates
from processor.publish.interfaces import Readiness, WorkerView
from processor.publish.panels import (
    ErrorBar,
    ShownThreshold,
    decided_items,
    error_bars,
    shown_thresholds,
)
from processor.publish.time_series import TimeSeries, time_series
from processor.publish.workers.answers import ShownWorker
from processor.telemetry import Histogram, Telemetry


class Summary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a `ModelResult` that the list of models shows; scores are None if undefined.

    ``task`` is that of most judged items, None if nothing was judged. The MAE is left out where no item
    was judged as a number.
    """

    namespace: str
    deployment: str
    predictor: str
    model: str
    predictions: int | None
    judged: int
    correct: int
    coverage: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    task: str | None
    mae: float | None = None
    mae_low: float | None = None
    mae_high: float | None = None
    age_seconds: float | None = None
    """Given where the worker of the model does not answer: the values were right so long ago."""


class Panels(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of the charts of one model's probabilities and numbers; charts without data are left out.

    ``curve`` has threshold, precision, recall and false positive rate at each threshold, from the
    lowest; ``thresholds`` has some of these for a table.
    """

    calibration: tuple[CalibrationBin, ...] = ()
    curve: tuple[tuple[float | None, ...], ...] = ()
    thresholds: tuple[ShownThreshold, ...] = ()
    errors: tuple[ErrorBar, ...] = ()


class LateLabels(msgspec.Struct, frozen=True):
    """The nowcast of a window and the drift of its predicted labels; of its ``predicted`` items, those
    ``judged`` have their labels so far."""

    predicted: int
    judged: int
    nowcast: NowcastResult
    drift: DriftResult | None
    plots: LateDays | None = None
    """Of the last three weeks, whatever the window; None if they were not asked for."""
    ages: tuple[int, ...] = AGES
    """The ages of the shares of days, in seconds."""
    ends: tuple[int, ...] = ENDS
    """The ages of the shares of outcomes, in seconds."""


class WindowSummary(msgspec.Struct, frozen=True):
    """One model in one window."""

    window: str
    summary: Summary


class Detail(msgspec.Struct, frozen=True):
    """One model: its result in the chosen window, its summaries in all windows, and over time.

    ``result`` has the fields of a `ModelResult`; of those that only some tasks have, the ones without a
    value are left out, and so are the lists that ``panels`` has in a shorter form. ``decided`` items
    are right or wrong: all judged ones but numbers without a tolerance.
    """

    result: dict[str, object]
    panels: Panels
    decided: int
    windows: tuple[WindowSummary, ...]
    history: TimeSeries
    late: LateLabels | None
    """By time of the request, whatever the page's basis; None if the model predicts no labels, or for as
    long as the estimates were not made yet."""


class ShownDeadLetter(msgspec.Struct, frozen=True):
    """A dead letter.

    ``id`` is the argument of ``processor dead-letters show``, None until the broker has acknowledged
    the record. ``at`` is RFC 3339. ``topic``, ``partition`` and ``offset`` say where the event was read.
    """

    id: str | None
    at: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int


class Distribution(msgspec.Struct, frozen=True):
    """A histogram: ``counts`` of values up to each of ``bounds`` (seconds), and one count of the
    values above the last bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


class IngressWork(msgspec.Struct, frozen=True):
    """The requests at the ingress port of this worker since its start: ``answers`` by HTTP status,
    ``refused`` by the reason in the answer, and how long answers took."""

    answers: dict[str, int]
    refused: dict[str, int]
    in_flight: int
    seconds: Distribution


class Work(msgspec.Struct, frozen=True):
    """The work of this worker: counters since its start, and its state now."""

    ready: Readiness
    counts_until: str | None
    """Append time up to which the counts include the log, RFC 3339."""
    recovery_remaining: int
    held_deltas: int
    waiting: int
    events: Events
    feedback_delay: Distribution
    ingress: IngressWork
    dead_letters: tuple[ShownDeadLetter, ...]
    """The newest dead letters of this process, the newest first."""


class PageModels(msgspec.Struct, frozen=True):
    """The part of the page that is about models, of one worker or of the whole app."""

    models: tuple[Summary, ...]
    detail: Detail | None


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of ``GET /api/page``; ``at`` is RFC 3339.

    ``detail`` is about the model that the query names, None if no worker that answers has that model.
    ``workers`` and ``missing_partitions``, of which no worker gave counts, are left out where the app
    has one worker.
    """

    at: str
    window: str
    by: str
    ingress_url: str | None
    """The URL of this worker's ingress, as seen from its own machine; None until that port is open."""
    ingress_needs_token: bool
    """Whether senders need the bearer token of PROCESSOR_INGRESS_TOKEN."""
    models: tuple[Summary, ...]
    detail: Detail | None
    work: Work
    workers: tuple[ShownWorker, ...] = ()
    missing_partitions: tuple[int, ...] = ()


def page_data(
    worker: WorkerView,
    window: Window,
    by: str,
    shown: PageModels,
    workers: Sequence[ShownWorker] = (),
    missing_partitions: Sequence[int] = (),
) -> Page:
    """The page as of now, in one window on one basis, with these models."""
    return Page(
        instant(worker.clock()),
        window.name,
        by,
        worker.ingress_url or None,
        bool(worker.settings.ingress_token),
        shown.models,
        shown.detail,
        _work(worker),
        tuple(workers),
        tuple(missing_partitions),
    )


async def page_models(
    worker: WorkerView,
    window: Window,
    by: str,
    key: ModelKey | None,
    estimates: Mapping[ModelKey, ModelEstimates],
    plots: LateDays | None = None,
) -> PageModels:
    """The models of a worker as of now, in one window on one basis, with the details of the model
    ``key``, to which ``plots`` belong."""
    now = worker.clock()
    async for _ in yielding(worker.counts_source.advance(now)):
        pass
    counts_by_window = worker.counts_source.windows(now)
    models = counts_by_window.get((window.name, by), {})
    summaries = []
    async for each in yielding(sorted(models)):
        counts = models.get(each)
        if counts is not None:
            summaries.append(_summary(each, counts, by))
    chosen = None if key is None else models.get(key)
    detail = None
    if key is not None and chosen is not None:
        result = cap_result(
            model_result(key, chosen, by, worker.rules), worker.settings.max_classes
        )
        windows = tuple(
            WindowSummary(each.name, _summary(key, counts, by))
            for each in worker.settings.windows
            if (counts := counts_by_window[each.name, by].get(key)) is not None
        )
        past = await time_series(worker.counts_source, window, by, now, key)
        late = _late(estimates.get(key), window, plots)
        detail = Detail(_shown(result), _panels(result), decided_items(result), windows, past, late)
    return PageModels(tuple(summaries), detail)


def summary_of(result: ModelResult) -> Summary:
    """The part of a result that the list of models shows."""
    return Summary(**{name: getattr(result, name) for name in _SUMMARY})


def _late(
    estimates: ModelEstimates | None, window: Window, plots: LateDays | None
) -> LateLabels | None:
    found = None if estimates is None else estimates.by_window.get(window.name)
    if found is None:
        return None
    counts = found.nowcast
    result = nowcast_result(found)
    return LateLabels(counts.predicted, counts.judged, result, drift_result(found), plots)


_FIELDS = msgspec.structs.fields(ModelResult)
_SUMMARY = tuple(name for name in Summary.__struct_fields__ if name != "age_seconds")
#: Fields that the page has in `Panels`.
_CURVES = ("calibration", "thresholds", "error_histogram")


def _shown(result: ModelResult) -> dict[str, object]:
    return {
        field.name: value
        for field in _FIELDS
        if (value := getattr(result, field.name)) not in (None, (), {}) or field.required
        if field.name not in _CURVES
    }


def _panels(result: ModelResult) -> Panels:
    curve = tuple(
        tuple(
            None if value is None else round(value, 4)
            for value in (one.threshold, one.precision, one.recall, one.false_positive_rate)
        )
        for one in result.thresholds
    )
    return Panels(result.calibration, curve, shown_thresholds(result), error_bars(result))


def _summary(key: ModelKey, counts: Counts, by: str) -> Summary:
    by_request = by == "request"
    judged = decided(counts)
    sums = counts.sums
    numbers = number_totals(sums)
    sets = sums.get(Key(Sum.SET_ITEMS), 0)
    return Summary(
        *key,
        counts.predictions if by_request else None,
        counts.judged,
        counts.correct,
        ratio(counts.judged, counts.predictions) if by_request else None,
        ratio(counts.correct, judged),
        *wilson(counts.correct, judged),
        task_of(counts.judged, numbers.items, sets),
        *numbers.mean_error(),
    )


def _work(worker: WorkerView) -> Work:
    gauges, telemetry = worker.health.gauges(), worker.telemetry
    until = gauges.watermark_timestamp_seconds
    return Work(
        ready=worker.health.ready(),
        counts_until=None if until is None else instant(until),
        recovery_remaining=gauges.recovery_remaining_records,
        held_deltas=gauges.held_deltas,
        waiting=gauges.waiting_requests,
        events=live_events(telemetry, gauges),
        feedback_delay=_distribution(telemetry.feedback_delay),
        ingress=_ingress(telemetry, gauges.ingress_in_flight),
        dead_letters=tuple(_dead_letters(telemetry, worker.settings.embedded)),
    )


def _ingress(telemetry: Telemetry, in_flight: int) -> IngressWork:
    answers = Counter[str]()
    for (_, status), requests in telemetry.ingress_requests.items():
        answers[status] += requests
    return IngressWork(
        dict(sorted(answers.items())),
        dict(telemetry.ingress_refused.most_common()),
        in_flight,
        _distribution(telemetry.ingress),
    )


def _dead_letters(telemetry: Telemetry, embedded: bool) -> Sequence[ShownDeadLetter]:
    return [
        ShownDeadLetter(
            # Without topics the id is the event's number in the archive.
            str(dead_letter.offset) if embedded else dead_letter.id,
            format_time(dead_letter.time),
            dead_letter.reason,
            dead_letter.detail,
            dead_letter.topic,
            dead_letter.partition,
            dead_letter.offset,
        )
        for dead_letter in reversed(telemetry.recent_dead_letters)
    ]


def _distribution(histogram: Histogram) -> Distribution:
    return Distribution(histogram.bounds, tuple(histogram.buckets))
