"""The Python API: quality metrics of stored predictions and their true labels."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import Events, ModelResult
from processor.domain.values import Task
from processor.errors import SettingsError, UnknownModelError
from processor.replay.estimates import with_estimates
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.replay.tables.cells import read_time
from processor.replay.tables.columns import Columns
from processor.replay.tables.reading import resolve
from processor.report.compare import (
    Comparison,
    Comparisons,
    Side,
    compare_models,
    model_key,
    period_title,
)
from processor.report.confusion import ConfusionMatrix, import_pandas
from processor.report.data import ModelTimeline, Report, timelines_of
from processor.report.formats.csv_rows import MEANS, NUMBERS, SCORES
from processor.report.formats.html import render_comparisons as comparisons_html
from processor.report.formats.html import render_html
from processor.report.formats.text import render_comparisons as comparisons_text
from processor.report.formats.text import render_text
from processor.report.late_labels import late_labels_of
from processor.report.python_sources import fold_of, run, sources_of

if TYPE_CHECKING:
    import pandas

__all__ = ["ConfusionMatrix", "Evaluation", "Model", "compare", "evaluate"]

Time = str | datetime
#: Height in pixels of a report in a notebook; a longer one scrolls.
_HEIGHT = 720


class Model(ModelResult, frozen=True, dict=True):
    """The result of one model, with the fields of its JSON as attributes: ``accuracy``, ``predictions``,
    ``classes`` and others."""

    @cached_property
    def matrix(self) -> ConfusionMatrix:
        """The confusion matrix of the judged items whose actual label is known."""
        return ConfusionMatrix.from_cells(self.confusion)

    @property
    def evaluation(self) -> "Evaluation":
        """The evaluation that this result is part of."""
        evaluation: Evaluation = self.__dict__["evaluation"]
        return evaluation

    def __repr__(self) -> str:
        score = "nothing judged" if self.accuracy is None else f"accuracy {self.accuracy:.4f}"
        if self.mae is not None and self.task == "regression":
            score = f"MAE {self.mae:.6g}"
        return f"<Model {_name(self)}: {score}, {self.judged} judged>"


class Evaluation:
    """The results that `evaluate` returns.

    ``models`` has a result for each model, sorted by its four names; ``events`` counts the events that
    were read, duplicates and dead letters among them. ``by``, ``start`` and ``end`` are the selection;
    the times are RFC 3339 text, or None for an open end.
    """

    def __init__(self, fold: ReplayFold, maturity: int) -> None:
        self._fold = fold
        self._estimates = fold.estimates(maturity)
        self._replay = replay = with_estimates(fold.result(), self._estimates)
        self.start: str | None = replay.from_
        self.end: str | None = replay.to
        self.by: str = replay.by
        self.events: Events = replay.events
        self.models: list[Model] = [self._model(each) for each in replay.models]

    def __getitem__(self, name: str) -> Model:
        """The result of one model, by ``deployment``, ``namespace/deployment``,
        ``namespace/deployment/predictor`` or all four names. Raises a `ProcessorError` that is a
        `KeyError` too if no model or more than one has that name."""
        found = [model for model in self.models if name in _names(model)]
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} models are" if found else "no model is"
        raise UnknownModelError(f"{what} named {name!r}: there is {_listed(found or self.models)}")

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``processor replay --nowcast``, as a dict."""
        content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self._replay))
        return content

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas DataFrame with a row for each model.

        Its columns are the four names, the task, the counts and scores of the JSON, the means over
        classes as ``precision_macro``, ``f1_weighted`` and so on, and what some models have:
        ``top_k_accuracy.2``, ``absolute_error_quantiles.0.9``, ``nowcast.accuracy`` and, of a statistic
        of your own, ``custom.STATISTIC.SCORE``. `ProcessorError` if pandas is not installed.
        """
        names = (*ModelKey._fields, "task", *NUMBERS)
        means = [f"{score}_{mean}" for mean in MEANS for score in SCORES]
        rows = [
            {name: getattr(model, name) for name in names}
            | {
                f"{score}_{mean}": getattr(getattr(model, mean), score)
                for mean in MEANS
                for score in SCORES
            }
            | _nested(model)
            for model in self.models
        ]
        columns = dict.fromkeys([*names, *means, *(name for row in rows for name in row)])
        frame: pandas.DataFrame = import_pandas().DataFrame(rows, columns=list(columns))
        return frame

    def confusion_frame(self, model: str | Model | None = None) -> "pandas.DataFrame":
        """The confusion matrix of a model as a pandas DataFrame of counts: a row for each actual label,
        a column for each predicted label. ``model`` may be left out if there is only one.
        `ProcessorError` if there is no such model, or if pandas is not installed."""
        if model is None:
            if len(self.models) != 1:
                raise UnknownModelError(f"name one model: there is {_listed(self.models)}")
            model = self.models[0]
        return (self[model] if isinstance(model, str) else model).matrix.to_frame()

    def _model(self, result: ModelResult) -> Model:
        model = Model(*(getattr(result, name) for name in ModelResult.__struct_fields__))
        model.__dict__["evaluation"] = self
        return model

    def __repr__(self) -> str:
        return f"<Evaluation by {self.by} time: {', '.join(map(repr, self.models)) or 'no models'}>"

    def __str__(self) -> str:
        """The text of ``processor report`` for this evaluation."""
        return "".join(render_text(Report(self._replay, {}))).rstrip()

    def _repr_html_(self) -> str:
        """The report with its tables and plots, for a notebook."""
        late = {key: late_labels_of(each) for key, each in self._estimates.items()}
        return _framed(render_html(Report(self._replay, self._timelines, None, late)))

    @cached_property
    def _timelines(self) -> dict[ModelKey, ModelTimeline]:
        return timelines_of(self._fold)


def _nested(model: ModelResult) -> dict[str, float | None]:
    """The scores that only some models have, each under the path of its fields in the JSON."""
    found: dict[str, float | None] = {}
    for name in ("top_k_accuracy", "absolute_error_quantiles"):
        found |= {f"{name}.{part}": value for part, value in getattr(model, name).items()}
    found |= {f"custom_failed.{name}": count for name, count in model.custom_failed.items()}
    for statistic, scores in model.custom.items():
        found |= {f"custom.{statistic}.{score}": value for score, value in scores.items()}
    if model.nowcast is not None:
        for name in ("accuracy", "accuracy_low", "accuracy_high", "expected_judged"):
            found[f"nowcast.{name}"] = getattr(model.nowcast, name)
    return found


class ComparedModels(Comparisons, frozen=True):
    """The comparisons that `compare` returns: a sequence with one `Comparison` for each pair of models.
    ``not_compared`` are the names of the models without a counterpart."""

    def __getitem__(self, position: int) -> Comparison:
        return self.comparisons[position]

    def __len__(self) -> int:
        return len(self.comparisons)

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The members ``comparisons`` and ``not_compared`` of the JSON of ``processor report
        --compare``."""
        content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return content

    def __str__(self) -> str:
        """The text of ``processor report --compare``."""
        return "".join(comparisons_text(self)).rstrip()

    def _repr_html_(self) -> str:
        return _framed(comparisons_html(self))


def evaluate(
    source: Any,
    *,
    by: str = "request",
    start: Time | None = None,
    end: Time | None = None,
    as_of: Time | None = None,
    models: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    deployment: str | None = None,
    namespace: str | None = None,
    task: Task | None = None,
) -> Evaluation:
    """Compute the quality metrics of stored predictions, as ``processor replay`` does.

    ``source`` is one of:

    - a path or an address for ``processor replay``, such as ``predictions.csv`` or ``kafka:TOPIC``;
    - a pandas DataFrame whose columns have the standard names (``prediction``, ``actual``,
      ``request_id``, ``time`` and others);
    - an iterable of dicts, each of them an event like a line of an events file, or a row of a table;
    - a list of paths, addresses and DataFrames, whose events are added up.

    Predictions count whose request was made in [start, end) or, with ``by="feedback"``, whose feedback
    came in [start, end). Events later than ``as_of`` are ignored. A time is RFC 3339 text or a datetime,
    in UTC unless it has a zone.

    ``models`` is the path of a models file or its content as a dict (default: ``PROCESSOR_MODELS``).
    ``deployment`` and ``namespace`` select models; for a table, ``deployment`` is the column that holds
    the deployment, or the name of one for all rows. ``task`` ("classification", "regression" or
    "multilabel") is that of models without one in the models file; by default the values decide.

    With ``by="request"`` a model of labels or numbers has a ``nowcast``: an estimate of what its scores
    will be once late labels have arrived, made from what was known at ``as_of``. Addresses and
    credentials of servers come from the ``PROCESSOR_`` environment variables.

    Raises `ProcessorError` with the cause and the remedy. Rows that can't be read and a truncated file
    cause a warning. May be called while an event loop is running, as in a notebook.

    >>> rows = [{"prediction": "cat", "actual": "cat"}, {"prediction": "dog", "actual": "cat"}]
    >>> evaluation = evaluate(rows)
    >>> evaluation["data"].accuracy, evaluation["data"].matrix["cat", "dog"]
    (0.5, 1)

    Numbers are judged by their errors, scores as probabilities too, and items may have several labels:

    >>> rows = [{"prediction": 21.5, "actual": 20.0}, {"prediction": 18.25, "actual": 18.75}]
    >>> evaluate(rows)["data"].mae
    1.0
    >>> rows = [{"score_no": 0.25, "score_yes": 0.75, "actual": "no"}]
    >>> round(evaluate(rows)["data"].brier_score, 3)
    0.562
    >>> rows = [{"prediction": ["cat", "dog"], "actual": ["cat"]}]
    >>> evaluate(rows, task="multilabel")["data"].jaccard
    0.5
    """
    if by not in ("request", "feedback"):
        raise SettingsError(f"by is {by!r}: use 'request' or 'feedback'")
    if task not in (None, *get_args(Task)):
        raise SettingsError(f"task is {task!r}: use {', '.join(map(repr, get_args(Task)))}")
    start_ns, end_ns = _time("start", start), _time("end", end)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise SettingsError(f"start {start} is not before end {end}")
    sources = sources_of(source)
    columns, selected = resolve(sources, Columns(renamed=True), deployment or "")
    selection = Selection(by, start_ns, end_ns, _time("as_of", as_of), namespace or "", selected)
    fold, maturity, messages = run(fold_of(sources, models, task, selection, columns))
    for message in messages:
        warnings.warn(message, stacklevel=2)
    return Evaluation(fold, maturity)


def compare(first: Evaluation | Model, second: Evaluation | Model) -> ComparedModels:
    """Compare two models, or all models of two evaluations, as ``processor report --compare`` does.

    A comparison holds both results, the difference of their accuracies (second minus first), and
    significance tests. Models of two evaluations are compared if their four names are equal, or if each
    evaluation has only one model.

    The tests are the two-proportion z-test and McNemar's test. McNemar's test pairs the items that are
    judged on both sides and have the same request id and row. Rows without a request id are numbered, so
    two tables without ids must list the same requests in the same order. If the actual labels of a pair
    differ, McNemar's test is left out.

    >>> truth = ["cat", "dog", "dog", "cat"]
    >>> old = evaluate([{"prediction": "cat", "actual": each} for each in truth])
    >>> new = evaluate([{"prediction": each, "actual": each} for each in truth])
    >>> compare(old, new)[0].difference
    0.5
    """
    firsts, seconds = (
        side.models if isinstance(side, Evaluation) else [side] for side in (first, second)
    )
    if len(firsts) == len(seconds) == 1:
        return ComparedModels((_compare(firsts[0], seconds[0]),))
    by_key = {model_key(model): model for model in seconds}
    pairs = [(one, by_key[model_key(one)]) for one in firsts if model_key(one) in by_key]
    paired = {model_key(one) for one, _ in pairs}
    alone = sorted({_name(each) for each in (*firsts, *seconds) if model_key(each) not in paired})
    return ComparedModels(tuple(_compare(*pair) for pair in pairs), tuple(alone))


def _compare(first: Model, second: Model) -> Comparison:
    titles = [_title(first), _title(second)]
    if titles[0] == titles[1]:
        titles = [
            f"{title} ({word})" for title, word in zip(titles, ("first", "second"), strict=True)
        ]
    one, other = (
        (model.evaluation._fold, Side(title, model))
        for model, title in zip((first, second), titles, strict=True)
    )
    return compare_models(one, other)


def _title(model: Model) -> str:
    start, end = model.evaluation._fold.selection[1:3]
    period = "" if start is None and end is None else f", {period_title(start, end)}"
    return _name(model) + period


def _names(model: ModelResult) -> set[str]:
    """All names by which a model can be found in an evaluation."""
    key = model_key(model)
    return {model.deployment, *("/".join(key[:length]) for length in (2, 3, 4))}


def _listed(models: Iterable[ModelResult]) -> str:
    return ", ".join(repr(_name(model)) for model in models) or "no model at all"


def _name(model: ModelResult) -> str:
    """The shortest of a model's names that is complete."""
    key = model_key(model)
    if not any((key[0], *key[2:])):
        return model.deployment
    return "/".join(key).rstrip("/")


def _time(name: str, time: Time | None) -> int | None:
    try:
        return read_time(time)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _framed(page: Iterable[str]) -> str:
    """An HTML page inside a frame, so that its style and that of the notebook do not mix."""
    return (
        f'<iframe srcdoc="{escape("".join(page))}" sandbox="allow-same-origin" '
        f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
    )
