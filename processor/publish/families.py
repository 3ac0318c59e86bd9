"""The metric families of models: names, HELP texts, labels and values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import Ratios, scores
from processor.domain.tally.windows import Window
from processor.publish.cardinality import class_sizes, merge_cells, shown_labels

#: Labels of every model family; the values are those of `Row.labels`.
LABELS = ("deployment_namespace", "deployment", "predictor", "model", "window", "by")


class Family(NamedTuple):
    """A family of gauges. Its samples have the labels `LABELS`, then its own ``labels``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a family; ``labels`` are the values of the family's own labels."""

    family: str
    labels: tuple[str, ...]
    value: float


class Row(NamedTuple):
    """The counts of one model in one window on one basis; ``cells`` tells whether the cells of its
    confusion matrix are published."""

    key: ModelKey
    window: str
    by: str
    counts: Counts
    cells: bool

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
        "Judged items that are wrong and whose actual label is unknown; they are in no class and cell.",
    ),
    "model_rewards": ("rewards", "Feedback with a reward."),
    "model_reward_disagreements": (
        "disagreements",
        "Feedback whose reward and truth contradict each other.",
    ),
}
#: Families of scores of a whole model: the field of `Scores`, and the HELP text.
_RATIOS = {
    "model_accuracy_ratio": ("accuracy", "Accuracy: correct items divided by judged items."),
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
        "Mean reward: sum of the rewards divided by the number of feedback with a reward.",
    ),
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

#: All families, in the order in which they are published.
FAMILIES = (
    Family("model_predictions", "Predicted items."),
    *(Family(name, text) for name, (_, text) in _COUNTS.items()),
    Family(
        "model_confusion_cells",
        "Confusion matrix: items by actual and predicted label; cells of 0 items are absent.",
        ("actual", "predicted"),
    ),
    *(Family(name, text) for name, (_, text) in _RATIOS.items()),
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
)


def model_rows(
    counts_by_window: Mapping[tuple[str, str], Mapping[ModelKey, Counts]],
    metrics_by: Sequence[str],
    cell_windows: Sequence[Window],
) -> Iterator[Row]:
    """Yield the rows of the bases ``metrics_by``, in a fixed order.

    The counts may change between two rows: a model that has left them by then is skipped. The cells
    are published for ``cell_windows`` only.
    """
    with_cells = {window.name for window in cell_windows}
    for (window, by), models in tuple(counts_by_window.items()):
        if by not in metrics_by:
            continue
        for key in sorted(models):
            counts = models.get(key)
            if counts is not None:
                yield Row(key, window, by, counts, window in with_cells)


def row_samples(row: Row, max_classes: int) -> tuple[list[Sample], int]:
    """All samples of a row, and the number of labels beyond ``max_classes`` that they leave out.

    Undefined scores (0/0) have no sample.
    """
    counts = row.counts
    derived = scores(counts)
    samples = [Sample(name, (), getattr(counts, field)) for name, (field, _) in _COUNTS.items()]
    if row.by == "request":
        samples.append(Sample("model_predictions", (), counts.predictions))
        if derived.coverage is not None:
            samples.append(Sample("model_feedback_coverage_ratio", (), derived.coverage))
    for name, (field, _) in _RATIOS.items():
        value = getattr(derived, field)
        if value is not None:
            samples.append(Sample(name, (), value))
    for average, names in _MEAN_NAMES.items():
        samples += _defined(names, (), getattr(derived, average))

    shown = shown_labels(class_sizes(derived.classes), max_classes)
    for label, score in derived.classes.items():
        if label in shown:
            samples += _defined(_CLASS_NAMES, (label,), score.ratios)
    hidden = len(derived.classes) - len(shown)
    if row.cells:
        cells = merge_cells(counts.cells.items(), shown) if hidden else counts.cells
        samples += [Sample("model_confusion_cells", cell, n) for cell, n in cells.items() if n > 0]
    return samples, hidden


def _defined(names: Sequence[str], labels: tuple[str, ...], ratios: Ratios) -> list[Sample]:
    return [
        Sample(name, labels, value)
        for name, value in zip(names, ratios, strict=True)
        if value is not None
    ]
