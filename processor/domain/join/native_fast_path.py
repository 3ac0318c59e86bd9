"""The fast path of the join in the native extension; rows stay encoded."""

import msgspec

from processor.domain.join.delta_accumulator import NativeDeltaAccumulator
from processor.domain.join.fast_path import Tables
from processor.domain.join.id_set import prefix
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.plans import Part, Plan, label_plan, number_plan, outcome_of_part
from processor.domain.join.request_store import RequestRef
from processor.domain.join.requests.codec import RequestCodec
from processor.domain.join.state import JoinState
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    decode_feedbacks,
    decode_predictions,
)
from processor.domain.memo import Memo
from processor.domain.native import native
from processor.domain.timestamps import HOUR
from processor.domain.values import NUMBER, Answer, Reading
from processor.telemetry import DELAY_BOUNDS

#: Plans that depend on labels alone, of all partitions: the contents that come are the same in each.
_label_plans = Memo[tuple[Answer, Reading | None, int | None, int], Plan](2_000)
#: Plans of more names are not remembered.
_MAX_NAMES = 64


class NativeFastPath:
    """A `FastPath` of the native extension. ``deployment_of`` is by model and grows."""

    def __init__(
        self,
        state: JoinState,
        codec: RequestCodec,
        resolver: OutcomeResolver,
        accumulator: NativeDeltaAccumulator,
        deployment_of: list[int],
    ) -> None:
        self._state = state
        self._accumulator = accumulator
        self._deployment_of = deployment_of
        self._models = 0
        self._prefixes: list[bytes] = []

        # None of these functions may refer to this object: the native class does not support cyclic
        # garbage collection, so the state of a revoked partition would never be freed.
        def plan_of(answer: int, truth: int | None, reward: int | None, part: int) -> int | None:
            found = state.answers[answer]
            if found.schema.statistics:
                return None  # a custom statistic gets the values, which are not known here
            is_judged_together = part != Part.ALONE and truth is not None and reward is not None
            if is_judged_together and found.schema.by_reward:
                return None  # a reward between says nothing of each item
            if found.mode == NUMBER and found.reason is None and truth is not None:
                if found.schema.unit > 0:
                    return None  # the native extension has no such units
                if part == Part.FIRST_OF_DISAGREEMENT:
                    return None  # a number next to labels
                counted = None if part == Part.FURTHER else reward
                return accumulator.plan_id(number_plan(found, state.truths[truth], counted))
            reading = None if truth is None else state.truths[truth]
            if reading is not None and reading.kind == NUMBER and reading.value is None:
                return None  # its label depends on the number
            key = found, reading, reward, part
            plan = _label_plans.get(key)
            if plan is None:
                outcome = outcome_of_part(resolver.outcome(answer, truth, reward), part)
                plan = label_plan(found, reading, reward, outcome)
                if len(plan.names) <= _MAX_NAMES:
                    _label_plans.add(key, plan)
            return accumulator.plan_id(plan)

        self.plan_of = plan_of
        """Gives the plan of an answer, a truth, a reward and a `Part`; None if Python must judge."""

        accumulator.native.set_labels(state.answers, state.truths)
        self._native = native.FastPath(
            state.requests,
            accumulator.native,
            plan_of,
            codec.base_of_prediction,
            codec.base_of_feedback,
            DELAY_BOUNDS,
        )

    def watch(
        self, judged: dict[RequestRef, int] | None, unmatched: dict[RequestRef, None] | None
    ) -> None:
        """Note requests in these from now on."""
        self._native.watch(judged, unmatched)

    def apply_predictions(
        self, rows: msgspec.Raw, tables: Tables, offset: int
    ) -> list[PredictionRow]:
        """Apply predictions. Returns the remaining rows."""
        self._add_models()
        state = self._state
        remaining, *counts, summary = self._native.apply_predictions(
            bytes(rows),
            tables.models,
            tables.answers,
            offset,
            state.log_time // HOUR,
            state.completed_until,
        )
        self._count(*counts)
        self._accumulator.add_summary(*summary)
        return decode_predictions(remaining) if remaining else []

    def apply_feedback(self, rows: msgspec.Raw, tables: Tables, offset: int) -> list[FeedbackRow]:
        """Apply feedback. Returns the remaining rows."""
        self._add_models()
        state = self._state
        remaining, *counts, summary = self._native.apply_feedback(
            bytes(rows), tables.models, tables.truths, offset, state.log_time // HOUR
        )
        self._count(*counts)
        self._accumulator.add_summary(*summary)
        return decode_feedbacks(remaining) if remaining else []

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count complete requests without keeping them. Returns the remaining rows."""
        self._add_models()
        state, prefixes = self._state, self._prefixes
        prefixes += [prefix(*pair) for pair in state.deployments[len(prefixes) :]]
        remaining_predictions, remaining_feedbacks, summary, latest, skipped = (
            self._native.apply_completed(
                bytes(predictions), bytes(feedbacks), *tables, prefixes, state.completed_ids
            )
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

    def _count(
        self, waiting: int, unmatched: int, duplicates: int, superseded: int, corrections: int
    ) -> None:
        """Change the numbers of requests without feedback and of those without a prediction, and count
        rows that were known already, rows of which another version was, and changed outcomes."""
        self._state.waiting += waiting
        self._state.unmatched += unmatched
        telemetry = self._accumulator.telemetry
        telemetry.duplicates += duplicates
        telemetry.superseded += superseded
        telemetry.corrections += corrections

    def _add_models(self) -> None:
        """Make models known that were added since the last call."""
        models, deployment_of = self._state.models, self._deployment_of
        for number in range(self._models, len(models)):
            model = models[number]
            self._native.add_model(deployment_of[number], model.predictor, model.model)
        self._models = len(models)
