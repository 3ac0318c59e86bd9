"""The metric families that alert rules need beside those of the windows: what the models file expects of
a model, and counts of recent windows whatever PROCESSOR_WINDOWS is."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import Targets
from processor.domain.statistics.counts import BASES, Cell
from processor.domain.statistics.labels import decided
from processor.domain.tally.recent import RecentCounts
from processor.publish.cardinality import shown_labels
from processor.publish.family import Family, Sample, defined, families_of
from processor.setting_values import METRIC_GROUPS

#: Families of the models file: the field of `Targets`, and the HELP text. Their samples have the model's
#: names, without window and basis.
_TARGETS = {
    "model_floor_ratio": ("floor", "Lowest accuracy that the models file allows (floor)."),
    "model_max_error": (
        "max_error",
        "Highest mean absolute error that the models file allows (max_error).",
    ),
    "model_feedback_every_seconds": (
        "feedback_every",
        "Longest time without feedback that the models file allows (feedback_every).",
    ),
    "model_min_coverage_ratio": (
        "min_coverage",
        "Lowest feedback coverage that the models file allows (min_coverage).",
    ),
    "model_retired": ("retired", "1 for a model that the models file calls retired."),
}
_CLASS_ITEMS, _RETIRED_CLASS = "model_class_items", "model_class_retired"
#: Families of a model's rhythm: the field of `RecentCounts`, and the HELP text. Their samples have the
#: model's names alone too.
_RHYTHM = {
    "model_last_prediction_timestamp_seconds": (
        "last_prediction",
        "Time of the newest prediction in seconds since 1970, rounded down to its minute; to its "
        "hour or day if it is older than a day.",
    ),
    "model_last_feedback_timestamp_seconds": (
        "last_feedback",
        "Time of the newest feedback that judged an item in seconds since 1970, rounded down to "
        "its minute; to its hour or day if it is older than a day.",
    ),
    "model_feedback_pause_seconds": (
        "longest_pause",
        "Longest pause of feedback in seconds: between two hours with feedback in the last 31 "
        "days, or from the first prediction to the first feedback.",
    ),
}

FAMILIES = (
    *families_of(_TARGETS),
    Family(_RETIRED_CLASS, "1 for a class that the models file calls retired.", ("class",)),
    *families_of(_RHYTHM),
    Family("model_recent_predictions", "Predicted items, in windows of 24h, 7d and 30d."),
    Family(
        "model_recent_judged",
        "Predicted items with an outcome, correct or wrong, in windows of 24h, 7d and 30d.",
    ),
    Family(
        "model_recent_correct",
        "Judged items that are correct, in windows of 24h, 7d and 30d; absent for a model of numbers "
        "without tolerance.",
    ),
    Family(
        _CLASS_ITEMS,
        "Judged items per class, in windows of 24h and 30d, by kind: actual (TP + FN), predicted "
        "(TP + FP) and right (TP).",
        ("class", "kind"),
    ),
)
#: The windows of class items, the longest first.
_CLASS_WINDOWS = ("30d", "24h")

#: Samples, and the values of their first labels.
Labelled = tuple[tuple[str, ...], list[Sample]]


def target_samples(targets: Targets) -> list[Sample]:
    """Return a sample of each expectation that a model has."""
    classes = [Sample(_RETIRED_CLASS, (label,), 1.0) for label in targets.retired_classes]
    return classes + [
        Sample(name, (), float(value))
        for name, (field, _) in _TARGETS.items()
        if (value := getattr(targets, field)) is not None and value is not False
    ]


def recent_samples(
    key: ModelKey,
    recent: RecentCounts,
    max_classes: int,
    groups: Collection[str] = METRIC_GROUPS,
) -> Iterator[Labelled]:
    """Yield the samples of a model's recent windows, with ``max_classes`` classes at most: the largest
    of 30 days, so that a class that vanished has samples of 0."""
    yield key, list(defined(_RHYTHM, recent))
    whole = recent.of_all_time
    is_scored = whole is not None and decided(whole) == whole.judged
    for window, both in recent.windows.items():
        for by, counts in zip(BASES, both, strict=True):
            samples = [Sample("model_recent_judged", (), counts.judged)]
            if by == "request":
                samples.append(Sample("model_recent_predictions", (), counts.predictions))
            if is_scored:
                samples.append(Sample("model_recent_correct", (), counts.correct))
            yield (*key, window, by), samples
    if "labels" in groups:
        shown: frozenset[str] | None = None
        for window in _CLASS_WINDOWS:
            items = _items_by_kind(recent.windows[window][1].cells)
            if shown is None:
                sizes = items["actual"] + items["predicted"]
                shown = shown_labels(sizes, max_classes)
            samples = [
                Sample(_CLASS_ITEMS, (label, kind), of_kind[label])
                for label in sorted(shown)
                for kind, of_kind in items.items()
            ]
            yield (*key, window, "feedback"), samples


def _items_by_kind(cells: Mapping[Cell, int]) -> dict[str, Counter[str]]:
    """The items of each class by actual label, by predicted label, and of both."""
    actual, predicted, right = Counter[str](), Counter[str](), Counter[str]()
    for (a, p), items in cells.items():
        actual[a] += items
        predicted[p] += items
        if a == p:
            right[a] += items
    return {"actual": actual, "predicted": predicted, "right": right}
