"""What publishing needs from the rest of the service, as protocols."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts


class CountsSource(Protocol):
    """The counts of all models that this worker owns."""

    def windows(self, now: float) -> Mapping[tuple[str, str], Mapping[ModelKey, Counts]]:
        """Counts by (window name, basis) and model at ``now``, in seconds since 1970.

        These are the live objects: whoever asks only reads them, and not in another thread.
        """
        ...

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        """Counts by model and number of the bucket, of ``TIERS[tier]`` on one basis; live too."""
        ...


class BootstrapState(msgspec.Struct, frozen=True):
    """How far reading the archive is: ``documents`` were read by this worker since its start. While it
    reads: about how many there are in ``total``, documents a second, and the time that is left."""

    complete: bool
    documents: int
    total: int | None = None
    rate: float = 0.0
    seconds_left: float | None = None


class OwnedPartitions(msgspec.Struct, frozen=True):
    """The partitions that this worker holds."""

    observations: tuple[int, ...]
    deltas: tuple[int, ...]


class Readiness(msgspec.Struct, frozen=True):
    """The body of ``GET /ready``; ``lag`` is in records, None while it is not known."""

    ready: bool
    reason: str
    bootstrap: BootstrapState
    partitions: OwnedPartitions
    lag: int | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the processor holds at this moment, each published as ``processor_<field>``; None is not
    published."""

    rows_differ: int = 0
    """Outcomes whose truth has another number of rows than the prediction."""
    ambiguous: int = 0
    """Outcomes where right and wrong can't be told apart."""
    not_scorable_items: Mapping[str, int] = field(default_factory=dict)
    """Items without a label, by reason, found at the join."""
    unmatched_feedbacks: int = 0
    """Requests with feedback and no prediction."""
    waiting_requests: int = 0
    """Requests with a prediction and no feedback."""
    outcomes_waiting: int = 0
    """Judged requests whose documents are to be told."""
    bootstrap_remaining_documents: int = 0
    """Documents that this worker has still to read from the archive, about."""
    held_deltas: int = 0
    """Deltas kept back since one before them is missing."""
    recovery_remaining_records: int = 0
    """Records to read before the counts are those of the log."""
    recovery_seconds: float = 0.0
    """How long the slowest partition took to come up to date, or takes by now."""
    failing_partitions: int = 0
    """Partitions with a record that fails to fold, again and again."""
    stalled_seconds: float = 0.0
    """Time without a step forward, though there is work and the broker answers."""
    watermark_timestamp_seconds: float | None = None
    """Log time that the counts include, in seconds since 1970."""
    checkpoint_age_seconds: float | None = None
    """Since the oldest of the newest checkpoints was written."""
    embedded_broker_bytes: int | None = None
    """What the embedded broker's process holds in memory."""
    embedded_broker_limit_bytes: int | None = None
    """From when on new events are refused."""


class Health(Protocol):
    """What the service says of its own state."""

    def alive(self) -> tuple[bool, str]:
        """Whether it makes progress, and what is wrong if not."""
        ...

    def ready(self) -> Readiness:
        """Whether it can be sent work."""
        ...

    def gauges(self) -> Gauges:
        """What it holds."""
        ...
