"""The health of a worker: whether it is alive and ready, and its gauges."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from processor.backfill.bootstrap_progress import BootstrapProgress
from processor.publish.interfaces import BootstrapState, Gauges, OwnedPartitions, Readiness
from processor.service.watchdog import Watchdog
from processor.stream.worker import StreamWorker
from processor.telemetry import Telemetry


class Part(Protocol):
    """A part of the service that goes on after errors and reports them here."""

    @property
    def last_error(self) -> str:
        """The reason why the part cannot do its work at the moment; empty if it can."""
        ...


class ServiceHealth:
    """The `processor.publish.interfaces.Health` of this process.

    It answers from the moment that the metrics port is open, which is before the worker starts. The
    parts of the service add themselves as they start.
    """

    def __init__(self, telemetry: Telemetry, watchdog: Watchdog) -> None:
        self.worker: StreamWorker | None = None
        self.start_error = "starting"
        """Why there is no worker yet."""
        self.failure = ""
        """Why the process is about to end."""
        self.lag: int | None = None
        """Records of the source that are not on the log yet; None while that is unknown."""
        self.bootstrap_complete = asyncio.Event()
        self.bootstrap = BootstrapProgress()
        self._telemetry = telemetry
        self._watchdog = watchdog
        self._parts: list[Part] = []
        self._gauges: dict[str, Callable[[], int | None]] = {}

    def add(self, part: Part, **gauges: Callable[[], int | None]) -> None:
        """Report the ``last_error`` of a part on /ready, and its gauges, by fields of `Gauges`."""
        self._parts.append(part)
        self.add_gauges(**gauges)

    def add_gauges(self, **gauges: Callable[[], int | None]) -> None:
        """Add gauges, by fields of `Gauges`."""
        self._gauges |= gauges

    def alive(self) -> tuple[bool, str]:
        """False once the process has failed or has made no progress for too long, and the reason."""
        error = self.failure or self._watchdog.last_error
        return not error, error or "ok"

    def ready(self) -> Readiness:
        """Ready once the table was recovered: from then on this worker takes part in its group, with
        however many partitions. Errors of the parts are reported, and do not make it unready."""
        worker = self.worker
        ready = worker is not None and worker.recovered.is_set() and not self.failure
        if ready:
            # Parts that need the same server often have the same error.
            errors = dict.fromkeys(part.last_error for part in self._parts)
            reason = "; ".join(filter(None, errors)) or "ok"
        else:
            reason = self.failure or (self.start_error if worker is None else "joining the group")
        observations, deltas = worker.assigned if worker else ((), ())
        bootstrap, left = self.bootstrap, self.bootstrap.remaining_seconds
        return Readiness(
            ready,
            reason,
            BootstrapState(
                self.bootstrap_complete.is_set(),
                self._telemetry.bootstrap_documents,
                bootstrap.total,
                round(bootstrap.rate, 1),
                None if left is None else round(left, 1),
            ),
            OwnedPartitions(observations, deltas),
            self.lag,
        )

    def gauges(self) -> Gauges:
        """The gauges of all parts; counts are sums over the partitions that are up to date."""
        added: dict[str, Any] = {name: value() for name, value in self._gauges.items()}
        return replace(
            Gauges() if self.worker is None else _worker_gauges(self.worker),
            bootstrap_complete=int(self.bootstrap_complete.is_set()),
            bootstrap_remaining_documents=self.bootstrap.remaining,
            consumer_lag_records=self.lag,
            stalled_seconds=self._watchdog.stalled,
            **added,
        )


def _worker_gauges(worker: StreamWorker) -> Gauges:
    states, tallies = worker.join_states(), worker.open_tallies()
    not_scorable: Counter[str] = Counter()
    for state in states:
        not_scorable.update(state.not_scorable)
    flushed = [stage.flushed_at for stage in tallies if stage.dirty]
    times = [stage.tally.log_time for stage in tallies if stage.tally.log_time]
    return Gauges(
        rows_differ=sum(state.rows_differ for state in states),
        ambiguous=sum(state.ambiguous for state in states),
        not_scorable_items=+not_scorable,
        unmatched_feedbacks=sum(state.unmatched for state in states),
        waiting_requests=sum(state.waiting for state in states),
        held_deltas=sum(sum(stage.tally.held.values()) for stage in tallies),
        recovery_remaining_records=worker.remaining,
        recovery_seconds=worker.recovery_seconds,
        failing_partitions=worker.failing,
        watermark_timestamp_seconds=min(times) / 1e9 if times else None,
        checkpoint_age_seconds=max(0.0, time.time() - min(flushed)) if flushed else 0.0,
    )
