"""The metrics as prometheus_client sees them, made anew at each scrape.

Long-lived gauges would go on showing models that have moved to another worker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from processor.domain.events.raw_event import REASONS
from processor.domain.model_key import ModelKey
from processor.publish.cardinality import LimitedCounts
from processor.publish.exposition import CAPPED_HELP, HIDDEN_HELP
from processor.publish.families import FAMILIES, LABELS, board_rows, row_samples
from processor.publish.interfaces import CountsSource, Gauges, Health
from processor.settings import Settings
from processor.telemetry import Histogram, Telemetry

EVENT_TYPES = ("request", "response", "feedback", "unreadable")

_COUNTERS = {
    "joined": "Predictions that got their first feedback.",
    "duplicates": "Observations of equal version or equal content.",
    "superseded": "Observations that lost to a greater version, or were replaced by one.",
    "corrections": "Counted outcomes that changed.",
    "catch_up_skipped": "Observations of documents that were counted and have left memory.",
    "source_lost": "Records that a retention removed from the source before they were read.",
    "logged_documents": "Documents that the request logger's role wrote.",
    "logged_refused": "Documents that Elasticsearch refused for what they hold.",
    "lookups": "Requests of feedback without a prediction that the archive was asked for.",
    "recalled": "Predictions that the archive had for feedback without one.",
    "outcomes_written": "Documents that were told what became of their item.",
    "outcomes_missing": "Judged requests without a document to tell.",
    "late": "Feedbacks that came after their request had left memory.",
    "evicted_requests": "Requests that left memory before the horizon: PROCESSOR_MAX_MEMORY.",
    "says_nothing": "Feedbacks with neither truth nor reward.",
    "future_times": "Events whose time is more than 5 minutes ahead of their record's.",
    "snapshot_failures": "Snapshots of the join that could not be written: starts get slower.",
    "bootstrap_documents": "Documents read from the archive.",
}
_GAUGES = {
    "rows_differ": "Outcomes whose truth and prediction differ in their number of rows.",
    "ambiguous": "Outcomes where right and wrong can not be told apart.",
    "unmatched_feedbacks": "Requests with feedback and no prediction.",
    "waiting_requests": "Requests with a prediction and no feedback.",
    "outcomes_waiting": "Judged requests whose documents are to be told.",
    "bootstrap_remaining_documents": "Documents to read from the archive, about.",
    "held_deltas": "Deltas kept back since one before them is missing.",
    "recovery_remaining_records": "Records to read before the counts are those of the log.",
    "recovery_seconds": "How long the slowest partition took to come up to date, or takes by now.",
    "failing_partitions": "Partitions with a record that fails to fold, again and again.",
    "stalled_seconds": "Time without progress though there is work and the broker answers.",
    "watermark_timestamp_seconds": "Log time that the counts include, since 1970.",
    "checkpoint_age_seconds": "Time since the oldest of the newest checkpoints was written.",
    "embedded_broker_bytes": "Memory of the embedded broker.",
    "embedded_broker_limit_bytes": "Memory of the embedded broker at which events are refused.",
}


class ModelCollector(Collector):
    """The model families of a board, for any registry. `exposition.Exposition` is its fast twin."""

    def __init__(self, board: CountsSource, settings: Settings, clock: Callable[[], float]) -> None:
        self._board = LimitedCounts(board, settings.max_models)
        self._settings = settings
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """Every family that has samples."""
        families = {
            each.name: GaugeMetricFamily(each.name, each.help, labels=(*LABELS, *each.labels))
            for each in FAMILIES
        }
        hidden: dict[ModelKey, int] = {}
        settings = self._settings
        rows = board_rows(
            self._board.windows(self._clock()), settings.metrics_by, settings.cell_windows
        )
        for row in rows:
            samples, left_out = row_samples(row, settings.max_classes)
            hidden[row.key] = max(left_out, hidden.get(row.key, 0))
            for name, labels, value in samples:
                families[name].add_metric((*row.labels, *labels), value)
        yield from (family for family in families.values() if family.samples)
        yield GaugeMetricFamily("processor_capped_labels", CAPPED_HELP, value=sum(hidden.values()))
        yield GaugeMetricFamily("processor_hidden_models", HIDDEN_HELP, value=self._board.hidden)


class OwnCollector(Collector):
    """What the processor says of its own work."""

    def __init__(self, telemetry: Telemetry, health: Health) -> None:
        self._telemetry = telemetry
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Counters, gauges, histograms and the build."""
        telemetry = self._telemetry
        yield _by_label("events", "Events read.", "event_type", telemetry.events, EVENT_TYPES)
        yield _by_label(
            "dead_letters",
            "Events that can not be understood.",
            "reason",
            telemetry.dead_letters,
            REASONS,
        )
        yield _by_label(
            "not_scorable",
            "Items without a label, found by decoding.",
            "reason",
            telemetry.not_scorable,
        )
        for name, text in _COUNTERS.items():
            value = getattr(telemetry, name)
            yield CounterMetricFamily(f"processor_{name}", text, value=value)
        yield _histogram(
            "processor_feedback_delay_seconds",
            "From a prediction to its feedback, by event time.",
            telemetry.feedback_delay,
        )
        yield _histogram(
            "processor_end_to_end_seconds",
            "From an event's arrival on the log to its effect on the counts.",
            telemetry.end_to_end,
        )
        yield from self._health_gauges()
        yield InfoMetricFamily("processor_build", "The running build.", {"version": _version()})

    def _health_gauges(self) -> Iterator[Metric]:
        gauges: Gauges = self._health.gauges()
        for name, text in _GAUGES.items():
            value = getattr(gauges, name)
            if value is not None:
                yield GaugeMetricFamily(f"processor_{name}", text, value=value)
        items = GaugeMetricFamily(
            "processor_not_scorable_items",
            "Items without a label, found at the join.",
            labels=("reason",),
        )
        for reason, count in sorted(gauges.not_scorable_items.items()):
            items.add_metric((reason,), count)
        yield items
        readiness = self._health.ready()
        yield GaugeMetricFamily(
            "processor_bootstrap_complete",
            "1 once the archive has been read.",
            value=int(readiness.bootstrap.complete),
        )
        if readiness.lag is not None:
            yield GaugeMetricFamily(
                "processor_consumer_lag_records",
                "Records of the log not yet taken in.",
                value=readiness.lag,
            )


def _by_label(
    name: str, text: str, label: str, values: Mapping[str, int], known: Iterable[str] = ()
) -> CounterMetricFamily:
    """A counter by one label; those known ahead start at 0, so that their first count shows as a
    rate."""
    family = CounterMetricFamily(f"processor_{name}", text, labels=(label,))
    for value in dict.fromkeys((*known, *sorted(values))):
        family.add_metric((value,), values.get(value, 0))
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    bounds = [*(repr(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(histogram.buckets), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)


def _version() -> str:
    try:
        return version("feedback-metrics-processor")
    except PackageNotFoundError:
        return "unknown"
