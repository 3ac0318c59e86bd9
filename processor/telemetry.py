"""Counters and histograms of the processor's own work, as plain numbers.

The folders that count write them here; `processor.publish.collector` publishes them. The text in
``Annotated`` is the HELP text of the metric, and stands nowhere else.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, get_type_hints


@dataclass(slots=True)
class Histogram:
    """Counts of observed times, one per upper bound (seconds, inclusive) and one for all above.

    The sum is kept in integer nanoseconds, so that it does not depend on the order of the values.
    """

    bounds: tuple[float, ...]
    buckets: list[int] = field(default_factory=list)
    total_ns: int = 0

    def __post_init__(self) -> None:
        self.buckets = self.buckets or [0] * (len(self.bounds) + 1)

    @property
    def total(self) -> float:
        """The sum of all values in seconds."""
        return self.total_ns / 1e9

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.observe_ns(round(seconds * 1e9))

    def observe_ns(self, nanoseconds: int) -> None:
        """Count one value in nanoseconds."""
        self.buckets[bisect_left(self.bounds, nanoseconds / 1e9)] += 1
        self.total_ns += nanoseconds

    def add(self, buckets: Sequence[int], total_ns: int) -> None:
        """Add values that were counted elsewhere: ``buckets`` of the same bounds, and their sum in
        nanoseconds."""
        self.buckets = [one + more for one, more in zip(self.buckets, buckets, strict=True)]
        self.total_ns += total_ns


_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
#: Seconds from a prediction to its feedback: feedback arrives minutes to weeks later.
DELAY_BOUNDS = (
    1.0, 10.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY,
)  # fmt: skip
#: Seconds from an event's arrival on the log to the counts.
END_TO_END_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Seconds from the arrival of a request at the ingress port to its response.
INGRESS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


#: The reasons for which a request at the ingress port is answered with an error, whatever its events
#: are; the other reasons are those of dead letters.
REFUSALS = (
    "bad_request", "bad_body", "bad_encoding", "says_nothing", "unauthorized", "not_found",
    "method_not_allowed", "too_slow", "too_large", "too_many", "overloaded", "unavailable",
    "shutting_down", "internal",
)  # fmt: skip


@dataclass(slots=True)
class RecentDeadLetter:
    """A dead letter as the live page shows it.

    ``time`` is the append time of its record, in nanoseconds since 1970. ``topic``, ``partition`` and
    ``offset`` say where the event was read. ``id`` is ``partition/offset`` of its record on the topic
    of dead letters, None until the broker has acknowledged that record.
    """

    time: int
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    id: str | None = None


@dataclass(slots=True)
class Telemetry:
    """Counters of this process, from 0 at its start; they only go up.

    A value that can also go down is a gauge: its owner computes it when it is asked
    (`processor.publish.interfaces.Gauges`).
    """

    events: Annotated[
        Counter[str],
        "Events read, by type; unreadable events are kept as dead letters, and events of type "
        "other, failed or explanation change no metric of a model.",
    ] = field(default_factory=Counter)
    dead_letters: Annotated[
        Counter[str], "Events that could not be decoded and are kept as dead letters, by reason."
    ] = field(default_factory=Counter)
    recent_dead_letters: deque[RecentDeadLetter] = field(default_factory=lambda: deque(maxlen=20))
    """The newest dead letters of this process, the newest last."""
    interpreted_events: Annotated[
        Counter[str],
        "Events decoded by Python and not by the native extension, by reason: an envelope or a "
        "body of a form that the extension cannot read, or a kind of message for which it has no "
        "template.",
    ] = field(default_factory=Counter)
    not_scorable: Annotated[
        Counter[str],
        "Items that cannot be judged, by the reason found when their event was decoded.",
    ] = field(default_factory=Counter)
    joined: Annotated[int, "Predictions that received their first feedback."] = 0
    duplicates: Annotated[int, "Predictions and feedback that arrived again and were ignored."] = 0
    superseded: Annotated[
        int,
        "Predictions and feedback that a newer version replaced, or that arrived after a "
        "newer version.",
    ] = 0
    corrections: Annotated[int, "Outcomes that changed after they were counted."] = 0
    catch_up_skipped: Annotated[
        int,
        "Predictions and feedback skipped because their request had been counted and had "
        "left memory.",
    ] = 0
    source_lost: Annotated[
        int, "Records of the source topics that Kafka's retention deleted before they were read."
    ] = 0
    logged_documents: Annotated[
        int, "Documents written to Elasticsearch in place of Seldon's request logger."
    ] = 0
    logged_refused: Annotated[
        int,
        "Documents that Elasticsearch rejected when they were written in place of Seldon's "
        "request logger.",
    ] = 0
    lookups: Annotated[
        int, "Requests with feedback and without a prediction that were looked up in the archive."
    ] = 0
    recalled: Annotated[
        int, "Predictions restored from the archive for feedback that found none in memory."
    ] = 0
    outcomes_written: Annotated[int, "Outcomes written to archive documents."] = 0
    outcomes_missing: Annotated[
        int,
        "Judged requests whose outcome could not be written, mostly for want of a document in "
        "the archive.",
    ] = 0
    late: Annotated[
        int, "Feedback that was not counted: its prediction had left memory or never arrived."
    ] = 0
    evicted_requests: Annotated[
        int, "Requests evicted before the horizon, because of PROCESSOR_MAX_MEMORY."
    ] = 0
    says_nothing: Annotated[int, "Feedback with neither a truth nor a reward."] = 0
    future_times: Annotated[
        int, "Events whose time is more than 5 minutes ahead of their record's append time."
    ] = 0
    custom_statistic_errors: Annotated[
        Counter[str],
        "Judged items on which a custom statistic failed, by statistic.",
    ] = field(default_factory=Counter)
    snapshot_failures: Annotated[
        int, "Snapshots of the join that could not be written; the next start takes longer."
    ] = 0
    snapshot_copy_failures: Annotated[
        int,
        "Failures to write, list or read copies of snapshots in PROCESSOR_SNAPSHOTS; taking over "
        "a partition then takes longer.",
    ] = 0
    bootstrap_documents: Annotated[int, "Documents read from the archive."] = 0
    feedback_delay: Annotated[
        Histogram, "Seconds from a prediction to its feedback, by event time."
    ] = field(default_factory=lambda: Histogram(DELAY_BOUNDS))
    end_to_end: Annotated[
        Histogram, "Seconds from an event's arrival on the log to its effect on the counts."
    ] = field(default_factory=lambda: Histogram(END_TO_END_BOUNDS))
    ingress_requests: Annotated[
        Counter[tuple[str, str]],
        "Requests at the ingress port, by route (other: no such route) and HTTP status.",
    ] = field(default_factory=Counter)
    ingress_refused: Annotated[
        Counter[str],
        "Requests at the ingress port that were answered with an error, by the reason in the response.",
    ] = field(default_factory=Counter)
    ingress: Annotated[
        Histogram, "Seconds from the arrival of a request at the ingress port to its response."
    ] = field(default_factory=lambda: Histogram(INGRESS_BOUNDS))


def help_texts(kind: type[object]) -> dict[str, str]:
    """The HELP text of each field of a class that is annotated with one, in the order of the fields.

    >>> help_texts(Telemetry)["joined"]
    'Predictions that received their first feedback.'
    """
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")
    }


@cache
def product_version() -> str:
    """Return the version of this product; "unknown" if it is not installed."""
    try:
        return version("feedback-metrics-processor")
    except PackageNotFoundError:
        return "unknown"
