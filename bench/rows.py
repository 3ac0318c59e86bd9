"""Observations of a classifier of three labels as the log holds them, made fast: for benchmarks of what
reads the log. What a batch holds is what `BatchBuilder` makes of the same observations."""

from collections.abc import Sequence

from processor.domain.log.observations import (
    EVENT,
    SCHEMA_VERSION,
    AnswerRow,
    FeedbackRow,
    ObservationBatch,
    PredictionRow,
)
from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import MICRO
from processor.domain.values import SCORES, Reading, Schema, digest

from .load import NAMES, NAMESPACE, deployment

#: The log's name in its records.
EPOCH = "bench"
LABELS = NAMES

#: What a feedback says: that the prediction was right, by a reward alone; that it was wrong, by the
#: truth and a reward of 0; the truth alone.
RIGHT, WRONG, TRUTH = range(3)

_SCHEMAS = [Schema(names=LABELS)]
_ANSWERS = [AnswerRow(label, None, SCORES, 0) for label in LABELS]
_TRUTHS = [Reading(SCORES, position, len(LABELS)) for position in range(len(LABELS))]
_REWARDS = (MICRO, 0, None)
_MADE = [digest("prediction", label) for label in LABELS]
_SAID = [[digest(actual, form) for form in range(3)] for actual in LABELS]


def model_keys(number: int) -> list[ModelKey]:
    """So many models, each of a deployment of its own."""
    return [ModelKey(NAMESPACE, deployment(i), "default", "classifier") for i in range(number)]


def request_ids(data: bytes) -> list[str]:
    """A UUID of every 16 bytes."""
    digits = data.hex()
    return [
        f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-{digits[i + 12 : i + 16]}"
        f"-{digits[i + 16 : i + 20]}-{digits[i + 20 : i + 32]}"
        for i in range(0, len(digits), 32)
    ]


def prediction_row(request_id: str, model: int, time: int, label: int) -> PredictionRow:
    """``model`` and ``label`` by position, ``time`` in ns."""
    return PredictionRow(request_id, model, time, EVENT, _MADE[label], label, False)


def feedback_row(request_id: str, model: int, time: int, actual: int, form: int) -> FeedbackRow:
    """A feedback of one of the forms above."""
    truth = None if form == RIGHT else actual
    return FeedbackRow(
        request_id, model, time, EVENT, _SAID[actual][form], truth, _REWARDS[form]
    )  # fmt: skip


def batch(
    models: list[ModelKey],
    predictions: Sequence[PredictionRow],
    feedbacks: Sequence[FeedbackRow],
    log_id: str = EPOCH,
) -> ObservationBatch:
    """One record of the log."""
    return ObservationBatch(
        SCHEMA_VERSION, log_id, models, _SCHEMAS, _ANSWERS, _TRUTHS, list(predictions),
        list(feedbacks),
    )  # fmt: skip
