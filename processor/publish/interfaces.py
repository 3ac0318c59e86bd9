"""The interfaces between publishing and the rest of the service: counts, health and gauges."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.statistics.counts import Counts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.recent import RecentCounts
from processor.publish.workers.address import WorkerAddress
from processor.settings import Settings
from processor.telemetry import Telemetry

#: Counts of models by (window name, basis).
CountsByWindow = Mapping[tuple[str, str], Mapping[ModelKey, Counts]]


class CountsSource(Protocol):
    """Gives the counts of all models that a worker owns.

    Its methods return the live objects of the stream: a caller only reads them, and only on the
    thread of the event loop.
    """

    def advance(self, now: float) -> Iterator[None]:
        """Move the windows of the models to ``now``, one after the other. `windows` does this too, but
        in one piece."""
        ...

    def windows(self, now: float) -> CountsByWindow:
        """Counts by (window name, basis) and model at ``now``, in seconds since 1970."""
        ...

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """Every model with its counts of recent windows at ``now``, in seconds since 1970."""
        ...

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """Counts by model and bucket number, of the tier ``TIERS[tier]`` on the basis ``by``."""
        ...

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        """The counts of delays by model, for the estimates while labels are late."""
        ...


class NoCounts:
    """A `CountsSource` without models: the counts of a worker that has not started yet."""

    def advance(self, now: float) -> Iterator[None]:
        """See `CountsSource`."""
        return iter(())

    def windows(self, now: float) -> CountsByWindow:
        """See `CountsSource`."""
        return {}

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        """See `CountsSource`."""
        return iter(())

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """See `CountsSource`."""
        return {}

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        """See `CountsSource`."""
        return {}


class BootstrapState(msgspec.Struct, frozen=True):
    """Progress of reading the archive.

    ``documents`` were read by this worker since its start. While it reads, ``total`` is the
    approximate number of documents, ``rate`` is documents a second, and ``seconds_left`` is the
    estimated time to the end; ``total`` and ``seconds_left`` are None while they are unknown.
    """

    complete: bool
    documents: int
    total: int | None = None
    rate: float = 0.0
    seconds_left: float | None = None


class OwnedPartitions(msgspec.Struct, frozen=True):
    """Numbers of the partitions that this worker owns, of each internal topic."""

    observations: tuple[int, ...]
    deltas: tuple[int, ...]


class Problem(msgspec.Struct, frozen=True):
    """Something outside of this process that is not as it should be.

    ``cause`` is a name for scripts, ``what`` a sentence. ``since`` is RFC 3339. ``unready`` is whether
    the worker is not ready because of it, now or once it has lasted for some time.
    """

    cause: str
    what: str
    since: str
    remedy: str
    unready: bool


class Readiness(msgspec.Struct, frozen=True):
    """The body of ``GET /ready``. ``lag`` is in records, None while it is unknown. ``complete`` is
    whether all that was stored when this worker started is counted."""

    ready: bool
    reason: str
    bootstrap: BootstrapState
    partitions: OwnedPartitions
    lag: int | None
    complete: bool = True
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauges:
    """The state of a worker at one moment.

    Each field is published as ``processor_<field>``, with the text in ``Annotated`` as its HELP text.
    A field that is None is not published.
    """

    rows_differ: Annotated[
        int, "Outcomes whose truth and prediction have different numbers of rows."
    ] = 0
    ambiguous: Annotated[
        int, "Outcomes whose reward cannot be assigned to one row or to one predictor."
    ] = 0
    not_scorable_items: Annotated[
        Mapping[str, int],
        "Items that cannot be judged, by the reason found when prediction and truth were joined.",
    ] = field(default_factory=dict)
    unmatched_feedbacks: Annotated[
        int, "Requests in memory with feedback and without a prediction."
    ] = 0
    waiting_requests: Annotated[
        int, "Requests in memory with a prediction and without feedback."
    ] = 0
    matched_requests: Annotated[int, "Requests in memory with both a prediction and feedback."] = 0
    outcomes_waiting: Annotated[
        int, "Judged requests whose outcome is not yet written to the archive."
    ] = 0
    ready: Annotated[int, "1 while GET /ready answers 200, else 0."] = 0
    complete: Annotated[
        int,
        "1 once all that was stored when this worker started, or took over a partition, is counted; "
        "0 before.",
    ] = 0
    broker_up: Annotated[
        int | None, "1 if Kafka answered when it was last asked, 0 if not; absent when embedded."
    ] = None
    source_topics_missing: Annotated[
        int | None, "Entries of PROCESSOR_TOPICS for which the broker has no topic."
    ] = None
    source_silent_seconds: Annotated[
        float | None,
        "Seconds since the time of the newest record read from a source topic, or since the last "
        "event over HTTP; a restart does not reset it; absent while this worker reads no "
        "partition of a source topic.",
    ] = None
    disk_free_bytes: Annotated[
        int | None, "Bytes free for the files of this worker, on the fullest of its disks."
    ] = None
    disk_full: Annotated[
        int | None, "1 while this worker cannot write files to its data folder, else 0."
    ] = None
    archive_up: Annotated[
        int | None,
        "1 if Elasticsearch answered as it should when it was last asked, 0 if it is away or "
        "refuses; absent without Elasticsearch.",
    ] = None
    snapshot_store_up: Annotated[
        int | None,
        "1 if the store of PROCESSOR_SNAPSHOTS answered as it should when it was last used, else 0; "
        "absent without one.",
    ] = None
    archive_refused: Annotated[
        Mapping[str, int],
        "1 for the reason for which Elasticsearch refuses requests, although it answers: "
        "credentials, rights, no_index, read_only or another.",
    ] = field(default_factory=dict)
    models_file_refused: Annotated[
        int, "1 while the models file has an error and its last valid content is in use, else 0."
    ] = 0
    bootstrap_complete: Annotated[int, "1 once the archive has been read, 0 before."] = 0
    bootstrap_remaining_documents: Annotated[
        int, "Approximate number of documents still to be read from the archive."
    ] = 0
    consumer_lag_records: Annotated[
        int | None, "Records of the source topics that have not been read yet."
    ] = None
    savepoint_loaded_timestamp_seconds: Annotated[
        float,
        "Unix time at which the savepoint that this app began with was loaded; 0 without a "
        "savepoint.",
    ] = 0.0
    savepoint_taken_timestamp_seconds: Annotated[
        float,
        "Unix time at which the savepoint that this app began with was taken; 0 without a "
        "savepoint.",
    ] = 0.0
    savepoint_bytes: Annotated[
        int, "Size in bytes of the savepoint that this app began with; 0 without a savepoint."
    ] = 0
    savepoint_requests: Annotated[
        int, "Requests in the savepoint that this app began with; 0 without a savepoint."
    ] = 0
    held_deltas: Annotated[
        int, "Changes of counts (deltas) held back because the change before them is missing."
    ] = 0
    recovery_remaining_records: Annotated[
        int, "Records of the log to read before the counts are up to date."
    ] = 0
    recovery_seconds: Annotated[
        float, "Seconds that the slowest partition took to come up to date, or has taken so far."
    ] = 0.0
    failing_partitions: Annotated[
        int, "Partitions that make no progress because one of their records fails at every attempt."
    ] = 0
    stalled_seconds: Annotated[
        float, "Seconds without progress although there is work and the broker answers."
    ] = 0.0
    watermark_timestamp_seconds: Annotated[
        float | None, "Append time up to which the counts include the log, in seconds since 1970."
    ] = None
    checkpoint_age_seconds: Annotated[
        float | None,
        "Seconds since the last checkpoint of a partition; the longest of all partitions.",
    ] = None
    ingress_in_flight: Annotated[
        int, "Requests at the ingress port whose bodies are being read or stored."
    ] = 0
    workers: Annotated[
        int, "Workers of the app: members of its consumer group, this one included."
    ] = 1
    silent_workers: Annotated[
        int,
        "Other workers that did not answer when this one asked for their models within the last "
        "minute; workers ask each other only while somebody reads the page or /api.",
    ] = 0
    archive_bytes: Annotated[
        int | None, "Size of the embedded archive's files on the disk, in bytes."
    ] = None
    native_templates: Annotated[
        int | None,
        "Templates by which the native extension decodes messages and their rows; absent without "
        "the extension.",
    ] = None
    native_plans: Annotated[
        int | None,
        "Plans by which the native extension judges predictions, of all partitions; absent "
        "without the extension.",
    ] = None


class Health(Protocol):
    """Gives the state of a worker."""

    def alive(self) -> tuple[bool, str]:
        """Whether the worker makes progress, and the reason."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """Return the open problems."""
        ...

    def ready(self) -> Readiness:
        """Whether the worker can be sent work, and the reason."""
        ...

    def gauges(self) -> Gauges:
        """The gauges, as of now."""
        ...


class Group(Protocol):
    """Gives the workers that share the app, and what this one has of it."""

    def members(self) -> Mapping[str, Sequence[int]]:
        """The partitions of the deltas of each worker, by the URL that it announces; as of the last
        assignment, and empty before the first."""
        ...

    def counted_offsets(self) -> Mapping[int, int]:
        """The next offset of each partition of the deltas whose counts are up to date here."""
        ...


class NoGroup:
    """The `Group` of a worker that shares its app with no other."""

    def members(self) -> Mapping[str, Sequence[int]]:
        """See `Group`."""
        return {}

    def counted_offsets(self) -> Mapping[int, int]:
        """See `Group`."""
        return {}


@dataclass
class WorkerView:
    """Everything that the metrics port shows of one worker.

    ``counts_source`` and ``ingress_url`` are replaced once the worker has started. ``clock`` gives
    seconds since 1970.
    """

    counts_source: CountsSource
    health: Health
    telemetry: Telemetry
    settings: Settings
    clock: Callable[[], float] = time.time
    ingress_url: str = ""
    """Where events come in over HTTP; empty until that port is open."""
    rules: ModelRules = field(default_factory=ModelRules)
    """The models file as it is now."""
    group: Group = field(default_factory=NoGroup)
    """The workers of the app; replaced once the worker has started."""
    address: WorkerAddress | None = None
    """Where this worker answers; None until the metrics port is open."""
