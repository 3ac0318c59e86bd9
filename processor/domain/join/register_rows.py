"""The registers of a request, from the rows of a batch of observations."""

from collections.abc import Iterator

from processor.domain.join.requests.request import FeedbackRegister, PredictionRegister
from processor.domain.log.observations import FeedbackRow, ObservationBatch, PredictionRow
from processor.domain.values import Answer


def answers_of(batch: ObservationBatch) -> Iterator[Answer]:
    """The answers in the dictionary of a batch."""
    for row in batch.answers:
        schema = batch.schemas[row.schema]
        yield Answer(row.label, row.reason, row.mode, schema, row.width, row.labels)


def prediction_register(row: PredictionRow, model: int, answers: list[int]) -> PredictionRegister:
    """The register of a prediction; ``model`` and ``answers`` are positions in the join's state."""
    packed = row.answers
    known = answers[packed] if isinstance(packed, int) else [answers[i] for i in packed]
    return PredictionRegister(
        model,
        row.time,
        row.source_rank,
        row.digest,
        known,
        row.provisional,
        values=row.values,
    )


def feedback_register(row: FeedbackRow, scope: int, truths: list[int]) -> FeedbackRegister:
    """The register of a feedback; ``scope`` and ``truths`` are positions in the join's state."""
    packed = row.truth
    truth: int | list[int] | None = None
    if packed is not None:
        truth = truths[packed] if isinstance(packed, int) else [truths[i] for i in packed]
    return FeedbackRegister(
        scope, row.time, row.source_rank, row.digest, truth, row.reward, row.values
    )
