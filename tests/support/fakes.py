"""The counts and the health of a worker, as plain data that a test can set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import BASES, MICRO, Cell, Counts
from processor.domain.tally.cohorts import Cohorts
from processor.domain.tally.recent import RecentCounts
from processor.domain.tally.windows import TIERS
from processor.publish.interfaces import BootstrapState, Gauges, OwnedPartitions, Problem, Readiness

#: 2026-11-20T09:03:59.5Z
NOW = 1795165439.5

EXPERIMENT = ModelKey("seldon", "sklearn", "default", "classifier")
UNJUDGED = ModelKey("shop", "churn", "default", "xgb")
WINDOWS = ("5m", "1h", "24h", "7d", "all")


def experiment_counts() -> Counts:
    """The counts of the experiment that the demo plays: 100 predictions, 63 judged, 46 correct."""
    cells = {
        Cell("t:0", "t:0"): 13,
        Cell("t:0", "t:1"): 1,
        Cell("t:0", "t:2"): 1,
        Cell("t:1", "t:1"): 14,
        Cell("t:1", "t:2"): 8,
        Cell("t:2", "t:0"): 3,
        Cell("t:2", "t:1"): 4,
        Cell("t:2", "t:2"): 19,
    }
    return Counts(100, 63, 46, 0, 63, 46 * MICRO, 17, cells)


def many_classes(labels: int) -> Counts:
    """Counts of a model with ``labels`` labels; "000" is the most frequent, the last the least."""
    cells = {Cell(f"{i:03}", f"{i:03}"): 1000 - i for i in range(labels)}
    cells[Cell(f"{labels - 1:03}", "000")] = 2
    total = sum(cells.values())
    return Counts(total, total, total - 2, cells=cells)


@dataclass
class FakeCounts:
    """A `CountsSource` with the same models in every window and bucket."""

    models: dict[ModelKey, Counts] = field(default_factory=dict)
    names: tuple[str, ...] = WINDOWS
    asked_at: float | None = None
    late: dict[ModelKey, Cohorts] = field(default_factory=dict)
    """The counts of delays."""

    def advance(self, now: float) -> Iterator[None]:
        return iter(())

    def windows(self, now: float) -> Mapping[tuple[str, str], Mapping[ModelKey, Counts]]:
        self.asked_at = now
        return {(window, by): self.models for window in self.names for by in BASES}

    def recent(self, now: float) -> Iterator[tuple[ModelKey, RecentCounts]]:
        for key, counts in self.models.items():
            yield key, RecentCounts(dict.fromkeys(("24h", "7d", "30d"), (counts, counts)), counts)

    def buckets(self, tier: int, by: str) -> Mapping[ModelKey, Mapping[int, Counts]]:
        # All counts are in the bucket of this moment.
        size = TIERS[tier].size
        return {key: {int(NOW) // size: counts} for key, counts in self.models.items()}

    def cohorts(self) -> Mapping[ModelKey, Cohorts]:
        return self.late


@dataclass
class FakeHealth:
    """A `Health` that gives what its fields say."""

    is_alive: bool = True
    is_ready: bool = True
    bootstrapped: bool = True
    lag: int | None = 7
    held: Gauges = field(default_factory=Gauges)
    deltas: tuple[int, ...] = (1,)
    complete: bool = True
    open_problems: tuple[Problem, ...] = ()

    def problems(self) -> tuple[Problem, ...]:
        return self.open_problems

    def alive(self) -> tuple[bool, str]:
        return self.is_alive, "" if self.is_alive else "no progress for 60 s"

    def ready(self) -> Readiness:
        return Readiness(
            self.is_ready,
            "" if self.is_ready else "the broker does not answer",
            BootstrapState(self.bootstrapped, 1200),
            OwnedPartitions((0, 3), self.deltas),
            self.lag,
            self.complete,
            self.open_problems,
        )

    def gauges(self) -> Gauges:
        return replace(
            self.held, bootstrap_complete=int(self.bootstrapped), consumer_lag_records=self.lag
        )
