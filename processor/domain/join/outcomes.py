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


def outcome_of(fold: JoinFold, place: RequestRef) -> RequestOutcome | None:
    """What a request in memory counts as by now; None if it has left, or has no prediction."""
    standings = fold.standings_of(place)
    if not standings:
        return None
    state = fold.state
    found = []
    for standing in standings:
        prediction, feedback, _ = standing
        times = [format_time(one.time) for one in (prediction, feedback) if one is not None]
        items = tuple(
            [item and ItemOutcome(*item, *times) for item in judged_items(state, standing)]
        )
        model = state.models[prediction.model]
        found.append(PredictionOutcome(model.predictor, model.model, items))
    namespace, deployment = state.deployments[place[0]]
    return RequestOutcome(namespace, deployment, place[1], tuple(found))
