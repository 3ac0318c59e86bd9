"""The requests of a batch of observations, and which of them are in memory."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from processor.domain.join.id_set import prefix, request_digest
from processor.domain.join.requests.table import RequestTable
from processor.domain.log.observations import ObservationBatch
from processor.domain.model_key import ModelKey
from processor.domain.native import native, use_native


class BatchRequests(NamedTuple):
    """The requests of a batch, by their digests."""

    digests: list[int]
    """One for each prediction, and then for each feedback, in the order of the rows."""
    missing_predictions: list[int]
    """The digests of predictions whose requests are not in memory."""
    missing_feedbacks: list[int]
    """The digests of feedbacks whose requests are not in memory."""


def batch_requests(
    table: RequestTable, positions: Mapping[tuple[str, str], int], batch: ObservationBatch
) -> BatchRequests:
    """The requests of a batch, and which of them a table does not have. ``positions`` are those of the
    deployments in the table."""
    deployments = [
        (positions.get((model.namespace, model.deployment)), prefix(*model[:2]))
        for model in batch.models
    ]
    if use_native:
        predictions, missing_predictions = native.digests(
            table, bytes(batch.predictions), deployments
        )
        feedbacks, missing_feedbacks = native.digests(table, bytes(batch.feedbacks), deployments)
    else:
        models = batch.models
        predicted = [(models[row.model], row.request_id) for row in batch.prediction_rows()]
        judged = [(models[row.scope], row.request_id) for row in batch.feedback_rows()]
        predictions, missing_predictions = _digests(table, positions, predicted)
        feedbacks, missing_feedbacks = _digests(table, positions, judged)
    return BatchRequests(predictions + feedbacks, missing_predictions, missing_feedbacks)


def _digests(
    table: RequestTable,
    positions: Mapping[tuple[str, str], int],
    rows: Iterable[tuple[ModelKey, str]],
) -> tuple[list[int], list[int]]:
    """The digests of the requests of some rows, and of those that the table does not have."""
    digests, missing = [], []
    for model, request_id in rows:
        digest = request_digest(model.namespace, model.deployment, request_id)
        digests.append(digest)
        position = positions.get((model.namespace, model.deployment))
        if position is None or table.get(position, request_id) is None:
            missing.append(digest)
    return digests, missing
