"""Apply observations to the registers of a request (counting rules 11, 12 and 14)."""

from processor.domain.join.delta_accumulator import DeltaAccumulator
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.requests.request import FeedbackRegister, PredictionRegister, Request
from processor.domain.join.state import JoinState
from processor.domain.timestamps import HOUR


class RequestUpdater:
    """Applies observations to requests, and records the changes of the counts in the accumulator.

    The registers are last-writer-wins registers: the greatest version stays.
    """

    def __init__(
        self, state: JoinState, resolver: OutcomeResolver, accumulator: DeltaAccumulator
    ) -> None:
        self._state = state
        self._resolver = resolver
        self._accumulator = accumulator

    def open_with_prediction(self, register: PredictionRegister) -> Request:
        """A new request that has a prediction."""
        request = Request(self._state.log_time // HOUR, [register], [])
        self._state.waiting += 1
        self._accumulator.replace((), self._resolver.of(request))
        return request

    def open_with_feedback(self, register: FeedbackRegister) -> Request:
        """A new request whose feedback waits for its prediction."""
        self._state.unmatched += 1
        return Request(self._state.log_time // HOUR, [], [register])

    def apply_prediction(self, request: Request, register: PredictionRegister) -> bool:
        """Apply a prediction. Returns whether the request has changed."""
        state = self._state
        if request.predictions:
            register.restored = any(known.restored for known in request.predictions)
        predictor = state.models[register.model].predictor
        rivals = [
            known
            for known in request.predictions
            if known.provisional != register.provisional
            and state.models[known.model].predictor == predictor
        ]
        if rivals and register.provisional:
            return False
        before = self._resolver.of(request)
        state.unmatched -= not request.predictions
        # A provisional prediction stays only while its predictor has no other (counting rule 14).
        request.predictions = [known for known in request.predictions if known not in rivals]
        for i, known in enumerate(request.predictions):
            if known.model == register.model:
                if not self._wins(register, known):
                    return False
                request.predictions[i] = register
                break
        else:
            request.predictions.append(register)
        self._accumulator.replace(before, self._resolver.of(request))
        return True

    def apply_feedback(self, request: Request, register: FeedbackRegister) -> bool:
        """Apply a feedback. Returns whether the request has changed."""
        before = self._resolver.of(request)
        for i, known in enumerate(request.feedbacks):
            if (register.truth is None) == (known.truth is None) and (
                register.truth is not None or known.scope == register.scope
            ):
                if not self._wins(register, known):
                    return False
                request.feedbacks[i] = register
                break
        else:
            self._state.waiting -= not request.feedbacks
            request.feedbacks.append(register)
        self._accumulator.replace(before, self._resolver.of(request))
        return True

    def _wins(
        self,
        new: PredictionRegister | FeedbackRegister,
        known: PredictionRegister | FeedbackRegister,
    ) -> bool:
        """Whether the new version is greater (counting rule 12). Equal content counts as a duplicate,
        other content as superseded, whichever of the two versions wins."""
        telemetry = self._accumulator.telemetry
        if new.digest == known.digest:
            telemetry.duplicates += 1
        else:
            telemetry.superseded += 1
        return (new.time, new.source_rank, new.digest) > (
            known.time,
            known.source_rank,
            known.digest,
        )
