"""The metric families of the estimates while labels are late (counting rules 30 to 32)."""

from collections.abc import Iterator

from processor.domain.nowcast_result import expected_classes
from processor.domain.statistics.nowcast import Nowcast
from processor.domain.tally.estimates import Estimates
from processor.publish.cardinality import OTHER, class_sizes, shown_labels
from processor.publish.family import Family, Sample, defined, families_of

#: Families of the nowcast: the field of `Nowcast`, and the HELP text.
_NOWCAST = {
    "model_accuracy_nowcast_ratio": (
        "accuracy",
        "Nowcast of accuracy: expected right items divided by expected items, once all labels "
        "are in; the expected items of an outcome are its judged items / the share of its labels "
        "that has arrived.",
    ),
    "model_accuracy_nowcast_low_ratio": (
        "accuracy_low",
        "Lower bound of the 95 % interval of the nowcast of accuracy: nowcast - 1.96 * standard error.",
    ),
    "model_accuracy_nowcast_high_ratio": (
        "accuracy_high",
        "Upper bound of the 95 % interval of the nowcast of accuracy: nowcast + 1.96 * standard error.",
    ),
    "model_absolute_error_nowcast": (
        "mae",
        "Nowcast of the mean absolute error of numbers: mean of the mean errors of classes of "
        "|error|, weighted by the items expected in each class once all truths are in.",
    ),
    "model_absolute_error_nowcast_low": (
        "mae_low",
        "Lower bound of the 95 % interval of the nowcast of the mean absolute error: nowcast - 1.96 * "
        "standard error.",
    ),
    "model_absolute_error_nowcast_high": (
        "mae_high",
        "Upper bound of the 95 % interval of the nowcast of the mean absolute error: nowcast + 1.96 * "
        "standard error.",
    ),
    "model_nowcast_fit_ratio": (
        "fit",
        "Fit of the nowcast: items expected from the labels that have arrived, divided by "
        "(predicted items * judged share of older predictions); 1 while labels come at the usual "
        "pace.",
    ),
}
#: Families of the hindcast: the field of `Hindcast`, and the HELP text.
_HINDCAST = {
    "model_nowcast_error_ratio": (
        "mean_error",
        "Error of the nowcast at an age: mean, over days with all labels, of nowcast - final "
        "accuracy; for numbers, of (nowcast - final) / final mean absolute error.",
    ),
    "model_nowcast_interval_coverage_ratio": (
        "coverage",
        "Coverage of the nowcast's intervals at an age: days whose interval contained the final "
        "accuracy (for numbers the final mean absolute error), divided by days with all labels.",
    ),
}
#: Families of the drift: the field of `Drift`, and the HELP text.
_DRIFT = {
    "model_prediction_jensen_shannon_distance": (
        "jensen_shannon",
        "Drift of predictions: Jensen-Shannon distance sqrt((KL(p, m) + KL(q, m)) / 2), base 2, "
        "where p are the shares of the predicted labels, q their shares in the same length of "
        "time before, and m = (p + q) / 2.",
    ),
    "model_prediction_distance_by_chance": (
        "by_chance",
        "Distance that chance alone stays below in 95 % of cases, if the predictions have not "
        "changed: sqrt(chi2.95(k - 1) * (1/n1 + 1/n2) / (8 ln 2)), for k labels and n1 and n2 "
        "items.",
    ),
}
_CLASS, _AGE = ("class",), ("age",)

FAMILIES = (
    *families_of(_NOWCAST),
    Family(
        "model_recall_nowcast_ratio",
        "Nowcast of recall: TP / (TP + FN), per class, of the items expected once all labels are "
        "in.",
        _CLASS,
    ),
    Family(
        "model_precision_nowcast_ratio",
        "Nowcast of precision: TP / (TP + FP), per class, of the items expected once all labels "
        "are in.",
        _CLASS,
    ),
    Family(
        "model_feedback_expected_ratio",
        "Expected feedback coverage: items that would be judged by now at the usual pace of "
        "labels, divided by predicted items.",
    ),
    *families_of(_HINDCAST, _AGE),
    Family(
        "model_predicted_items",
        "Predicted items by predicted label; the window is taken in whole hours.",
        _CLASS,
    ),
    *families_of(_DRIFT),
)
#: The histogram of a model's delays; its samples have the model's names, without window and basis.
DELAYS = Family(
    "model_feedback_delay_seconds",
    "Judged items of all time by the delay of their feedback: time of feedback - time of prediction.",
    ("le",),
)


def estimate_samples(estimates: Estimates, max_classes: int) -> tuple[list[Sample], int]:
    """Return all samples of a model's estimates in a window, with ``max_classes`` labels at most, and
    the number of labels that they leave out. A nowcast that is withheld has no sample."""
    nowcast = estimates.nowcast
    samples = [*defined(_NOWCAST, nowcast), *_expected(nowcast)]
    classes = expected_classes(nowcast.cells)
    shown = shown_labels(class_sizes(classes), max_classes)
    for label, score in classes.items():
        if label in shown:
            samples += _defined("model_recall_nowcast_ratio", label, score.ratios.recall)
            samples += _defined("model_precision_nowcast_ratio", label, score.ratios.precision)
    for each in estimates.hindcast:
        samples += defined(_HINDCAST, each, (each.age,))
    predicted = {label: items for label, items in estimates.predicted.items() if items > 0}
    large = shown_labels(predicted, max_classes)
    merged: dict[str, int] = {}
    for label, items in predicted.items():
        name = label if label in large else OTHER
        merged[name] = merged.get(name, 0) + items
    samples += [Sample("model_predicted_items", (name,), items) for name, items in merged.items()]
    if estimates.drift is not None:
        samples += defined(_DRIFT, estimates.drift)
    return samples, max(len(classes) - len(shown), len(predicted) - len(large))


def _expected(nowcast: Nowcast) -> Iterator[Sample]:
    if nowcast.expected_judged is not None and nowcast.predicted > 0:
        ratio = nowcast.expected_judged / nowcast.predicted
        yield Sample("model_feedback_expected_ratio", (), ratio)


def _defined(name: str, label: str, value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield Sample(name, (label,), value)
