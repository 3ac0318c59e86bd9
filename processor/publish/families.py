"""The metric families of models: names, HELP texts, labels and values.

Those of the counts, of accuracy and of rewards are always published; the others belong to one of the
groups of PROCESSOR_METRICS. The families of classes are of the group "labels", and of the group "sets"
for a model of label sets.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from processor.domain.model_key import ModelKey
from processor.domain.statistics import custom
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import Ratios, Scores, macro, micro, scores, weighted
from processor.domain.tally.estimates import Estimates
from processor.domain.tally.windows import Window
from processor.publish import alert_families, value_families
from processor.publish.cardinality import class_sizes, merge_cells, shown_labels
from processor.publish.estimates import families as estimate_families
from processor.publish.estimates.families import estimate_samples
from processor.publish.estimates.live import ModelEstimates
from processor.publish.family import Family, Sample, defined, families_of
from processor.publish.value_families import (
    ValueScores,
    labelled_items,
    value_samples,
    value_scores,
)
from processor.setting_values import METRIC_GROUPS

#: Labels of every model family; the values are those of `Row.labels`.
LABELS = ("deployment_namespace", "deployment", "predictor", "model", "window", "by")


class Row(NamedTuple):
    """The counts of one model in one window on one basis; ``cells`` tells whether the cells of its
    confusion matrix are published. ``estimates`` are those while labels are late, if there are any."""

    key: ModelKey
    window: str
    by: str
    counts: Counts
    cells: bool
    estimates: Estimates | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of `LABELS`."""
        return (*self.key, self.window, self.by)


#: Families of plain counts: the field of `Counts`, and the HELP text.
_COUNTS = {
    "model_judged": ("judged", "Predicted items with an outcome, correct or wrong."),
    "model_correct": ("correct", "Judged items that are correct."),
    "model_unknown_actual": (
        "unknown_actual",
        "Judged items that are wrong and whose actual label is unknown; they are in no class and "
        "in no cell of the confusion matrix.",
    ),
    "model_rewards": ("rewards", "Feedbacks that have a reward."),
    "model_reward_disagreements": (
        "disagreements",
        "Feedbacks whose reward and truth contradict each other.",
    ),
}
#: Families of scores of a whole model that are always published: the field of `Scores`, and the HELP
#: text.
_RATIOS = {
    "model_accuracy_ratio": (
        "accuracy",
        "Accuracy: correct items divided by judged items; numbers without a tolerance are left "
        "out of both.",
    ),
    "model_accuracy_low_ratio": (
        "accuracy_low",
        "Lower bound of the 95 % Wilson score interval of accuracy.",
    ),
    "model_accuracy_high_ratio": (
        "accuracy_high",
        "Upper bound of the 95 % Wilson score interval of accuracy.",
    ),
    "model_reward_mean": (
        "reward_mean",
        "Mean reward: sum of the rewards divided by the number of feedbacks that have one.",
    ),
}
#: Families of scores of labels, in the group of that name: the field of `Scores`, and the HELP text.
_AGREEMENT = {
    "model_mcc": (
        "mcc",
        "Matthews correlation coefficient: cov(actual, predicted) / sqrt(cov(actual, actual) * "
        "cov(predicted, predicted)), over items with a known actual label.",
    ),
    "model_kappa": (
        "kappa",
        "Cohen's kappa: (observed agreement - chance agreement) / (1 - chance agreement), over items "
        "with a known actual label.",
    ),
}
#: Scores of a class: the name in prose, and the formula.
_SCORES = {
    "precision": ("precision", "TP / (TP + FP)"),
    "recall": ("recall", "TP / (TP + FN)"),
    "specificity": ("specificity", "TN / (TN + FP)"),
    "f1": ("F1", "2 TP / (2 TP + FP + FN)"),
}
#: Averages of a score over the classes, as templates of the HELP text.
_AVERAGES = {
    "macro": "Macro {score}: unweighted mean over the classes of {formula}.",
    "micro": "Micro {score}: {formula}, with TP, FP, TN and FN summed over the classes.",
    "weighted": "Weighted {score}: mean over the classes of {formula}, weighted by TP + FN.",
}
_CLASS_NAMES = tuple(f"model_{score}_ratio" for score in _SCORES)
_MEAN_NAMES = {
    average: tuple(f"model_{score}_{average}_ratio" for score in _SCORES) for average in _AVERAGES
}

#: All families but those of custom statistics, in the order in which they are published.
FAMILIES = (
    Family("model_predictions", "Predicted items."),
    *families_of(_COUNTS),
    Family(
        "model_confusion_cells",
        "Confusion matrix: items by actual and predicted label; cells of 0 items are absent.",
        ("actual", "predicted"),
    ),
    *families_of(_RATIOS | _AGREEMENT),
    Family(
        "model_feedback_coverage_ratio",
        "Feedback coverage: judged items divided by predicted items.",
    ),
    *(
        Family(f"model_{key}_ratio", f"{name.capitalize()}: {formula}, per class.", ("class",))
        for key, (name, formula) in _SCORES.items()
    ),
    *(
        Family(f"model_{key}_{average}_ratio", text.format(score=name, formula=formula))
        for average, text in _AVERAGES.items()
        for key, (name, formula) in _SCORES.items()
    ),
    *value_families.FAMILIES,
    *estimate_families.FAMILIES,
    *alert_families.FAMILIES,
)

#: The counters, without "_total". Their samples have the model's names, without window and basis.
COUNTERS = (
    Family(
        "model_outcomes",
        "Items ever counted as right or wrong: items that are so now + items of "
        "model_outcomes_retracted_total; numbers without a tolerance are neither.",
        ("verdict",),
    ),
    Family(
        "model_outcomes_retracted",
        "Items that were counted as right or wrong and no longer are, because a later feedback "
        "or prediction replaced the one that counted.",
        ("verdict",),
    ),
)

#: The own labels of a family of a custom statistic.
CUSTOM_LABELS = ("score",)


def all_families() -> tuple[Family, ...]:
    """All families, in the order in which they are published; last those of the custom statistics
    that the models file names now."""
    own = custom.registry.published.values()
    families = [
        Family(_CUSTOM + each.name, each.help.replace("\\", r"\\"), CUSTOM_LABELS) for each in own
    ]
    return (*FAMILIES, *families)


_CUSTOM = "model_custom_"
_NO_ESTIMATES: Mapping[ModelKey, ModelEstimates] = {}


class RowSamples(NamedTuple):
    """The samples of a row; ``hidden`` is the number of labels that they leave out, ``mixed`` whether
    the row has items judged as numbers and others judged by a label."""

    samples: list[Sample]
    hidden: int
    mixed: bool


def model_rows(
    counts_by_window: Mapping[tuple[str, str], Mapping[ModelKey, Counts]],
    metrics_by: Sequence[str],
    cell_windows: Sequence[Window],
    estimates: Mapping[ModelKey, ModelEstimates] = _NO_ESTIMATES,
) -> Iterator[Row]:
    """Yield the rows of the bases ``metrics_by``, in a fixed order; those of requests with the model's
    ``estimates``.

    The counts may change between two rows: a model that has left them by then is skipped. The cells
    are published for ``cell_windows`` only.
    """
    with_cells = {window.name for window in cell_windows}
    for (window, by), models in tuple(counts_by_window.items()):
        if by not in metrics_by:
            continue
        for key in sorted(models):
            counts = models.get(key)
            if counts is None:
                continue
            found = estimates.get(key) if by == "request" else None
            late = None if found is None else found.by_window.get(window)
            yield Row(key, window, by, counts, window in with_cells, late)


def row_samples(row: Row, max_classes: int, groups: Collection[str] = METRIC_GROUPS) -> RowSamples:
    """All samples of a row of the families in ``groups``, with ``max_classes`` labels at most.

    Undefined scores (0/0) have no sample.
    """
    counts = row.counts
    derived = scores(counts)
    samples = [Sample(name, (), getattr(counts, field)) for name, (field, _) in _COUNTS.items()]
    if row.by == "request":
        samples.append(Sample("model_predictions", (), counts.predictions))
        if derived.coverage is not None:
            samples.append(Sample("model_feedback_coverage_ratio", (), derived.coverage))
    samples += defined(_RATIOS, derived)

    class_group, found, mixed = "labels", None, False
    if counts.has_sums:
        found = value_scores(counts)
        labelled = labelled_items(counts, found)
        mixed = labelled > 0 and found.numbers.items > 0
        if found.sets.items and not labelled:
            class_group, derived = "sets", _of_sets(derived, found)
    shown = shown_labels(class_sizes(derived.classes), max_classes)
    hidden = len(derived.classes) - len(shown)
    if class_group in groups:
        samples += _class_samples(derived, shown)
    if "labels" in groups:
        samples += defined(_AGREEMENT, derived)
        if row.cells:
            cells = merge_cells(counts.cells.items(), shown) if hidden else counts.cells
            samples += [
                Sample("model_confusion_cells", cell, n) for cell, n in cells.items() if n > 0
            ]
    if found is not None:
        samples += value_samples(counts, found, shown, groups)
        if "custom" in groups:
            samples += [
                Sample(_CUSTOM + name, (score,), value)
                for name, scores_of in custom.scores(counts.sums).items()
                for score, value in scores_of.items()
                if value is not None
            ]
    if row.estimates is not None and "nowcast" in groups:
        late, left_out = estimate_samples(row.estimates, max_classes)
        samples += late
        hidden = max(hidden, left_out)
    return RowSamples(samples, hidden, mixed)


def _of_sets(derived: Scores, found: ValueScores) -> Scores:
    """Scores with the classes of label sets."""
    classes = found.sets.classes
    return derived._replace(
        classes=classes, macro=macro(classes), micro=micro(classes), weighted=weighted(classes)
    )


def _class_samples(derived: Scores, shown: frozenset[str]) -> Iterator[Sample]:
    for average, names in _MEAN_NAMES.items():
        yield from _ratio_samples(names, (), getattr(derived, average))
    for label, score in derived.classes.items():
        if label in shown:
            yield from _ratio_samples(_CLASS_NAMES, (label,), score.ratios)


def _ratio_samples(names: Sequence[str], labels: tuple[str, ...], ratios: Ratios) -> list[Sample]:
    return [
        Sample(name, labels, value)
        for name, value in zip(names, ratios, strict=True)
        if value is not None
    ]
