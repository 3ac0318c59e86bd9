"""The join's short way, compiled: the same as `PythonFastPath`, on rows as they are on the log."""

import msgspec

from processor.domain.join.fast_path import Tables
from processor.domain.join.id_set import prefix
from processor.domain.join.native_delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.packed_table import MAX_BUCKET_BYTES, ROWS_PER_BUCKET
from processor.domain.join.request_store import RequestRef, RequestStore
from processor.domain.join.state import FeedbackContent, JoinState, PredictionContent
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    decode_feedbacks,
    decode_predictions,
)
from processor.domain.native import native
from processor.domain.timestamps import HOUR
from processor.telemetry import DELAY_BOUNDS


class NativeFastPath:
    """See `FastPath`; ``deployment_of`` is by model."""

    def __init__(
        self,
        state: JoinState,
        store: RequestStore,
        resolver: OutcomeResolver,
        accumulator: NativeDeltaAccumulator,
        deployment_of: list[int],
    ) -> None:
        self._state = state
        self._resolver = resolver
        self._accumulator = accumulator
        self._prefixes: list[bytes] = []

        # None of these may hold this object: what is compiled can't tell the garbage collector of it,
        # and the state of a partition that is given away would stay for ever.
        def outcome_of_pair(prediction_id: int, number: int) -> int:
            feedback_id = state.feedback_contents[number - 1]
            answer = state.prediction_contents[prediction_id].answer
            return accumulator.number(
                resolver.outcome(answer, feedback_id.truth, feedback_id.reward)
            )

        self._way = native.FastPath(
            state,
            accumulator.native,
            outcome_of_pair,
            lambda *content: accumulator.number(resolver.outcome(*content)),
            lambda *content: store.prediction_id(PredictionContent._make((*content, False))),
            lambda *content: store.feedback_id(FeedbackContent(*content)),
            deployment_of,
            DELAY_BOUNDS,
            MAX_BUCKET_BYTES,
            ROWS_PER_BUCKET,
        )

    def apply_predictions(self, rows: msgspec.Raw, tables: Tables) -> list[PredictionRow]:
        """See `FastPath`."""
        left, count = self._way.apply_predictions(bytes(rows), tables.models, tables.answers)
        self._state.waiting += count
        return decode_predictions(left) if left else []

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """See `FastPath`."""
        left, summary = self._way.apply_feedback(
            bytes(rows), tables.models, tables.truths, judged, offset
        )
        self._state.waiting -= self._accumulator.count_joined(*summary)
        return decode_feedbacks(left) if left else []

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """See `FastPath`."""
        state, prefixes = self._state, self._prefixes
        prefixes += [prefix(*pair) for pair in state.deployments[len(prefixes) :]]
        predictions_left, feedbacks_left, summary, latest, skipped = self._way.apply_completed(
            bytes(predictions), bytes(feedbacks), *tables, prefixes
        )
        if latest is not None:
            state.completed_hour = state.log_time // HOUR
            state.completed_until = max(state.completed_until, latest)
        self._accumulator.count_joined(*summary)
        self._accumulator.telemetry.catch_up_skipped += skipped
        return (
            decode_predictions(predictions_left) if predictions_left else [],
            decode_feedbacks(feedbacks_left) if feedbacks_left else [],
        )
