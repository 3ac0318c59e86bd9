"""The body of ``GET /api/page``: all that the live page shows at a moment, in one answer."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import Events, ModelResult, model_result
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import ratio, wilson
from processor.domain.tally.windows import Window
from processor.domain.timestamps import format_time
from processor.publish.api import instant, live_events
from processor.publish.cardinality import cap_result
from processor.publish.cooperative import yielding
from processor.publish.interfaces import CountsSource, Health, Readiness
from processor.publish.time_series import History, history
from processor.settings import Settings
from processor.telemetry import Histogram, Telemetry


class Summary(msgspec.Struct, frozen=True):
    """Part of a `ModelResult`: what a list of models shows."""

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


class WindowSummary(msgspec.Struct, frozen=True):
    """One model in one window."""

    window: str
    summary: Summary


class Detail(msgspec.Struct, frozen=True):
    """One model: its result in the chosen window, itself in every window, and over time."""

    result: ModelResult
    windows: tuple[WindowSummary, ...]
    history: History


class ShownDeadLetter(msgspec.Struct, frozen=True):
    """A dead letter: ``id`` is what ``processor dead-letters show`` takes, None while the broker has
    not acknowledged the record; ``at`` is RFC 3339; the rest is where its event was read."""

    id: str | None
    at: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int


class Distribution(msgspec.Struct, frozen=True):
    """``counts`` of values up to each of ``bounds`` (seconds), and one more above the last."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]


class Work(msgspec.Struct, frozen=True):
    """What this worker does: since its start, and right now."""

    ready: Readiness
    counts_until: str | None
    """Log time that the counts include, RFC 3339."""
    recovery_remaining: int
    held_deltas: int
    waiting: int
    events: Events
    feedback_delay: Distribution
    dead_letters: tuple[ShownDeadLetter, ...]
    """The newest first."""


class Page(msgspec.Struct, frozen=True):
    """``detail`` is of the model that was asked for, None where this worker does not hold it."""

    at: str
    window: str
    by: str
    ingress_url: str | None
    """Where this worker takes events over HTTP, as it knows itself; None until that port is open."""
    models: tuple[Summary, ...]
    detail: Detail | None
    work: Work


class Worker(Protocol):
    """What the page is about."""

    @property
    def board(self) -> CountsSource: ...
    @property
    def health(self) -> Health: ...
    @property
    def telemetry(self) -> Telemetry: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def ingress_url(self) -> str: ...


async def page_data(
    worker: Worker, window: Window, by: str, key: ModelKey | None, now: float
) -> Page:
    """The page at ``now``, in seconds since 1970."""
    board = worker.board.windows(now)
    models = board.get((window.name, by), {})
    summaries = []
    async for each in yielding(sorted(models)):
        counts = models.get(each)
        if counts is not None:
            summaries.append(_summary(each, counts, by))
    chosen = None if key is None else models.get(key)
    detail = None
    if key is not None and chosen is not None:
        result = cap_result(model_result(key, chosen, by), worker.settings.max_classes)
        windows = tuple(
            WindowSummary(each.name, _summary(key, counts, by))
            for each in worker.settings.windows
            if (counts := board[each.name, by].get(key)) is not None
        )
        past = await history(worker.board, window, by, now, key)
        detail = Detail(result, windows, past)
    return Page(
        instant(now),
        window.name,
        by,
        worker.ingress_url or None,
        tuple(summaries),
        detail,
        _work(worker),
    )


def _summary(key: ModelKey, counts: Counts, by: str) -> Summary:
    by_request = by == "request"
    low, high = wilson(counts.correct, counts.judged)
    return Summary(
        *key,
        predictions=counts.predictions if by_request else None,
        judged=counts.judged,
        correct=counts.correct,
        coverage=ratio(counts.judged, counts.predictions) if by_request else None,
        accuracy=ratio(counts.correct, counts.judged),
        accuracy_low=low,
        accuracy_high=high,
    )


def _work(worker: Worker) -> Work:
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
        dead_letters=tuple(_dead_letters(telemetry, worker.settings.embedded)),
    )


def _dead_letters(telemetry: Telemetry, embedded: bool) -> Sequence[ShownDeadLetter]:
    return [
        ShownDeadLetter(
            # The embedded broker's topic ends with the process: there the archive's number is the id.
            str(letter.offset) if embedded else letter.id,
            format_time(letter.time),
            letter.reason,
            letter.detail,
            letter.topic,
            letter.partition,
            letter.offset,
        )
        for letter in reversed(telemetry.recent_dead_letters)
    ]


def _distribution(histogram: Histogram) -> Distribution:
    return Distribution(histogram.bounds, tuple(histogram.buckets))
