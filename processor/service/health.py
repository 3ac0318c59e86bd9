"""What the service says of itself: alive, ready, and what it holds."""

import asyncio
import time
from collections import Counter

from processor.backfill.bootstrap import Bootstrap
from processor.backfill.late_feedback import LateFeedbackLookup
from processor.backfill.outcome_writer import OutcomeWriter
from processor.backfill.request_logger import RequestLogger
from processor.embedded.memory_guard import BrokerMemoryGuard
from processor.publish.interfaces import BootstrapState, Gauges, OwnedPartitions, Readiness
from processor.service.watchdog import Watchdog
from processor.stream.worker import StreamWorker
from processor.telemetry import Telemetry


class ServiceHealth:
    """Answers from the moment that the site is up; the worker comes later."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.worker: StreamWorker | None = None
        self.last_error = "starting"
        """Why there is no worker yet."""
        self.failure = ""
        """Why the process is about to end."""
        self.bootstrap_complete = asyncio.Event()
        self.bootstrap: Bootstrap | None = None
        """Where it is read from Elasticsearch."""
        self.late_truth: LateFeedbackLookup | None = None
        self.outcomes: OutcomeWriter | None = None
        self.request_logger: RequestLogger | None = None
        self.lag: int | None = None
        self.source_error = ""
        """What keeps it from reading the source."""
        self.memory_guard: BrokerMemoryGuard | None = None
        """What the embedded broker holds."""
        self.watchdog: Watchdog | None = None
        self._telemetry = telemetry

    def alive(self) -> tuple[bool, str]:
        """Not alive once it has failed, or when it has come to a halt."""
        last_error = self.failure or (self.watchdog.last_error if self.watchdog else "")
        return not last_error, last_error or "ok"

    def ready(self) -> Readiness:
        """Ready once the table was recovered: from then on it takes part, whatever it holds."""
        worker = self.worker
        ready = worker is not None and worker.recovered.is_set() and not self.failure
        if ready:
            parts = (
                *(self.memory_guard, self.bootstrap, self.late_truth, self.outcomes),
                self.request_logger,
            )
            archive = [part.last_error for part in parts if part is not None]
            # They often have the same trouble.
            reason = "; ".join(filter(None, dict.fromkeys((self.source_error, *archive)))) or "ok"
        else:
            reason = self.failure or (self.last_error if worker is None else "joining the group")
        observations, deltas = worker.assigned if worker else ((), ())
        return Readiness(
            ready,
            reason,
            self._bootstrap_state(),
            OwnedPartitions(observations, deltas),
            self.lag,
        )

    def _bootstrap_state(self) -> BootstrapState:
        complete, read = self.bootstrap_complete.is_set(), self._telemetry.bootstrap_documents
        if self.bootstrap is None:
            return BootstrapState(complete, read)
        progress = self.bootstrap.progress
        left = progress.remaining_seconds
        return BootstrapState(
            complete,
            read,
            progress.total,
            round(progress.rate, 1),
            None if left is None else round(left, 1),
        )

    def _bootstrap_remaining(self) -> int:
        progress = self.bootstrap.progress if self.bootstrap else None
        return progress.remaining if progress else 0

    def gauges(self) -> Gauges:
        """Sums over the partitions that are up to date."""
        worker = self.worker
        if worker is None:
            return Gauges()
        states, tallies = worker.join_states(), worker.open_tallies()
        not_scorable: Counter[str] = Counter()
        for state in states:
            not_scorable.update(state.not_scorable)
        stale = [stage.flushed_at for stage in tallies if stage.dirty]
        times = [stage.tally.log_time for stage in tallies if stage.tally.log_time]
        return Gauges(
            rows_differ=sum(state.rows_differ for state in states),
            ambiguous=sum(state.ambiguous for state in states),
            not_scorable_items=+not_scorable,
            unmatched_feedbacks=sum(state.unmatched for state in states),
            outcomes_waiting=self.outcomes.waiting if self.outcomes else 0,
            bootstrap_remaining_documents=self._bootstrap_remaining(),
            waiting_requests=sum(state.waiting for state in states),
            held_deltas=sum(sum(stage.tally.held.values()) for stage in tallies),
            recovery_remaining_records=worker.remaining,
            recovery_seconds=worker.recovery_seconds,
            failing_partitions=worker.failing,
            stalled_seconds=self.watchdog.stalled if self.watchdog else 0.0,
            watermark_timestamp_seconds=min(times) / 1e9 if times else None,
            embedded_broker_bytes=self.memory_guard.used_bytes if self.memory_guard else None,
            embedded_broker_limit_bytes=self.memory_guard.max_bytes if self.memory_guard else None,
            checkpoint_age_seconds=max(0.0, time.time() - min(stale)) if stale else 0.0,
        )
