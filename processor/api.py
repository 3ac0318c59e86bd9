"""The Python API: stored predictions and their truth in, quality metrics out."""

import asyncio
import os
import sys
import warnings
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, parse_rules
from processor.domain.results import Events, ModelResult
from processor.errors import SettingsError, UnknownModelError
from processor.replay.fold import ReplayFold, Selection
from processor.replay.progress import listener
from processor.replay.tables.cells import read_time
from processor.replay.tables.columns import Columns
from processor.replay.tables.objects import ObjectLines
from processor.replay.tables.reading import resolve
from processor.replay.tables.stored import FrameTable
from processor.report.compare import Comparison, Comparisons, Side, compare_models, period_title
from processor.report.confusion import ConfusionMatrix, import_pandas
from processor.report.data import ModelTimeline, ModelTimelines, Report
from processor.report.html import render_comparisons as html_of_comparisons
from processor.report.html import render_html
from processor.report.text import render_comparisons as text_of_comparisons
from processor.report.text import render_text

if TYPE_CHECKING:
    import pandas

    from processor.replay.sources import Source

__all__ = ["ConfusionMatrix", "Evaluation", "Model", "compare", "evaluate"]

T = TypeVar("T")
Time = str | datetime
#: Fields of a model's JSON that are one number; the means come behind them.
_NUMBERS = tuple(
    name
    for name in ModelResult.__struct_fields__
    if name not in ("confusion", "classes", "macro", "micro", "weighted")
)
_MEANS = ("macro", "micro", "weighted")
#: Pixels of a report in a notebook; it scrolls within.
_HEIGHT = 720


class Model(ModelResult, frozen=True, dict=True):
    """One model's result: the fields of its JSON, such as ``accuracy``, ``predictions``, ``classes``."""

    @cached_property
    def matrix(self) -> ConfusionMatrix:
        """The confusion matrix."""
        return ConfusionMatrix.from_cells(self.confusion)

    @property
    def evaluation(self) -> "Evaluation":
        """Where it is from."""
        found: Evaluation = self.__dict__["evaluation"]
        return found

    def __repr__(self) -> str:
        accuracy = "nothing judged" if self.accuracy is None else f"accuracy {self.accuracy:.4f}"
        return f"<Model {_name(self)}: {accuracy}, {self.judged} judged>"


class Evaluation:
    """What `evaluate` found: a result for each model, and what became of the events."""

    def __init__(self, fold: ReplayFold) -> None:
        self._fold = fold
        self._replay = replay = fold.result()
        self.start: str | None = replay.from_
        self.end: str | None = replay.to
        self.by: str = replay.by
        self.events: Events = replay.events
        self.models: list[Model] = [self._model(each) for each in replay.models]

    def __getitem__(self, name: str) -> Model:
        """The model of a deployment: ``deployment``, ``namespace/deployment``, or more of the four
        names, ``namespace/deployment/predictor/model``. `ProcessorError` (and `KeyError`) where none
        or several have that name."""
        found = [model for model in self.models if name in _names(model)]
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} models are" if found else "no model is"
        there = ", ".join(repr(_name(model)) for model in found or self.models) or "no model at all"
        raise UnknownModelError(f"{what} named {name!r}: there is {there}")

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``processor replay``."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self._replay))
        return found

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas DataFrame with a row for each model: its names, counts and scores, and the means
        over classes as ``f1_macro``. `ProcessorError` without pandas."""
        scores = ("precision", "recall", "specificity", "f1")
        columns = [*_NUMBERS, *(f"{score}_{mean}" for mean in _MEANS for score in scores)]
        rows = [
            [getattr(model, name) for name in _NUMBERS]
            + [getattr(getattr(model, mean), score) for mean in _MEANS for score in scores]
            for model in self.models
        ]
        frame: pandas.DataFrame = import_pandas().DataFrame(rows, columns=columns)
        return frame

    def confusion_frame(self, model: str | Model | None = None) -> "pandas.DataFrame":
        """The confusion matrix of a model, or of the only one, as a pandas DataFrame of counts: a row
        for each actual, a column for each predicted label."""
        if model is None:
            model = _only(self)
        return (self[model] if isinstance(model, str) else model).matrix.to_frame()

    def _model(self, result: ModelResult) -> Model:
        model = Model(*(getattr(result, name) for name in ModelResult.__struct_fields__))
        model.__dict__["evaluation"] = self
        return model

    def __repr__(self) -> str:
        return f"<Evaluation by {self.by} time: {', '.join(map(repr, self.models)) or 'no models'}>"

    def __str__(self) -> str:
        """The text of ``processor report``."""
        return "".join(render_text(Report(self._replay, {}))).rstrip()

    def _repr_html_(self) -> str:
        """The report with its tables and plots, for a notebook."""
        return _framed(render_html(Report(self._replay, self._courses)))

    @cached_property
    def _courses(self) -> dict[ModelKey, ModelTimeline]:
        courses = ModelTimelines(self._fold.selection)
        for request in self._fold.requests():
            courses.add(request)
        return courses.result()


class Compared(Comparisons, frozen=True):
    """What `compare` found: a `Comparison` for each pair of models."""

    def __getitem__(self, position: int) -> Comparison:
        return self.comparisons[position]

    def __len__(self) -> int:
        return len(self.comparisons)

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        """The ``comparisons`` and ``not_compared`` of the JSON of ``--compare``."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    def __str__(self) -> str:
        """The text of ``--compare``."""
        return "".join(text_of_comparisons(self)).rstrip()

    def _repr_html_(self) -> str:
        return _framed(html_of_comparisons(self))


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
) -> Evaluation:
    """The numbers of ``processor replay`` for stored predictions and their truth.

    ``source`` is a path or an address as ``processor replay`` takes it; a pandas DataFrame, whose
    columns have the standard names (``prediction``, ``actual``, ``request_id``, ``time``...); an
    iterable of dicts, each an event as a line of an events file, or a row; or a list of paths,
    addresses and DataFrames, which add up.

    ``start`` and ``end`` bound the time of the request or (``by="feedback"``) of the feedback,
    [start, end); ``as_of`` is the last time that is known of: RFC 3339 text or a datetime, UTC where
    it has no zone. ``models`` is a models file or what stands in one (default: ``PROCESSOR_MODELS``).
    ``deployment`` and ``namespace`` choose models; for a table ``deployment`` is the column that has
    it, or the name of all rows. Servers are those of the ``PROCESSOR_`` settings.

    `ProcessorError` says what is wrong and what to do. What a command would say on stderr (rows that
    can't be read, a file that is cut off) is a warning. It may be called while an event loop runs.

    >>> rows = [{"prediction": "cat", "actual": "cat"}, {"prediction": "dog", "actual": "cat"}]
    >>> evaluation = evaluate(rows)
    >>> evaluation["data"].accuracy, evaluation["data"].matrix["cat", "dog"]
    (0.5, 1)
    """
    if by not in ("request", "feedback"):
        raise SettingsError(f"by is {by!r}: use 'request' or 'feedback'")
    first, last, known = _time("start", start), _time("end", end), _time("as_of", as_of)
    if first is not None and last is not None and first >= last:
        raise SettingsError(f"start {start} is not before end {end}")
    sources = _sources(source)
    columns, chosen = resolve(sources, Columns(renamed=True), deployment or "")
    selection = Selection(by, first, last, known, namespace or "", chosen)
    fold, said = _run(_fold(sources, models, selection, columns))
    for message in said:
        warnings.warn(message, stacklevel=2)
    return Evaluation(fold)


def compare(first: Evaluation | Model, second: Evaluation | Model) -> Compared:
    """Two models, or all models of two evaluations, as ``--compare`` shows them: both results, the
    difference of the accuracies (second less first), and whether it can be chance.

    Models of two evaluations belong together by their four names, or where each has one model alone.
    Beside the two-proportion z-test McNemar's test is made on items of one request id and row that are
    judged on both sides; rows without an id are numbered, so of two tables without ids equal rows must
    be of equal requests. There are no pairs where a pair has two different actual labels.

    >>> truth = ["cat", "dog", "dog", "cat"]
    >>> old = evaluate([{"prediction": "cat", "actual": each} for each in truth])
    >>> new = evaluate([{"prediction": each, "actual": each} for each in truth])
    >>> compare(old, new)[0].difference
    0.5
    """
    ones, others = _models(first), _models(second)
    if len(ones) == len(others) == 1:
        return Compared((_compared(ones[0], others[0]),))
    by_name = {_key(model): model for model in others}
    pairs = [(one, by_name[_key(one)]) for one in ones if _key(one) in by_name]
    paired = {_key(one) for one, _ in pairs}
    alone = sorted({_name(each) for each in (*ones, *others) if _key(each) not in paired})
    return Compared(tuple(_compared(*pair) for pair in pairs), tuple(alone))


def _compared(first: Model, second: Model) -> Comparison:
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


def _models(side: Evaluation | Model) -> list[Model]:
    return side.models if isinstance(side, Evaluation) else [side]


def _only(evaluation: Evaluation) -> Model:
    if len(evaluation.models) != 1:
        there = ", ".join(repr(_name(model)) for model in evaluation.models) or "no model at all"
        raise UnknownModelError(f"name one model: there is {there}")
    return evaluation.models[0]


def _key(model: ModelResult) -> tuple[str, str, str, str]:
    return model.namespace, model.deployment, model.predictor, model.model


def _names(model: ModelResult) -> set[str]:
    key = _key(model)
    return {model.deployment, *("/".join(key[:length]) for length in (2, 3, 4))}


def _name(model: ModelResult) -> str:
    """The shortest of its names that says all."""
    key = _key(model)
    if not any((key[0], *key[2:])):
        return model.deployment
    return "/".join(key).rstrip("/")


def _time(name: str, time: Time | None) -> int | None:
    try:
        return read_time(time)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _sources(source: Any) -> "list[Source]":
    """What is given, as a list of sources."""
    if isinstance(source, str | os.PathLike) or _is_frame(source):
        return [_source(source)]
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise SettingsError(
            f"source is {type(source).__name__}: give a path, an address, a DataFrame, an iterable of "
            "dicts, or a list of paths, addresses and DataFrames"
        )
    if isinstance(source, list | tuple) and source and not isinstance(source[0], Mapping):
        return [_source(each) for each in source]
    return [ObjectLines(source)]


def _source(source: Any) -> "Source":
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if _is_frame(source):
        return FrameTable(source)
    raise SettingsError(
        f"one of the sources is {type(source).__name__}: give paths, addresses and DataFrames"
    )


def _is_frame(source: object) -> bool:
    # Whoever has a DataFrame has imported pandas.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


async def _fold(
    sources: "list[Source]",
    models: str | os.PathLike[str] | Mapping[str, Any] | None,
    selection: Selection,
    columns: Columns,
) -> tuple[ReplayFold, list[str]]:
    """The fold of all sources, and what there was to say."""
    # Clients of Kafka and Elasticsearch: half a second, which `import processor` must not take.
    from processor.replay.sources import Access, fold_sources
    from processor.settings import Settings

    settings = Settings.from_env()
    options = {}
    if any(isinstance(source, str) and source.startswith("kafka:") for source in sources):
        from processor.kafka.clients import kafka_options

        options = kafka_options(settings)
    said: list[str] = []
    listener.set(said.append)
    access = Access(settings, kafka=options, columns=columns)
    fold = await fold_sources(sources, _rules(models, settings.models), selection, access)
    return fold, said


def _rules(
    models: str | os.PathLike[str] | Mapping[str, Any] | None, default: Path | None
) -> ModelRules:
    from processor.models_file import read_models_file

    if isinstance(models, Mapping):
        return parse_rules(dict(models), "(given)")
    return read_models_file(default if models is None else Path(models))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run in a loop of its own; in a thread of its own where this one has a running loop, as in a
    notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _framed(page: Iterable[str]) -> str:
    """A page within a page: a frame keeps its style from the notebook's, and the reverse."""
    return (
        f'<iframe srcdoc="{escape("".join(page))}" sandbox="allow-same-origin" '
        f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
    )
