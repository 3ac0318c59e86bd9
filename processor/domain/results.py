"""The published results of models: structs that encode to the documented JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from processor.domain.events.attributes import UNCOUNTED
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Targets
from processor.domain.nowcast_result import DriftResult, NowcastResult
from processor.domain.statistics import custom, label_sets, numbers, probabilities
from processor.domain.statistics import labels as scores
from processor.domain.statistics.counts import MICRO, Counts
from processor.domain.statistics.sums import by_kind
from processor.telemetry import Telemetry


class CellCount(msgspec.Struct, frozen=True):
    """A cell of the confusion matrix; ``count`` is the number of items, at least 1."""

    actual: str
    predicted: str
    count: int


class ClassResult(msgspec.Struct, frozen=True):
    """The scores of one class (or of one label of label sets) against all others; ``support`` is the
    number of its items by actual label. None is an undefined score, or one that does not apply."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None
    support: int
    roc_auc: float | None = None
    average_precision: float | None = None


class CalibrationBin(msgspec.Struct, frozen=True):
    """The items whose predicted label had a probability from ``low`` to ``high``: how many, their mean
    probability, and how many of them were right."""

    low: float
    high: float
    items: int
    mean_probability: float
    right: int


class ThresholdResult(msgspec.Struct, frozen=True):
    """The scores of the second of two labels if items of at least this probability are predicted as
    it."""

    threshold: float
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    f1: float | None


class ErrorBucket(msgspec.Struct, frozen=True):
    """How many items have an absolute error up to ``up_to``, and above that of the bucket before."""

    up_to: float
    items: int


class MeanResult(msgspec.Struct, frozen=True):
    """An average of the four scores over the classes; all are None if nothing was judged."""

    precision: float | None
    recall: float | None
    specificity: float | None
    f1: float | None


class ModelResult(msgspec.Struct, frozen=True):
    """The result of one model in one span of time, with the fields of `Counts`, `Scores`,
    `ProbabilityScores`, `NumberScores` and `SetScores`.

    ``task`` is "classification", "regression" or "multilabel", by what most of the judged items are;
    None if nothing was judged. ``measured`` is how many items were judged as numbers. ``threshold`` is
    the one of the models file, None where none decides: it does between one probability a row and its
    complement, and for label sets. ``best_threshold`` is the one of ``thresholds`` with the greatest F1,
    of equals the lowest. ``reward_sum`` is a float here, not millionths. ``confusion``
    and ``classes`` are sorted by label. ``predictions`` and ``coverage`` are None on the feedback basis
    (counting rule 15). ``custom`` has the scores of custom statistics, by statistic and score,
    ``custom_failed`` on how many items each failed. ``nowcast`` and ``drift`` are None on the feedback
    basis, and where they were not asked for. ``targets`` is what the models file expects of the model,
    None if nothing. Fields from ``task`` on have defaults, since stored results may be older than they
    are.
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
    task: str | None = None
    measured: int = 0
    brier_score: float | None = None
    log_loss: float | None = None
    roc_auc: float | None = None
    roc_auc_error_bound: float | None = None
    average_precision: float | None = None
    calibration_error: float | None = None
    top_k_accuracy: dict[str, float] = {}
    reciprocal_rank: float | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    thresholds: tuple[ThresholdResult, ...] = ()
    threshold: float | None = None
    best_threshold: float | None = None
    bias: float | None = None
    mae: float | None = None
    mae_low: float | None = None
    mae_high: float | None = None
    rmse: float | None = None
    r2: float | None = None
    correlation: float | None = None
    mape: float | None = None
    wape: float | None = None
    within_tolerance: float | None = None
    absolute_error_quantiles: dict[str, float] = {}
    error_histogram: tuple[ErrorBucket, ...] = ()
    mean_actual: float | None = None
    mean_predicted: float | None = None
    deviation_actual: float | None = None
    deviation_predicted: float | None = None
    slope: float | None = None
    intercept: float | None = None
    exact_match: float | None = None
    hamming_loss: float | None = None
    jaccard: float | None = None
    custom: dict[str, dict[str, float | None]] = {}
    custom_failed: dict[str, int] = {}
    nowcast: NowcastResult | None = None
    drift: DriftResult | None = None
    targets: Targets | None = None


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


def events_read(
    telemetry: Telemetry,
    not_scorable: Counter[str],
    *,
    read: int,
    unmatched: int,
    rows_differ: int,
    ambiguous: int,
) -> Events:
    """Counts of what became of ``read`` events, from the counters of those who read and joined them.

    ``not_scorable`` counts items by reason, ``unmatched`` feedback without a prediction;
    ``rows_differ`` and ``ambiguous`` count outcomes that could not be judged for these reasons.
    """
    return Events(
        read=read,
        **{kind: telemetry.events[kind] for kind in UNCOUNTED},
        duplicates=telemetry.duplicates,
        superseded=telemetry.superseded,
        corrections=telemetry.corrections,
        unmatched_feedback=unmatched,
        late=telemetry.late,
        says_nothing=telemetry.says_nothing,
        rows_differ=rows_differ,
        ambiguous=ambiguous,
        not_scorable=dict(sorted(not_scorable.items())),
        dead_letters=dict(sorted(telemetry.dead_letters.items())),
    )


class Replay(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The results of all models in one span of time, on the basis ``by``; ``from_`` and ``to`` are
    RFC 3339, or None for an open end."""

    from_: str | None
    to: str | None
    by: str
    models: tuple[ModelResult, ...]
    events: Events


_NO_RULES = ModelRules()


def model_result(
    key: ModelKey, counts: Counts, by: str, rules: ModelRules = _NO_RULES
) -> ModelResult:
    """The result of one model on the basis ``by``: "request" or "feedback". ``rules`` are those of the
    models file.

    >>> key = ModelKey("seldon", "iris", "default", "tree")
    >>> result = model_result(key, Counts(judged=2), "feedback")
    >>> result.predictions, result.accuracy, result.kappa, result.classes
    (None, 0.0, None, {})
    """
    derived = scores.scores(counts)
    by_request = by == "request"
    rule = rules(key)
    result = ModelResult(
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
        task=task_of(counts.judged, 0, 0),
        targets=rule.targets,
    )
    return _with_values(result, counts, rule.threshold) if counts.has_sums else result


#: Fields that are those of `NumberScores`.
_NUMBERS = (
    "bias", "mae", "mae_low", "mae_high", "rmse", "r2", "correlation", "mape", "wape",
    "absolute_error_quantiles", "mean_actual", "mean_predicted", "deviation_actual",
    "deviation_predicted", "slope", "intercept",
)  # fmt: skip


def _with_values(result: ModelResult, counts: Counts, threshold: float) -> ModelResult:
    """Add the scores of probabilities, numbers and label sets."""
    sums = counts.sums
    probable, measured = probabilities.scores(by_kind(sums)), numbers.scores(sums)
    sets = label_sets.scores(sums)
    labelled = counts.judged - measured.items - sets.items
    tolerated = numbers.tolerance_items(sums)
    classes = result.classes
    changes: dict[str, object] = {}
    if probable.classes:
        classes = {
            label: msgspec.structs.replace(
                one, roc_auc=curve.roc_auc, average_precision=curve.average_precision
            )
            if (curve := probable.classes.get(label))
            else one
            for label, one in classes.items()
        }
    if sets.items and not labelled:
        classes = {
            label: ClassResult(*score.ratios, score.support)
            for label, score in sets.classes.items()
        }
        changes = {
            "macro": MeanResult(*scores.macro(sets.classes)),
            "micro": MeanResult(*scores.micro(sets.classes)),
            "weighted": MeanResult(*scores.weighted(sets.classes)),
        }
    best = max(probable.thresholds, key=lambda one: one.f1 or 0.0, default=None)
    return msgspec.structs.replace(
        result,
        task=task_of(counts.judged, measured.items, sets.items),
        measured=measured.items,
        **{name: getattr(measured, name) for name in _NUMBERS},
        classes=classes,
        brier_score=probable.brier_score,
        log_loss=probable.log_loss,
        roc_auc=probable.roc_auc,
        roc_auc_error_bound=probable.roc_auc_error_bound,
        average_precision=probable.average_precision,
        calibration_error=probable.calibration_error,
        top_k_accuracy=probable.top_k_accuracy,
        reciprocal_rank=probable.reciprocal_rank,
        calibration=tuple([CalibrationBin(*one) for one in probable.calibration]),
        thresholds=tuple([ThresholdResult(*one) for one in probable.thresholds]),
        threshold=threshold if probable.by_threshold or sets.items else None,
        best_threshold=None if best is None else best.threshold,
        within_tolerance=_share(numbers.within(sums), tolerated),
        error_histogram=tuple([ErrorBucket(*one) for one in measured.histogram]),
        exact_match=_share(label_sets.exact(sums), sets.items),
        hamming_loss=sets.hamming_loss,
        jaccard=sets.jaccard,
        custom=custom.scores(sums),
        custom_failed=custom.failed(sums),
        **changes,
    )


def task_of(judged: int, numbers: int, sets: int) -> str | None:
    """Return the task that most of the judged items are of; None if nothing was judged.

    >>> task_of(3, 0, 0), task_of(3, 2, 0), task_of(0, 0, 0)
    ('classification', 'regression', None)
    """
    if not judged:
        return None
    if judged - numbers - sets >= max(numbers, sets):
        return "classification"
    return "regression" if numbers >= sets else "multilabel"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def model_results(
    models: Mapping[ModelKey, Counts] | Iterable[tuple[ModelKey, Counts]],
    by: str,
    rules: ModelRules = _NO_RULES,
) -> tuple[ModelResult, ...]:
    """The results of all ``models`` on the basis ``by``, sorted by their four names."""
    pairs = dict(models)
    return tuple([model_result(key, pairs[key], by, rules) for key in sorted(pairs)])
