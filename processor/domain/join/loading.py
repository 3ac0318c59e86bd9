"""Fold the records by which a savepoint comes onto the observations."""

from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.log.loaded import LoadedRequests, LoadedState
from processor.domain.timestamps import HOUR


def apply_loaded(
    fold: JoinFold, offset: int, timestamp: int, record: LoadedRequests | LoadedState
) -> Deltas:
    """Fold the record at ``offset``, appended at ``timestamp`` (ns). Returns the deltas by target
    partition. A record that is not the next one of the savepoint is ignored."""
    fold.advance(timestamp)
    state = fold.state
    if record.position != state.loaded + 1:
        return {}
    state.loaded = record.position
    if isinstance(record, LoadedState):
        _add_state(fold, record)
        return {}
    now, state.log_time = state.log_time, record.first_seen_hour * HOUR
    # A request in memory counts, even if it was counted as complete before.
    until, state.completed_until = state.completed_until, -1
    for batch in record.batches:
        fold.fold(offset, batch)
    state.log_time, state.completed_until = now, until
    oldest = _oldest(fold)
    if record.first_seen_hour < oldest:
        fold.evict(oldest)
    return fold.drain(offset)


def _oldest(fold: JoinFold) -> int:
    """The first log hour that was not to be dropped when this hour began: the next hour drops others."""
    if fold.horizon is None:
        return 0
    return (fold.state.log_time // HOUR * HOUR - fold.horizon) // HOUR


def _add_state(fold: JoinFold, record: LoadedState) -> None:
    state = fold.state
    if record.completed_hour >= _oldest(fold):
        for number in memoryview(record.ids).cast("Q"):
            state.completed_ids.add(number)
        state.completed_hour = max(state.completed_hour, record.completed_hour)
        state.completed_until = max(state.completed_until, record.completed_until)
    state.rows_differ += record.rows_differ
    state.ambiguous += record.ambiguous
    for reason, items in record.not_scorable.items():
        state.not_scorable[reason] = state.not_scorable.get(reason, 0) + items
