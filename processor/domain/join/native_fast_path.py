"""The fast path of the join in the native extension; rows stay encoded."""

import msgspec

from processor.domain.join.delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.fast_path import Tables
from processor.domain.join.id_set import prefix
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.packed_table import MAX_ROWS_PER_BUCKET, ROWS_PER_BUCKET
from processor.domain.join.plans import label_plan, number_plan
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
from processor.domain.values import NUMBER
from processor.telemetry import DELAY_BOUNDS


class NativeFastPath:
    """A `FastPath` of the native extension. ``deployment_of`` is by model and grows."""

    def __init__(
        self,
        state: JoinState,
        store: RequestStore,
        resolver: OutcomeResolver,
        accumulator: NativeDeltaAccumulator,
        deployment_of: list[int],
    ) -> None:
        self._state = state
        self._accumulator = accumulator
        self._prefixes: list[bytes] = []

        # None of these functions may refer to this object: the native class does not support cyclic
        # garbage collection, so the state of a revoked partition would never be freed.
        def plan_of(answer: int, truth: int | None, reward: int | None) -> int | None:
            found = state.answers[answer]
            if found.mode == NUMBER and found.reason is None and truth is not None:
                if not store.can_pack(answer):
                    return None
                return accumulator.plan_id(number_plan(found, state.truths[truth], reward))
            reading = None if truth is None else state.truths[truth]
            if reading is not None and reading.kind == NUMBER and reading.value is None:
                return None  # its label depends on the number
            outcome = resolver.outcome(answer, truth, reward)
            return accumulator.plan_id(label_plan(found, reading, reward, outcome))

        def plan_of_completed(answer: int, truth: int | None, reward: int | None) -> int | None:
            if state.answers[answer].schema.statistics:
                return None  # the values, which a statistic of one's own gets, are not known
            return plan_of(answer, truth, reward)

        def plan_of_pair(prediction_id: int, feedback_id: int) -> int | None:
            feedback = state.feedback_contents[feedback_id - 1]
            prediction = state.prediction_contents[prediction_id]
            answer = prediction.answer
            if prediction.length and state.answers[answer].schema.statistics:
                return None  # as above
            return plan_of(answer, feedback.truth, feedback.reward)

        self.plan_of_pair = plan_of_pair
        """Gives the plan of a packed prediction and its feedback; None if Python must judge them."""

        def valued_answer(answer: int) -> tuple[int, int] | None:
            if not store.can_pack(answer):
                return None
            return store.base_of_prediction(answer), store.width_of(answer, 1)

        self._native = native.FastPath(
            state,
            accumulator.native,
            plan_of_pair,
            plan_of_completed,
            lambda *content: store.prediction_id(
                PredictionContent._make((*content[:5], False, content[5]))
            ),
            lambda *content: store.feedback_id(FeedbackContent(*content)),
            valued_answer,
            store.base_of_feedback,
            deployment_of,
            DELAY_BOUNDS,
            MAX_ROWS_PER_BUCKET,
            ROWS_PER_BUCKET,
        )

    def apply_predictions(self, rows: msgspec.Raw, tables: Tables) -> list[PredictionRow]:
        """Apply predictions. Returns the remaining rows."""
        remaining, count = self._native.apply_predictions(
            bytes(rows), tables.models, tables.answers
        )
        self._state.waiting += count
        return decode_predictions(remaining) if remaining else []

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """Apply feedback, and note the offset in ``judged`` by request. Returns the remaining rows."""
        remaining, summary = self._native.apply_feedback(
            bytes(rows), tables.models, tables.truths, judged, offset
        )
        self._state.waiting -= self._accumulator.add_summary(*summary)
        return decode_feedbacks(remaining) if remaining else []

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count complete requests without keeping them. Returns the remaining rows."""
        state, prefixes = self._state, self._prefixes
        prefixes += [prefix(*pair) for pair in state.deployments[len(prefixes) :]]
        remaining_predictions, remaining_feedbacks, summary, latest, skipped = (
            self._native.apply_completed(bytes(predictions), bytes(feedbacks), *tables, prefixes)
        )
        if latest is not None:
            state.completed_hour = state.log_time // HOUR
            state.completed_until = max(state.completed_until, latest)
        self._accumulator.add_summary(*summary)
        self._accumulator.telemetry.catch_up_skipped += skipped
        return (
            decode_predictions(remaining_predictions) if remaining_predictions else [],
            decode_feedbacks(remaining_feedbacks) if remaining_feedbacks else [],
        )
