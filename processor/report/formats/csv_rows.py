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
#: Fields of a model's result that are means of the scores over all classes.
MEANS = ("macro", "micro", "weighted")
#: Fields of a model's result that are one number each.
NUMBERS = tuple(
    field
    for field in ModelResult.__struct_fields__
    if field not in (*ModelKey._fields, "confusion", "classes", *MEANS)
)


class Period(msgspec.Struct, frozen=True):
    """The results of all models in one period."""

    from_: str | None
    to: str | None
    by: str
    models: tuple[ModelResult, ...]


def render_csv(replay: Replay) -> Iterator[str]:
    """The header and the rows of a replay's results, one at a time.

    The value of an undefined number is empty. Rows that count events have no model, and the reason in
    the column "class".
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
        yield name, "", "", "", getattr(model, name)
    for mean in MEANS:
        for score in SCORES:
            scores: MeanResult = getattr(model, mean)
            yield f"{score}_{mean}", "", "", "", getattr(scores, score)
    for label, each in model.classes.items():
        for score in ClassResult.__struct_fields__:
            yield score, label, "", "", getattr(each, score)
    for cell in model.confusion:
        yield "confusion", "", cell.actual, cell.predicted, cell.count


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
