"""The join's short way, compiled: the same as `PythonFastPath`, on rows as they are on the log."""

import msgspec

from processor.domain.join.fast_path import Feedbacks, Predictions, Tables
from processor.domain.join.id_set import prefix
from processor.domain.join.native_delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.packed_table import FULL, MOST_BYTES
from processor.domain.join.request_store import RequestRef, RequestStore
from processor.domain.join.state import JoinState, Made, Said
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    read_feedbacks,
    read_predictions,
)
from processor.domain.native import native
from processor.domain.timestamps import HOUR
from processor.telemetry import DELAY_BOUNDS

_encode = msgspec.msgpack.Encoder().encode


class NativeFastPath:
    """See `FastPath`; ``deployment_of`` is by model."""

    def __init__(
        self,
        state: JoinState,
        store: RequestStore,
        standings: OutcomeResolver,
        contributions: NativeDeltaAccumulator,
        deployment_of: list[int],
    ) -> None:
        self._state = state
        self._standings = standings
        self._contributions = contributions
        self._prefixes: list[bytes] = []

        # None of these may hold this object: what is compiled can't tell the garbage collector of it,
        # and the state of a partition that is given away would stay for ever.
        def met(made: int, number: int) -> int:
            said = state.said[number - 1]
            answer = state.made[made].answer
            return contributions.number(standings.outcome(answer, said.truth, said.reward))

        self._way = native.FastPath(
            state,
            contributions.ledger,
            met,
            lambda *content: contributions.number(standings.outcome(*content)),
            lambda *content: store.made(Made._make((*content, False))),
            lambda *content: store.said(Said(*content)),
            deployment_of,
            DELAY_BOUNDS,
            MOST_BYTES,
            FULL,
        )

    def predict(self, rows: Predictions, tables: Tables) -> list[PredictionRow]:
        """See `FastPath`."""
        left, count = self._way.predict(_packed(rows), tables.models, tables.answers)
        self._state.waiting += count
        return read_predictions(left) if left else []

    def feed(
        self,
        rows: Feedbacks,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """See `FastPath`."""
        left, told = self._way.feed(_packed(rows), tables.models, tables.truths, judged, offset)
        self._state.waiting -= self._contributions.told(*told)
        return read_feedbacks(left) if left else []

    def settle(
        self, predictions: Predictions, feedbacks: Feedbacks, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """See `FastPath`."""
        state, prefixes = self._state, self._prefixes
        prefixes += [prefix(*pair) for pair in state.deployments[len(prefixes) :]]
        made, said, told, latest, skipped = self._way.settle(
            _packed(predictions), _packed(feedbacks), *tables, prefixes
        )
        if latest is not None:
            state.completed_hour = state.log_time // HOUR
            state.completed_until = max(state.completed_until, latest)
        self._contributions.told(*told)
        self._contributions.telemetry.catch_up_skipped += skipped
        return (
            read_predictions(made) if made else [],
            read_feedbacks(said) if said else [],
        )


def _packed(rows: Predictions | Feedbacks) -> bytes:
    return bytes(rows) if isinstance(rows, msgspec.Raw) else _encode(rows)
