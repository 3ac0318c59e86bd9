"""The state of a stream worker, for its health."""

import time
from collections import Counter

from processor.publish.interfaces import Gauges, OwnedPartitions
from processor.stream.worker import StreamWorker


class StreamState:
    """A `processor.service.health.WorkerState` of a worker on Kafka."""

    def __init__(self, worker: StreamWorker) -> None:
        self._worker = worker

    @property
    def is_ready(self) -> bool:
        """Whether the table was recovered once: from then on the worker takes part in its group."""
        return self._worker.recovered.is_set()

    @property
    def owned(self) -> OwnedPartitions:
        """The assigned partitions."""
        return OwnedPartitions(*self._worker.assigned)

    def gauges(self) -> Gauges:
        """The gauges of the worker; counts are sums over the partitions that are up to date."""
        return _gauges(self._worker)

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        """See `StreamWorker.known`."""
        return self._worker.known(namespace, deployment, request_id)


def _gauges(worker: StreamWorker) -> Gauges:
    states, tallies = worker.join_states(), worker.open_tallies()
    not_scorable: Counter[str] = Counter()
    for state in states:
        not_scorable.update(state.not_scorable)
    flushed = [stage.flushed_at for stage in tallies if stage.dirty]
    times = [stage.tally.log_time for stage in tallies if stage.tally.log_time]
    waiting, unmatched = sum(one.waiting for one in states), sum(one.unmatched for one in states)
    return Gauges(
        rows_differ=sum(state.rows_differ for state in states),
        ambiguous=sum(state.ambiguous for state in states),
        not_scorable_items=+not_scorable,
        unmatched_feedbacks=unmatched,
        waiting_requests=waiting,
        matched_requests=sum(len(one.requests) for one in states) - waiting - unmatched,
        held_deltas=sum(sum(stage.tally.held.values()) for stage in tallies),
        recovery_remaining_records=worker.remaining,
        recovery_seconds=worker.recovery_seconds,
        failing_partitions=worker.failing,
        watermark_timestamp_seconds=min(times) / 1e9 if times else None,
        checkpoint_age_seconds=max(0.0, time.time() - min(flushed)) if flushed else 0.0,
    )
