"""The published results of models: structs that encode to the documented JSON."""

from collections.abc import Iterable, Mapping

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.statistics import labels as scores
from processor.domain.statistics.counts import MICRO, Counts


class CellCount(msgspec.Struct, frozen=True):
    """A cell of the confusion matrix; ``count`` is the number of items, at least 1."""

    actual: str
    predicted: str
    count: int


class ClassResult(msgspec.Struct, frozen=True):
    """The scores of one class against all others; ``support`` is the number of its items by actual
    label. None is an undefined score."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    support: int


class MeanResult(msgspec.Struct, frozen=True):
    """An average of the four scores over the classes; all are None if nothing was judged."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None


class ModelResult(msgspec.Struct, frozen=True):
    """The result of one model in one span of time, with the fields of `Counts` and `Scores`.

    ``reward_sum`` is a float here, not millionths. ``confusion`` and ``classes`` are sorted by label.
    ``predictions`` and ``coverage`` are None on the feedback basis (counting rule 15).
    """

    namespace: str
    deployment: str
    predictor: str
    model: str
    predictions: int | None
    judged: int
    correct: int
    unknown_actual: int
    coverage: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    rewards: int
    reward_sum: float
    reward_mean: float | None
    disagreements: int
    confusion: tuple[CellCount, ...]
    classes: dict[str, ClassResult]
    macro: MeanResult
    micro: MeanResult
    weighted: MeanResult
    mcc: float | None
    kappa: float | None


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of the events that were read. The last two fields are counts by reason.

    ``other``, ``failed`` and ``explanation`` are events that say nothing about a prediction (counting
    rule 23).
    """

    read: int = 0
    other: int = 0
    failed: int = 0
    explanation: int = 0
    duplicates: int = 0
    superseded: int = 0
    corrections: int = 0
    unmatched_feedback: int = 0
    late: int = 0
    says_nothing: int = 0
    rows_differ: int = 0
    ambiguous: int = 0
    not_scorable: dict[str, int] = {}
    dead_letters: dict[str, int] = {}


class Replay(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The results of all models in one span of time, on the basis ``by``; ``from_`` and ``to`` are
    RFC 3339, or None for an open end."""

    from_: str | None
    to: str | None
    by: str
    models: tuple[ModelResult, ...]
    events: Events


def model_result(key: ModelKey, counts: Counts, by: str) -> ModelResult:
    """The result of one model on the basis ``by``: "request" or "feedback".

    >>> key = ModelKey("seldon", "iris", "default", "tree")
    >>> result = model_result(key, Counts(judged=2), "feedback")
    >>> result.predictions, result.accuracy, result.kappa, result.classes
    (None, 0.0, None, {})
    """
    derived = scores.scores(counts)
    by_request = by == "request"
    return ModelResult(
        *key,
        predictions=counts.predictions if by_request else None,
        judged=counts.judged,
        correct=counts.correct,
        unknown_actual=counts.unknown_actual,
        coverage=derived.coverage if by_request else None,
        accuracy=derived.accuracy,
        accuracy_low=derived.accuracy_low,
        accuracy_high=derived.accuracy_high,
        rewards=counts.rewards,
        reward_sum=counts.reward_sum / MICRO,
        reward_mean=derived.reward_mean,
        disagreements=counts.disagreements,
        confusion=tuple([CellCount(*cell, n) for cell, n in sorted(counts.cells.items())]),
        classes={
            label: ClassResult(*score.ratios, score.support)
            for label, score in derived.classes.items()
        },
        macro=MeanResult(*derived.macro),
        micro=MeanResult(*derived.micro),
        weighted=MeanResult(*derived.weighted),
        mcc=derived.mcc,
        kappa=derived.kappa,
    )


def model_results(
    models: Mapping[ModelKey, Counts] | Iterable[tuple[ModelKey, Counts]], by: str
) -> tuple[ModelResult, ...]:
    """The results of all ``models`` on the basis ``by``, sorted by their four names."""
    pairs = dict(models)
    return tuple([model_result(key, pairs[key], by) for key in sorted(pairs)])
