"""Render a report as CSV: one number a row, with all digits, so that it has all numbers of the JSON."""

from collections.abc import Iterable, Iterator

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import ClassResult, MeanResult, ModelResult, Replay

COLUMNS = (
    "from", "to", "by", "namespace", "deployment", "predictor", "model",
    "metric", "class", "actual", "predicted", "value",
)  # fmt: skip
#: Characters that CSV gives a meaning, so that a field that has one stands in quotes.
_SPECIAL = frozenset(',"\r\n')
#: The scores of a class and of a mean over classes.
SCORES = MeanResult.__struct_fields__
_AREAS = ("roc_auc", "average_precision")
#: Fields of a model's result that are means of the scores over all classes.
MEANS = ("macro", "micro", "weighted")
_NAMES = ("task", *ModelKey._fields)
#: Fields of a model's result that are lists or are named by something.
_NESTED = (
    "confusion", "classes", *MEANS, "top_k_accuracy", "absolute_error_quantiles", "calibration",
    "thresholds", "error_histogram", "custom", "custom_failed", "nowcast", "drift",
    "targets",
)  # fmt: skip
#: Fields of a model's result that are one number each.
NUMBERS = tuple(
    field for field in ModelResult.__struct_fields__ if field not in (*_NAMES, *_NESTED)
)
#: Fields with a default: those that a result of labels alone does not have, and later ones. Without a
#: value they have no row.
_OPTIONAL = frozenset(
    field.name for field in msgspec.structs.fields(ModelResult) if not field.required
)
#: Of each nested list the field that tells its entries apart.
_LISTS = {"calibration": "low", "thresholds": "threshold", "error_histogram": "up_to"}


class Period(msgspec.Struct, frozen=True):
    """The results of all models in one period."""

    from_: str | None
    to: str | None
    by: str
    models: tuple[ModelResult, ...]


def render_csv(replay: Replay) -> Iterator[str]:
    """The header and the rows of a replay's results, one at a time.

    The value of an undefined number is empty; scores of probabilities, numbers and label sets have rows
    only where they have values. In the column "class" stands what such a number is of: the k, the part
    of the items, the probability, the threshold, the error, the score of a custom statistic.

    Rows that count events have no model, and the reason in the column "class".
    """
    yield line(COLUMNS)
    yield from model_rows([Period(replay.from_, replay.to, replay.by, replay.models)])
    head = (replay.from_, replay.to, replay.by, "", "", "", "")
    for name, value in msgspec.structs.asdict(replay.events).items():
        if isinstance(value, dict):
            for reason, n in value.items():
                yield line((*head, f"events_{name}", reason, "", "", n))
        else:
            yield line((*head, f"events_{name}", "", "", "", value))


def model_rows(periods: Iterable[Period]) -> Iterator[str]:
    """The rows of all models of all periods, without the header."""
    for period in periods:
        for model in period.models:
            head = (
                period.from_, period.to, period.by,
                model.namespace, model.deployment, model.predictor, model.model,
            )  # fmt: skip
            for metric, *labels, value in _numbers(model):
                yield line((*head, metric, *labels, value))


def _numbers(model: ModelResult) -> Iterator[tuple[str, str, str, str, float | None]]:
    for name in NUMBERS:
        value = getattr(model, name)
        if value is not None or name not in _OPTIONAL:
            yield name, "", "", "", value
    for mean in MEANS:
        for score in SCORES:
            scores: MeanResult = getattr(model, mean)
            yield f"{score}_{mean}", "", "", "", getattr(scores, score)
    for label, each in model.classes.items():
        for score in ClassResult.__struct_fields__:
            value = getattr(each, score)
            if value is not None or score not in _AREAS:
                yield score, label, "", "", value
    for cell in model.confusion:
        yield "confusion", "", cell.actual, cell.predicted, cell.count
    for k, share in model.top_k_accuracy.items():
        yield "top_k_accuracy", k, "", "", share
    for rank, error in model.absolute_error_quantiles.items():
        yield "absolute_error_quantile", rank, "", "", error
    for statistic, own in model.custom.items():
        for score, number in own.items():
            yield f"custom_{statistic}", score, "", "", number
    for statistic, items in model.custom_failed.items():
        yield "custom_failed", statistic, "", "", items
    yield from _late_labels(model)
    if model.targets is not None:
        for name, target in msgspec.structs.asdict(model.targets).items():
            if name != "retired_classes" and target is not None and target is not False:
                yield f"target_{name}", "", "", "", target
        for label in model.targets.retired_classes:
            yield "target_retired_class", label, "", "", 1
    for name, key in _LISTS.items():
        for entry in getattr(model, name):
            label = str(getattr(entry, key))
            for field in entry.__struct_fields__:
                if field != key:
                    yield f"{name}_{field}", label, "", "", getattr(entry, field)


def _late_labels(model: ModelResult) -> Iterator[tuple[str, str, str, str, float | None]]:
    """The nowcast, its hindcast by age, and the drift."""
    if (nowcast := model.nowcast) is not None:
        for name in ("accuracy", "accuracy_low", "accuracy_high", "fit", "expected_judged"):
            yield f"nowcast_{name}", "", "", "", getattr(nowcast, name)
        for score in SCORES:
            yield f"nowcast_{score}_macro", "", "", "", getattr(nowcast.macro, score)
        for label, each in nowcast.classes.items():
            for field in each.__struct_fields__:
                yield f"nowcast_{field}", label, "", "", getattr(each, field)
        for past in nowcast.hindcast:
            for field in past.__struct_fields__[1:]:
                yield f"hindcast_{field}", past.age, "", "", getattr(past, field)
    if model.drift is not None:
        for field in model.drift.__struct_fields__:
            yield f"drift_{field}", "", "", "", getattr(model.drift, field)


def line(values: Iterable[object]) -> str:
    """One row of CSV with its line feed."""
    return ",".join(map(_field, values)) + "\n"


def _field(value: object) -> str:
    """The text of a value, in quotes where a reader would take a part of it for CSV.

    Python's own writer leaves a carriage return unquoted before 3.13, which ends a row for most readers.

    >>> [_field(value) for value in ("a", "a,b", 0.5, None)]
    ['a', '"a,b"', '0.5', '']
    """
    text = "" if value is None else str(value)
    if _SPECIAL.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
