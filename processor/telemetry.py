"""What the processor says of its own work: plain numbers, read by whoever publishes them."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Histogram:
    """Counts of observed values by upper bound (inclusive), the last one for all above."""

    bounds: tuple[float, ...]
    buckets: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.buckets = self.buckets or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, buckets: Sequence[int], total: float) -> None:
        """Count values that were put into buckets of the same bounds, and their sum."""
        self.buckets = [one + more for one, more in zip(self.buckets, buckets, strict=True)]
        self.total += total


_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
#: From a minute to a month: truth comes minutes to weeks later.
DELAY_BOUNDS = (
    1.0, 10.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY,
)  # fmt: skip
END_TO_END_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@dataclass(slots=True)
class RecentDeadLetter:
    """A dead letter as a page shows it: ``time`` is its record's, in nanoseconds since 1970; ``id`` is
    ``partition/offset`` of its record among the dead letters, None until that is acknowledged."""

    time: int
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    id: str | None = None


@dataclass(slots=True)
class Telemetry:
    """Counters only go up; what can go down is computed by its owner when it is asked for."""

    events: Counter[str] = field(default_factory=Counter)
    """Events read, by kind: request, response, feedback, unreadable."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    recent_dead_letters: deque[RecentDeadLetter] = field(default_factory=lambda: deque(maxlen=20))
    """The newest dead letters that this process has read."""
    not_scorable: Counter[str] = field(default_factory=Counter)
    """Items without a label, by reason, found by decoding."""
    says_nothing: int = 0
    future_times: int = 0
    joined: int = 0
    """Predictions that got their first feedback."""
    duplicates: int = 0
    superseded: int = 0
    corrections: int = 0
    late: int = 0
    evicted_requests: int = 0
    """Requests that have left memory before the horizon, at the cap."""
    bootstrap_documents: int = 0
    catch_up_skipped: int = 0
    """Observations of documents whose requests were counted and have left memory."""
    source_lost: int = 0
    """Records that a retention removed from the source before they were read."""
    logged_documents: int = 0
    """Documents that the request logger's role wrote."""
    logged_refused: int = 0
    """Documents that Elasticsearch refused for what they hold."""
    lookups: int = 0
    """Requests of feedback without a prediction that the archive was asked for."""
    recalled: int = 0
    """Predictions that it had and that are on the log now."""
    outcomes_written: int = 0
    """Documents that were told what became of their item."""
    outcomes_missing: int = 0
    """Judged requests without a document to tell."""
    snapshot_failures: int = 0
    """Snapshots of the join that could not be written."""
    feedback_delay: Histogram = field(default_factory=lambda: Histogram(DELAY_BOUNDS))
    end_to_end: Histogram = field(default_factory=lambda: Histogram(END_TO_END_BOUNDS))
