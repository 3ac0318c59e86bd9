"""What became of a request, as its documents in the archive are told."""

import msgspec

from processor.domain.join.fold import JoinFold
from processor.domain.join.outcome_resolver import judged_items
from processor.domain.join.request_store import RequestRef
from processor.domain.timestamps import format_time


class ItemOutcome(msgspec.Struct, frozen=True):
    """A judged item as its document shows it; times are RFC 3339, ``actual`` None is unknown."""

    predicted: str
    actual: str | None
    correct: bool
    request_time: str
    feedback_time: str


class PredictionOutcome(msgspec.Struct, frozen=True):
    """One prediction's; an item that is not judged has None."""

    predictor: str
    node: str
    items: tuple[ItemOutcome | None, ...]


class RequestOutcome(msgspec.Struct, frozen=True):
    """Those of all predictions of a request."""

    namespace: str
    deployment: str
    request_id: str
    predictions: tuple[PredictionOutcome, ...]


def outcome_of(fold: JoinFold, ref: RequestRef) -> RequestOutcome | None:
    """What a request in memory counts as by now; None if it has left, or has no prediction."""
    joined = fold.joined_predictions_of(ref)
    if not joined:
        return None
    state = fold.state
    found = []
    for joined_prediction in joined:
        prediction, feedback, _ = joined_prediction
        times = [format_time(one.time) for one in (prediction, feedback) if one is not None]
        items = tuple(
            [item and ItemOutcome(*item, *times) for item in judged_items(state, joined_prediction)]
        )
        model = state.models[prediction.model]
        found.append(PredictionOutcome(model.predictor, model.model, items))
    namespace, deployment = state.deployments[ref[0]]
    return RequestOutcome(namespace, deployment, ref[1], tuple(found))
