"""What an observation changes in a request: its registers, and what it contributes by them."""

from processor.domain.join.delta_accumulator import DeltaAccumulator
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.state import FeedbackRegister, JoinState, PredictionRegister, Request
from processor.domain.timestamps import HOUR


class RequestUpdater:
    """Takes observations into requests, and counts what changes."""

    def __init__(
        self, state: JoinState, resolver: OutcomeResolver, accumulator: DeltaAccumulator
    ) -> None:
        self._state = state
        self._resolver = resolver
        self._accumulator = accumulator

    def open_with_prediction(self, register: PredictionRegister) -> Request:
        """A new request with its first prediction."""
        request = Request(self._state.log_time // HOUR, [register], [])
        self._state.waiting += 1
        self._accumulator.change((), self._resolver.of(request))
        return request

    def open_with_feedback(self, register: FeedbackRegister) -> Request:
        """A new request whose feedback waits for its prediction."""
        self._state.unmatched += 1
        return Request(self._state.log_time // HOUR, [], [register])

    def apply_prediction(self, request: Request, register: PredictionRegister) -> bool:
        """Take a prediction; whether the request has changed."""
        state = self._state
        if request.predictions:
            register.restored = any(held.restored for held in request.predictions)
        predictor = state.models[register.model].predictor
        rivals = [
            held
            for held in request.predictions
            if held.provisional != register.provisional
            and state.models[held.model].predictor == predictor
        ]
        if rivals and register.provisional:
            return False
        before = self._resolver.of(request)
        state.unmatched -= not request.predictions
        # A weak one holds only while its predictor has no other (rule 14), and that one stays.
        request.predictions = [held for held in request.predictions if held not in rivals]
        for i, held in enumerate(request.predictions):
            if held.model == register.model:
                if not self._wins(register, held):
                    return False
                request.predictions[i] = register
                break
        else:
            request.predictions.append(register)
        self._accumulator.change(before, self._resolver.of(request))
        return True

    def apply_feedback(self, request: Request, register: FeedbackRegister) -> bool:
        """Take a feedback; whether the request has changed."""
        before = self._resolver.of(request)
        for i, held in enumerate(request.feedbacks):
            if (register.truth is None) == (held.truth is None) and (
                register.truth is not None or held.scope == register.scope
            ):
                if not self._wins(register, held):
                    return False
                request.feedbacks[i] = register
                break
        else:
            self._state.waiting -= not request.feedbacks
            request.feedbacks.append(register)
        self._accumulator.change(before, self._resolver.of(request))
        return True

    def _wins(
        self,
        new: PredictionRegister | FeedbackRegister,
        held: PredictionRegister | FeedbackRegister,
    ) -> bool:
        """Counting rule 12; either the new version or the held one is repeated or superseded."""
        telemetry = self._accumulator.telemetry
        if new.digest == held.digest:
            telemetry.duplicates += 1
        else:
            telemetry.superseded += 1
        return (new.time, new.source_rank, new.digest) > (held.time, held.source_rank, held.digest)
