"""The metric families of probabilities, numbers and label sets (counting rules 24 to 29)."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from processor.domain.statistics import label_sets, numbers, probabilities
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.label_sets import SetScores
from processor.domain.statistics.labels import ratio
from processor.domain.statistics.numbers import NumberScores
from processor.domain.statistics.probabilities import ProbabilityScores
from processor.publish.family import Family, Sample, defined, families_of

#: Families of scores of all classes together: the field of `ProbabilityScores`, and the HELP text.
_PROBABILITIES = {
    "model_brier_score": (
        "brier_score",
        "Brier score: mean of (p - y)^2, where p is the probability of a class and y is 1 if "
        "that class is the actual one, else 0; of two classes for the second one, of more summed "
        "over all.",
    ),
    "model_log_loss": (
        "log_loss",
        "Log loss: mean of -ln(p), where p is the probability of the actual class.",
    ),
    "model_calibration_error_ratio": (
        "calibration_error",
        "Expected calibration error: sum over 64 bins of |right items - sum of p|, divided by "
        "all items, where p is the probability of the predicted class.",
    ),
    "model_reciprocal_rank_mean": (
        "reciprocal_rank",
        "Mean reciprocal rank: mean of 1 / rank of the actual class, the most probable class first.",
    ),
}
#: Families of one class against the others: the field of `ClassCurve`, and the HELP text.
_CURVES = {
    "model_roc_auc": (
        "roc_auc",
        "ROC AUC of a class: share of the pairs of an item of the class and an item of another class in "
        "which the first has the higher p; pairs in the same one of 64 bins count half; of two classes "
        "for the second one only.",
    ),
    "model_roc_auc_error_bound": (
        "roc_auc_error_bound",
        "Largest possible error of model_roc_auc because probabilities are kept in bins: pairs "
        "in the same bin / (2 * all pairs).",
    ),
    "model_average_precision": (
        "average_precision",
        "Average precision of a class: sum over 64 bins of its probability, the highest first, "
        "of (recall - recall at the bin before) * precision; of two classes for the second one "
        "only.",
    ),
}
#: Families of numbers: the field of `NumberScores`, and the HELP text. p is a prediction, y the truth.
_NUMBERS = {
    "model_error_mean": ("bias", "Bias: mean of predicted - actual."),
    "model_absolute_error_mean": ("mae", "Mean absolute error: mean of |predicted - actual|."),
    "model_absolute_error_mean_low": (
        "mae_low",
        "Lower bound of the 95 % normal interval of the mean absolute error: mean - 1.96 * standard "
        "deviation / sqrt(items).",
    ),
    "model_absolute_error_mean_high": (
        "mae_high",
        "Upper bound of the 95 % normal interval of the mean absolute error: mean + 1.96 * standard "
        "deviation / sqrt(items).",
    ),
    "model_error_root_mean_square": (
        "rmse",
        "Root mean square error: sqrt(mean of (predicted - actual)^2).",
    ),
    "model_r_squared": (
        "r2",
        "Coefficient of determination (R2): 1 - sum of (predicted - actual)^2 / sum of (actual - mean "
        "actual)^2.",
    ),
    "model_correlation": (
        "correlation",
        "Pearson correlation: cov(actual, predicted) / sqrt(var(actual) * var(predicted)).",
    ),
    "model_absolute_percentage_error_ratio": (
        "mape",
        "Mean absolute percentage error: mean of |predicted - actual| / |actual|, over items whose "
        "actual number is not 0.",
    ),
    "model_weighted_absolute_percentage_error_ratio": (
        "wape",
        "Weighted absolute percentage error: sum of |predicted - actual| / sum of |actual|.",
    ),
    "model_actual_mean": ("mean_actual", "Mean of the actual numbers."),
    "model_predicted_mean": ("mean_predicted", "Mean of the predicted numbers that were judged."),
}
#: Families of label sets: the field of `SetScores`, and the HELP text.
_SETS = {
    "model_hamming_loss_ratio": (
        "hamming_loss",
        "Hamming loss: (FP + FN over all labels) / (items * number of different labels seen).",
    ),
    "model_jaccard_mean": (
        "jaccard",
        "Mean Jaccard index: mean over the items of (labels both predicted and actual) / (labels "
        "predicted or actual); 1 for an item with neither.",
    ),
}

#: Label of the class, which is absent where there are two: the scores are those of the second.
_CLASS = ("class",)

FAMILIES = (
    *families_of(_PROBABILITIES),
    *families_of(_CURVES, _CLASS),
    Family(
        "model_top_k_accuracy_ratio",
        "Top-k accuracy: items whose actual class is among the k most probable ones, divided by "
        "items with probabilities.",
        ("k",),
    ),
    Family("model_measured", "Judged items that are numbers."),
    *families_of(_NUMBERS),
    Family(
        "model_within_tolerance_ratio",
        "Share within tolerance: items whose |predicted - actual| is within the tolerance of the "
        "models file, divided by items with a tolerance.",
    ),
    Family(
        "model_absolute_error_bound",
        "Quantile of |predicted - actual|: the smallest upper edge of a bucket such that at "
        "least the share rank of the items has an error up to it.",
        ("rank",),
    ),
    Family(
        "model_exact_match_ratio",
        "Exact matches: items whose set of predicted labels equals the set of actual labels, "
        "divided by items with label sets.",
    ),
    *families_of(_SETS),
)


class ValueScores(NamedTuple):
    """The scores of probabilities, numbers and label sets of some counts."""

    probabilities: ProbabilityScores
    numbers: NumberScores
    sets: SetScores


def value_scores(counts: Counts) -> ValueScores:
    """Return the scores that the sums of some counts give."""
    cells = counts.cells
    # A scrape looks at hundreds of sums of each model: not for what it has none of.
    only_labels = counts.unknown_actual + sum(cells.values()) == counts.judged
    sums = {} if only_labels else counts.sums
    return ValueScores(
        probabilities.scores(counts.sums_by_kind()) if cells else probabilities.NONE,
        numbers.NONE if only_labels else numbers.scores(sums),
        label_sets.NONE if only_labels else label_sets.scores(sums),
    )


def labelled_items(counts: Counts, found: ValueScores) -> int:
    """Return how many items were judged by one label."""
    return counts.judged - found.numbers.items - found.sets.items


def value_samples(
    counts: Counts, found: ValueScores, shown: frozenset[str], groups: Collection[str]
) -> list[Sample]:
    """All samples of the groups "probabilities", "numbers" and "sets", with classes in ``shown`` only.

    Undefined scores (0/0) have no sample.
    """
    samples: list[Sample] = []
    if "probabilities" in groups:
        samples += _probability_samples(found.probabilities, shown)
    if "numbers" in groups and found.numbers.items:
        samples.append(Sample("model_measured", (), found.numbers.items))
        samples += defined(_NUMBERS, found.numbers)
        samples += _by("model_absolute_error_bound", found.numbers.absolute_error_quantiles)
        sums = counts.sums
        within = ratio(numbers.within(sums), numbers.tolerance_items(sums))
        if within is not None:
            samples.append(Sample("model_within_tolerance_ratio", (), within))
    if "sets" in groups and found.sets.items:
        exact = label_sets.exact(counts.sums) / found.sets.items
        samples.append(Sample("model_exact_match_ratio", (), exact))
        samples += defined(_SETS, found.sets)
    return samples


def _probability_samples(found: ProbabilityScores, shown: frozenset[str]) -> Iterator[Sample]:
    yield from defined(_PROBABILITIES, found)
    yield from _by("model_top_k_accuracy_ratio", found.top_k_accuracy)
    if found.second is not None:
        yield from defined(_CURVES, found)
        return
    for label, curve in found.classes.items():
        if label in shown:
            yield from defined(_CURVES, curve, (label,))


def _by(name: str, values: Mapping[str, float]) -> Iterator[Sample]:
    return (Sample(name, (label,), value) for label, value in values.items())
