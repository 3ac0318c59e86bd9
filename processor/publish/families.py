"""The metric families of models: names, labels and values. How they are written is others' work."""

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
    """A family of gauges; ``labels`` come after `LABELS`."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """A value of a family; ``labels`` are the values of the family's own labels."""

    family: str
    labels: tuple[str, ...]
    value: float


class Row(NamedTuple):
    """The counts of one model in one window on one basis, and whether its cells are published."""

    key: ModelKey
    window: str
    by: str
    counts: Counts
    cells: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """Values of `LABELS`."""
        return (*self.key, self.window, self.by)


_COUNTS = {
    "model_judged": ("judged", "Predicted items with an outcome, right or wrong."),
    "model_correct": ("correct", "Judged items that were right."),
    "model_unknown_actual": (
        "unknown_actual",
        "Judged items, all wrong, whose actual label is not known: in no class and no cell.",
    ),
    "model_rewards": ("rewards", "Feedbacks with a reward."),
    "model_reward_disagreements": (
        "disagreements",
        "Feedbacks whose reward and truth contradict each other.",
    ),
}
_RATIOS = {
    "model_accuracy_ratio": ("accuracy", "Correct by judged items."),
    "model_accuracy_low_ratio": ("accuracy_low", "Low end of accuracy's 95 % Wilson interval."),
    "model_accuracy_high_ratio": ("accuracy_high", "High end of accuracy's 95 % Wilson interval."),
    "model_reward_mean": ("reward_mean", "Mean reward of the feedbacks that have one."),
    "model_mcc": ("mcc", "Matthews' correlation over items with a known actual label."),
    "model_kappa": ("kappa", "Cohen's kappa over items with a known actual label."),
}
_AVERAGES = {
    "macro": "plain mean over the classes",
    "micro": "over the summed classes",
    "weighted": "mean over the classes weighted by support",
}
_SCORES = {
    "precision": "Right among the items predicted as the class",
    "recall": "Right among the items of the class",
    "specificity": "Among the items of other classes those not predicted as the class",
    "f1": "Harmonic mean of precision and recall",
}
_CLASS_NAMES = tuple(f"model_{score}_ratio" for score in _SCORES)
_MEAN_NAMES = {
    average: tuple(f"model_{score}_{average}_ratio" for score in _SCORES) for average in _AVERAGES
}

#: In the order of publishing.
FAMILIES = (
    Family("model_predictions", "Predicted items."),
    *(Family(name, text) for name, (_, text) in _COUNTS.items()),
    Family(
        "model_confusion_cells",
        "Items by actual and predicted label; only those above 0.",
        ("actual", "predicted"),
    ),
    *(Family(name, text) for name, (_, text) in _RATIOS.items()),
    Family("model_feedback_coverage_ratio", "Judged by predicted items."),
    *(Family(f"model_{score}_ratio", f"{text}.", ("class",)) for score, text in _SCORES.items()),
    *(
        Family(f"model_{score}_{average}_ratio", f"{text}; {how}.")
        for average, how in _AVERAGES.items()
        for score, text in _SCORES.items()
    ),
)


def board_rows(
    board: Mapping[tuple[str, str], Mapping[ModelKey, Counts]],
    metrics_by: Sequence[str],
    cell_windows: Sequence[Window],
) -> Iterator[Row]:
    """The rows to publish, in a fixed order. The board may change between two of them: a model that
    has left it is left out."""
    with_cells = {window.name for window in cell_windows}
    for (window, by), models in tuple(board.items()):
        if by not in metrics_by:
            continue
        for key in sorted(models):
            counts = models.get(key)
            if counts is not None:
                yield Row(key, window, by, counts, window in with_cells)


def row_samples(row: Row, max_classes: int) -> tuple[list[Sample], int]:
    """Every sample of a row, and how many labels it leaves out. Undefined scores are absent."""
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
