"""Resolve the outcome of each prediction of a request (counting rules 11 and 12)."""

from collections.abc import Sequence
from typing import NamedTuple

from processor.domain.join.judge import (
    SCORED,
    UNCERTAIN,
    Item,
    Outcome,
    judge,
    judge_items,
)
from processor.domain.join.requests.request import (
    FeedbackRegister,
    PredictionRegister,
    Request,
    positions,
)
from processor.domain.join.state import JoinState
from processor.domain.log.observations import Values
from processor.domain.quantities import unpack_double
from processor.domain.values import Reading

#: Outcomes are kept, so that most judgements are one look-up, until they have so many items.
_MAX_ITEMS = 50_000


class JoinedPrediction(NamedTuple):
    """A prediction, the feedback that counts for it, and the outcome; both are None while it waits."""

    prediction: PredictionRegister
    feedback: FeedbackRegister | None
    outcome: Outcome | None


def judged_items(state: JoinState, joined: JoinedPrediction) -> list[Item | None]:
    """The judged items of a prediction, None for an item that is not judged."""
    prediction, feedback, outcome = joined
    answers = [state.answers[i] for i in positions(prediction.answers)]
    if feedback is None or outcome is None or outcome.kind != SCORED:
        return [None] * len(answers)
    truth = _truth_rows(state, feedback.truth, feedback.values)
    return judge_items(answers, truth, feedback.reward, _values(prediction.values))


def _values(values: Values) -> Sequence[bytes]:
    """The packed values of the items, as `judge` takes them."""
    if values is None:
        return ()
    return (values,) if isinstance(values, bytes) else values


def _truth_rows(
    state: JoinState, truth: int | list[int] | None, values: Values
) -> list[Reading] | None:
    if truth is None:
        return None
    rows = [state.truths[i] for i in positions(truth)]
    if values is None:
        return rows
    return [
        row._replace(value=unpack_double(one)) if one else row
        for row, one in zip(rows, _values(values), strict=True)
    ]


class OutcomeResolver:
    """Resolves the outcomes of requests by the tables of a state."""

    def __init__(self, state: JoinState) -> None:
        self._state = state
        self._outcomes: dict[object, Outcome] = {}
        self._items = 0

    def of(self, request: Request) -> list[JoinedPrediction]:
        """The predictions of a request with their feedback and outcomes, as they count now."""
        predictions, feedbacks = request.predictions, request.feedbacks
        if not feedbacks:
            return [JoinedPrediction(prediction, None, None) for prediction in predictions]
        return [self._judge(prediction, predictions, feedbacks) for prediction in predictions]

    def _judge(
        self,
        prediction: PredictionRegister,
        predictions: list[PredictionRegister],
        feedbacks: list[FeedbackRegister],
    ) -> JoinedPrediction:
        """The outcome of one prediction: of the feedbacks that apply to it, the greatest version alone
        counts, with truth and reward (counting rule 12)."""
        best = None
        for feedback in feedbacks:
            if (
                feedback.truth is not None
                or feedback.scope == prediction.model
                or self._names(feedback.scope, prediction.model)
            ) and (best is None or self._is_above(feedback, best)):
                best = feedback
        if best is None:
            return JoinedPrediction(prediction, None, None)
        if (
            best.truth is None
            and best.scope != prediction.model
            and sum(self._names(best.scope, other.model) for other in predictions) > 1
        ):
            return JoinedPrediction(prediction, best, UNCERTAIN)
        return JoinedPrediction(
            prediction,
            best,
            self.outcome(
                prediction.answers, best.truth, best.reward, prediction.values, best.values
            ),
        )

    def _is_above(self, feedback: FeedbackRegister, best: FeedbackRegister) -> bool:
        """Whether a feedback has a greater version. The scope decides between rewards of one version,
        since the order of arrival must not: a named model is above none."""
        version = (feedback.time, feedback.source_rank, feedback.digest)
        other = (best.time, best.source_rank, best.digest)
        models = self._state.models
        return version > other or (version == other and models[feedback.scope] > models[best.scope])

    def _names(self, scope: int, model: int) -> bool:
        """Whether a reward of this scope can be about the model: an empty name matches every name."""
        named, key = self._state.models[scope], self._state.models[model]
        return named.predictor in ("", key.predictor) and named.model in ("", key.model)

    def outcome(
        self,
        answers: int | list[int],
        truth: int | list[int] | None,
        reward: int | None,
        values: Values = None,
        truth_values: Values = None,
    ) -> Outcome:
        """The outcome of answers by a truth and a reward: positions and values as in the registers, the
        reward in millionths. Outcomes of values are not kept, since they hardly ever come again."""
        if values is not None or truth_values is not None:
            return self._outcome_of(answers, truth, reward, values, truth_values)
        key = (
            answers if isinstance(answers, int) else tuple(answers),
            tuple(truth) if isinstance(truth, list) else truth,
            reward,
        )
        outcome = self._outcomes.get(key)
        if outcome is None:
            self._items += 1 if isinstance(answers, int) else len(answers)
            if self._items > _MAX_ITEMS:
                self._outcomes.clear()
                self._items = 0
            outcome = self._outcomes[key] = self._outcome_of(answers, truth, reward, None, None)
        return outcome

    def _outcome_of(
        self,
        answers: int | list[int],
        truth: int | list[int] | None,
        reward: int | None,
        values: Values,
        truth_values: Values,
    ) -> Outcome:
        state = self._state
        rows = [state.answers[i] for i in positions(answers)]
        return judge(rows, _truth_rows(state, truth, truth_values), reward, _values(values))
