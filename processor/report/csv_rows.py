"""A report as CSV: one number a row, exact to the last digit, so that nothing of the JSON is lost."""

import csv
import io
from collections.abc import Iterable, Iterator

import msgspec

from processor.domain.results import ClassResult, MeanResult, ModelResult, Replay

COLUMNS = (
    "from", "to", "by", "namespace", "deployment", "predictor", "model",
    "metric", "class", "actual", "predicted", "value",
)  # fmt: skip
_SCORES = ("precision", "recall", "specificity", "f1")
_MEANS = ("macro", "micro", "weighted")
#: Fields of a model that are one number each.
_NUMBERS = tuple(
    field
    for field in ModelResult.__struct_fields__
    if field
    not in ("namespace", "deployment", "predictor", "model", "confusion", "classes", *_MEANS)
)


class Rows(msgspec.Struct, frozen=True):
    """The models of one period."""

    from_: str | None
    to: str | None
    by: str
    models: tuple[ModelResult, ...]


def render_csv(replay: Replay) -> Iterator[str]:
    """Header and rows, in pieces. An undefined number is an empty value; rows of the events have no
    model, and their reason as class."""
    yield line(COLUMNS)
    yield from model_rows([Rows(replay.from_, replay.to, replay.by, replay.models)])
    head = (replay.from_, replay.to, replay.by, "", "", "", "")
    for name, value in msgspec.structs.asdict(replay.events).items():
        if isinstance(value, dict):
            for reason, n in value.items():
                yield line((*head, f"events_{name}", reason, "", "", n))
        else:
            yield line((*head, f"events_{name}", "", "", "", value))


def model_rows(periods: Iterable[Rows]) -> Iterator[str]:
    """The rows of models, without the header."""
    for period in periods:
        for model in period.models:
            head = (
                period.from_, period.to, period.by,
                model.namespace, model.deployment, model.predictor, model.model,
            )  # fmt: skip
            for metric, *labels, value in _numbers(model):
                yield line((*head, metric, *labels, value))


def _numbers(model: ModelResult) -> Iterator[tuple[str, str, str, str, float | None]]:
    for name in _NUMBERS:
        yield name, "", "", "", getattr(model, name)
    for mean in _MEANS:
        for score in _SCORES:
            scores: MeanResult = getattr(model, mean)
            yield f"{score}_{mean}", "", "", "", getattr(scores, score)
    for label, each in model.classes.items():
        for score in ClassResult.__struct_fields__:
            yield score, label, "", "", getattr(each, score)
    for cell in model.confusion:
        yield "confusion", "", cell.actual, cell.predicted, cell.count


def line(values: Iterable[object]) -> str:
    """One row of CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
