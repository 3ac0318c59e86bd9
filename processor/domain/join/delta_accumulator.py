"""What changes in the counts while a batch is folded, and the gauges and counters beside them."""

from collections.abc import Mapping, Sequence

from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, Outcome
from processor.domain.join.outcome_resolver import JoinedPrediction
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import Changes, DeltaBatch, PackedDeltas
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import MINUTE, SECOND
from processor.telemetry import Telemetry

#: Batches by partition; ``prev`` is still to be set.
Deltas = Mapping[int, DeltaBatch | PackedDeltas]


class DeltaAccumulator:
    """Sums up signed contributions until they are taken; models are positions in the state's table."""

    def __init__(self, state: JoinState, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self._state = state
        self._predicted: dict[tuple[int, int], int] = {}
        self._judged: dict[tuple[int, int, int, Outcome], int] = {}

    def predicted(self, model: int, minute: int, items: int) -> None:
        """Count a prediction, made in a minute since 1970; below 0 items take it back."""
        key = (model, minute)
        self._predicted[key] = self._predicted.get(key, 0) + items

    def judged(
        self, model: int, predicted_at: int, feedback_at: int, outcome: Outcome, sign: int
    ) -> None:
        """Count a judgement of a prediction, or take it back."""
        judged = self._judged
        key = (model, 0, predicted_at // MINUTE, outcome)
        judged[key] = judged.get(key, 0) + sign
        key = (model, 1, feedback_at // MINUTE, outcome)
        judged[key] = judged.get(key, 0) + sign
        if outcome.affects_diagnostics:
            self.add_diagnostics(outcome, sign)

    def first_judged(self, found: Sequence[tuple[int, int, int, Outcome]]) -> None:
        """Count predictions that got their first feedback: model, time, feedback's time, outcome."""
        for model, predicted_at, feedback_at, outcome in found:
            self.judged(model, predicted_at, feedback_at, outcome, 1)
            self.joined(predicted_at, feedback_at)

    def joined(self, predicted_at: int, feedback_at: int) -> None:
        """A prediction got its first feedback."""
        self.telemetry.joined += 1
        self.telemetry.feedback_delay.observe(max(0, feedback_at - predicted_at) / SECOND)

    def change(self, before: Sequence[JoinedPrediction], after: Sequence[JoinedPrediction]) -> None:
        """Take back what a request contributed, count what it does now."""
        for standing in before:
            self._count(standing, -1)
        for standing in after:
            self._count(standing, 1)
        old = {standing.prediction.model: standing for standing in before}
        for prediction, feedback, outcome in after:
            if feedback is None or outcome is None:
                continue
            previous = old.get(prediction.model)
            if previous is None or previous.outcome is None:
                self.joined(prediction.time, feedback.time)
            elif previous.outcome is not outcome:
                self.telemetry.corrections += 1

    def drain(self, targets: list[int], head: tuple[int, str, int, int]) -> Deltas:
        """All that was counted since the last time, by partition: ``targets`` are those of the models,
        ``head`` is version, epoch, source and offset of the batches."""
        changes = Changes()
        for (model, minute), items in self._predicted.items():
            if items:
                changes.add(model, 0, minute, Counts(predictions=items), 1)
        for (model, basis, minute, outcome), times in self._judged.items():
            if times:
                changes.add(model, basis, minute, outcome.counts, times)
        self.clear()
        return changes.batches(self._state.models, targets, head)

    def clear(self) -> None:
        """Forget what was counted since the last time."""
        self._predicted.clear()
        self._judged.clear()

    def add_diagnostics(self, outcome: Outcome, times: int) -> None:
        """Count an outcome that adds to gauges."""
        state = self._state
        if outcome.kind == ROWS_DIFFER:
            state.rows_differ += times
        elif outcome.kind == AMBIGUOUS:
            state.ambiguous += times
        for reason in outcome.not_scorable:
            state.not_scorable[reason] = state.not_scorable.get(reason, 0) + times

    def _count(self, standing: JoinedPrediction, sign: int) -> None:
        prediction, feedback, outcome = standing
        if not prediction.restored:
            answers = prediction.answers
            items = 1 if isinstance(answers, int) else len(answers)
            self.predicted(prediction.model, prediction.time // MINUTE, sign * items)
        if feedback is not None and outcome is not None:
            self.judged(prediction.model, prediction.time, feedback.time, outcome, sign)
