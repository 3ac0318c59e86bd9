"""Sums the changes of the counts while a batch is folded, and updates diagnostics and telemetry."""

from collections.abc import Mapping, Sequence
from functools import cache

import msgspec

from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, Outcome
from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.join.plans import CONFIDENCE, LABELS, NUMBERS, Plan
from processor.domain.join.requests.request import positions
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import DeltaBatch, PackedDeltas, pack_deltas
from processor.domain.native import native
from processor.domain.quantities import ONE, log_loss
from processor.domain.statistics import custom, numbers, probabilities
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.delays import ENDS, bucket_of, contribute_prediction
from processor.domain.statistics.error_delays import contribute_predicted, unit_label
from processor.domain.statistics.sums import Sums
from processor.domain.statistics.verdicts import contribute_retraction, retractions
from processor.domain.timestamps import MINUTE, SECOND
from processor.domain.values import NUMBER
from processor.telemetry import Telemetry

#: Batches by partition of the deltas; ``prev`` is still to be set.
Deltas = Mapping[int, DeltaBatch | PackedDeltas]

#: Cells of the outcomes that a native accumulator keeps: a message of many items has as many.
_MAX_CELLS = 50_000


class DeltaAccumulator:
    """Sums signed contributions until they are drained; models are positions in the state's table."""

    def __init__(self, state: JoinState, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self._state = state
        #: By model, minute and answer.
        self._predicted: dict[tuple[int, int, int], int] = {}
        #: By model, basis, minute, outcome and, on the request basis, bucket of the delay.
        self._judged: dict[tuple[int, int, int, Outcome, int], int] = {}
        #: By model, minute and verdict.
        self._retracted: dict[tuple[int, int, str], int] = {}

    def add_predictions(self, model: int, minute: int, answer: int, items: int) -> None:
        """Count items of an answer predicted in a minute since 1970; a negative number takes them
        back."""
        key = (model, minute, answer)
        self._predicted[key] = self._predicted.get(key, 0) + items

    def add_judgement(
        self, model: int, predicted_at: int, feedback_at: int, outcome: Outcome, sign: int
    ) -> None:
        """Count a judgement (``sign`` 1) or take it back (-1); times are in ns."""
        judged = self._judged
        bucket = bucket_of(feedback_at - predicted_at)
        key = (model, 0, predicted_at // MINUTE, outcome, bucket)
        judged[key] = judged.get(key, 0) + sign
        key = (model, 1, feedback_at // MINUTE, outcome, 0)
        judged[key] = judged.get(key, 0) + sign
        if outcome.affects_diagnostics:
            self._add_diagnostics(outcome, sign)

    def add_retracted(self, model: int, minute: int, verdict: str, items: int) -> None:
        """Count items predicted in a minute since 1970 that are not of a verdict any more."""
        key = (model, minute, verdict)
        self._retracted[key] = self._retracted.get(key, 0) + items

    def replace(
        self, before: Sequence[JoinedPrediction], after: Sequence[JoinedPrediction]
    ) -> None:
        """Take back the contributions of a request before a change, and count those after it."""
        for joined in before:
            self._count(joined, -1)
        for joined in after:
            self._count(joined, 1)
        if before:
            self._retract(before, after)
        old = {joined.prediction.model: joined for joined in before}
        for prediction, feedback, outcome in after:
            if feedback is None or outcome is None:
                continue
            previous = old.get(prediction.model)
            if previous is None or previous.outcome is None:
                self._observe_delay(prediction.time, feedback.time)
            elif outcome.differs(previous.outcome):
                self.telemetry.corrections += 1
            else:
                continue
            self._count_failures(outcome)

    def drain(self, targets: list[int], head: tuple[int, str, int, int]) -> Deltas:
        """The changes since the last call, by partition of the deltas, and forget them. ``targets``
        are the models' partitions; ``head`` is version, log id, source and offset of the batches."""
        changes: dict[tuple[int, int, int], Counts] = {}
        for (model, minute, answer), items in self._predicted.items():
            if items:
                change = changes.setdefault((model, 0, minute), Counts())
                change.predictions += items
                predicted = self._state.answers[answer]
                if predicted.label is not None:
                    contribute_prediction(predicted.label, change.sums, items)
                elif predicted.mode == NUMBER:
                    contribute_predicted(unit_label(predicted.schema.unit), change.sums, items)
        for (model, basis, minute, outcome, bucket), times in self._judged.items():
            if times:
                change = changes.setdefault((model, basis, minute), Counts())
                change.add(outcome.counts, times, keep_zeros=True)
                if basis == 0:
                    outcome.contribute_delays(bucket, change.sums, times)
        for (model, minute, verdict), items in self._retracted.items():
            change = changes.setdefault((model, 0, minute), Counts())
            contribute_retraction(verdict, change.sums, items)
        self.clear()
        return pack_deltas(changes, self._state.models, targets, head)

    def clear(self) -> None:
        """Forget the changes since the last call of `drain` or `clear`."""
        self._predicted.clear()
        self._judged.clear()
        self._retracted.clear()

    def _add_diagnostics(self, outcome: Outcome, times: int) -> None:
        """Count an outcome that affects the diagnostics."""
        state = self._state
        if outcome.kind == ROWS_DIFFER:
            state.rows_differ += times
        elif outcome.kind == AMBIGUOUS:
            state.ambiguous += times
        for reason in outcome.not_scorable:
            state.not_scorable[reason] = state.not_scorable.get(reason, 0) + times

    def _retract(
        self, before: Sequence[JoinedPrediction], after: Sequence[JoinedPrediction]
    ) -> None:
        """Count the items of a request that are not right, or not wrong, any more."""
        now = {joined.prediction.model: joined.outcome for joined in after}
        for prediction, _, outcome in before:
            new = now.get(prediction.model)
            if outcome is None or outcome is new:
                continue
            minute = prediction.time // MINUTE
            for verdict, items in retractions(outcome.counts, None if new is None else new.counts):
                self.add_retracted(prediction.model, minute, verdict, items)

    def _count_failures(self, outcome: Outcome, times: int = 1) -> None:
        """Count the items of a new outcome on which custom statistics failed."""
        if outcome.affects_diagnostics:
            for name, items in custom.failed(outcome.counts.sums).items():
                self.telemetry.custom_statistic_errors[name] += times * items

    def _observe_delay(self, predicted_at: int, feedback_at: int) -> None:
        """Count the first feedback of a prediction in the telemetry; times are in ns."""
        self.telemetry.joined += 1
        self.telemetry.feedback_delay.observe_ns(max(0, feedback_at - predicted_at))

    def _count(self, joined: JoinedPrediction, sign: int) -> None:
        prediction, feedback, outcome = joined
        if not prediction.restored:
            answers = prediction.answers
            minute = prediction.time // MINUTE
            for answer in positions(answers):
                self.add_predictions(prediction.model, minute, answer, sign)
        if feedback is not None and outcome is not None:
            self.add_judgement(prediction.model, prediction.time, feedback.time, outcome, sign)


@cache
def _tables() -> tuple[list[int], list[int], list[int], list[int]]:
    """The tables of the native extension: edges of bins, log losses, edges of error buckets, and the
    ends of the buckets of delays in nanoseconds."""
    losses = [log_loss(q) for q in range(ONE + 1)]
    ends = [end * SECOND for end in ENDS]
    return list(probabilities.EDGES), losses, list(numbers.EDGES), ends


class NativeDeltaAccumulator(DeltaAccumulator):
    """A `DeltaAccumulator` whose sums are kept and packed by the native extension, in ``native``."""

    def __init__(self, state: JoinState, telemetry: Telemetry) -> None:
        super().__init__(state, telemetry)
        self.native = native.DeltaAccumulator()
        self.native.set_tables(*_tables())
        self._outcome_ids: dict[Outcome, int] = {}
        #: By position; the native extension adds others, which affect no diagnostics.
        self._outcomes: dict[int, Outcome] = {}
        self._cells = 0

    def add_predictions(self, model: int, minute: int, answer: int, items: int) -> None:
        """Count items of an answer predicted in a minute since 1970; a negative number takes them
        back."""
        self.native.add_predictions(model, minute, answer, items)

    def add_judgement(
        self, model: int, predicted_at: int, feedback_at: int, outcome: Outcome, sign: int
    ) -> None:
        """Count a judgement (``sign`` 1) or take it back (-1); times are in ns."""
        outcome_id = self.outcome_id(outcome)
        if self.native.add_judgement(model, predicted_at, feedback_at, outcome_id, sign):
            self._add_diagnostics(outcome, sign)

    def add_retracted(self, model: int, minute: int, verdict: str, items: int) -> None:
        """Count items predicted in a minute since 1970 that are not of a verdict any more."""
        self.native.add_retracted(model, minute, verdict, items)

    def outcome_id(self, outcome: Outcome) -> int:
        """The position of an outcome in the native accumulator."""
        outcome_id = self._outcome_ids.get(outcome)
        if outcome_id is None:
            counts = outcome.counts
            cells = [(*cell, n) for cell, n in counts.cells.items()]
            sums = [(*key, n) for key, n in counts.sums.items()]
            delayed: Sums = {}
            outcome.contribute_delays(0, delayed)
            outcome_id = self.native.add_outcome(
                counts.totals(),
                cells,
                sums,
                [(*key, n) for key, n in delayed.items()],
                outcome.affects_diagnostics,
            )
            self._outcome_ids[outcome] = outcome_id
            self._outcomes[outcome_id] = outcome
            self._cells += 1 + len(cells) + len(sums) + len(outcome.measured)
        return outcome_id

    def outcome(self, outcome_id: int) -> Outcome:
        """The outcome at a position in the native accumulator."""
        return self._outcomes[outcome_id]

    def plan_id(self, plan: Plan) -> int:
        """Add a plan to the native accumulator. Returns its position."""
        self._cells += 1 + len(plan.names)
        kind, outcomes = plan.kind, [self.outcome_id(outcome) for outcome in plan.outcomes]
        if kind == LABELS:
            return self.native.add_labels_plan(outcomes[0])
        if kind == CONFIDENCE:
            return self.native.add_confidence_plan(outcomes[0], plan.right)
        if kind == NUMBERS:
            label = unit_label(plan.unit)
            return self.native.add_numbers_plan(
                outcomes, plan.unit, label, plan.tolerance, plan.truth
            )
        return self.native.add_probabilities_plan(
            outcomes[0],
            list(plan.names),
            list(plan.own),
            plan.top,
            plan.right,
            plan.second,
        )

    def add_summary(
        self, delays: Sequence[int], total_ns: int, diagnostics: Sequence[tuple[int, int]]
    ) -> int:
        """Update diagnostics and telemetry after the native fast path has counted first judgements:
        their delays by bucket, the total delay in nanoseconds, and how often each outcome (by its
        position) came that affects the diagnostics. Returns the number of judgements."""
        for outcome_id, times in diagnostics:
            self._add_diagnostics(self._outcomes[outcome_id], times)
            self._count_failures(self._outcomes[outcome_id], times)
        self.telemetry.feedback_delay.add(delays, total_ns)
        joined = sum(delays)
        self.telemetry.joined += joined
        return joined

    def drain(self, targets: list[int], head: tuple[int, str, int, int]) -> Deltas:
        """The changes since the last call, by partition of the deltas, and forget them. ``targets``
        are the models' partitions; ``head`` is version, log id, source and offset of the batches."""
        raw = msgspec.Raw
        batches = {
            target: PackedDeltas(*head, -1, raw(models), raw(labels), raw(deltas))
            for target, models, labels, deltas in self.native.drain(
                self._state.models, self._state.answers, targets
            )
        }
        self._limit_outcomes()
        return batches

    def clear(self) -> None:
        """Forget the changes since the last call of `drain` or `clear`."""
        self.native.clear()
        self._limit_outcomes()

    def _limit_outcomes(self) -> None:
        """Forget all outcomes if they take much memory; no change may be left that refers to them."""
        if self._cells + self.native.cells() > _MAX_CELLS:
            self.native.clear_outcomes()
            self._outcome_ids.clear()
            self._outcomes.clear()
            self._cells = 0
