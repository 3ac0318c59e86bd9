"""The outcome of a request as it is written to its documents in the archive."""

import msgspec

from processor.domain.join.fold import JoinFold
from processor.domain.join.judge import Item
from processor.domain.join.outcome_resolver import judged_items
from processor.domain.join.request_store import RequestRef
from processor.domain.timestamps import format_time


class ItemOutcome(msgspec.Struct, frozen=True):
    """A judged item in a document, as an `Item`; a number without a tolerance is correct if it equals
    the truth. Times are RFC 3339."""

    predicted: str
    actual: str | None
    correct: bool
    request_time: str
    feedback_time: str


class PredictionOutcome(msgspec.Struct, frozen=True):
    """The outcome of one prediction; an item that is not judged is None."""

    predictor: str
    node: str
    items: tuple[ItemOutcome | None, ...]


class RequestOutcome(msgspec.Struct, frozen=True):
    """The outcomes of all predictions of a request."""

    namespace: str
    deployment: str
    request_id: str
    predictions: tuple[PredictionOutcome, ...]


def outcome_of(fold: JoinFold, ref: RequestRef) -> RequestOutcome | None:
    """The outcome of a request as it counts now; None if the request is not in memory or has no
    prediction."""
    joined = fold.joined_predictions_of(ref)
    if not joined:
        return None
    state = fold.state
    outcomes = []
    for joined_prediction in joined:
        prediction, feedback, _ = joined_prediction
        times = [format_time(one.time) for one in (prediction, feedback) if one is not None]
        items = tuple([_of_item(item, times) for item in judged_items(state, joined_prediction)])
        model = state.models[prediction.model]
        outcomes.append(PredictionOutcome(model.predictor, model.model, items))
    namespace, deployment = state.deployments[ref[0]]
    return RequestOutcome(namespace, deployment, ref[1], tuple(outcomes))


def _of_item(item: Item | None, times: list[str]) -> ItemOutcome | None:
    if item is None:
        return None
    predicted, actual, correct = item
    is_correct = predicted == actual if correct is None else correct
    return ItemOutcome(predicted, actual, is_correct, *times)
