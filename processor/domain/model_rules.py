"""The rules of the models file: how to interpret a deployment's outputs if the payload is ambiguous."""

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Protocol, get_args
from weakref import WeakSet

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.quantities import to_units
from processor.domain.timestamps import parse_duration
from processor.domain.values import DEFAULT_UNIT, Output, Schema, Task
from processor.errors import SettingsError

JudgeBy = Literal["truth", "reward"]


class Targets(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of a model for alerts: ``floor`` of its accuracy, ``max_error`` of its mean absolute
    error, ``feedback_every`` in seconds, ``min_coverage`` of its feedback, whether it is ``retired``,
    and ``retired_classes``."""

    floor: float | None = None
    max_error: float | None = None
    feedback_every: int | None = None
    min_coverage: float | None = None
    retired: bool = False
    retired_classes: tuple[str, ...] = ()


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the models file. ``match`` is ``namespace/deployment[/predictor[/model]]`` with
    globs; ``labels`` maps labels to other labels; ``output_name`` selects one of several outputs;
    ``tolerance`` is a number, or a part of the truth such as "10%"; ``unit`` is a power of ten."""

    match: str
    output: Output | None = None
    output_name: str | None = None
    task: Task | None = None
    classes: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    judge_by: JudgeBy = "truth"
    exclude: bool = False
    tolerance: float | str | None = None
    unit: float | None = None
    statistics: tuple[str, ...] = ()
    """Custom statistics, each as ``package.module:Class``."""
    request_id: str | None = None
    """Where the request id stands: ``body``, ``header NAME`` or ``metadata NAME``."""
    predictor: str | None = None
    """Where the predictor stands if the event has no ``ce_endpoint``: ``annotation KEY`` or
    ``metadata KEY``."""
    floor: _Share | None = None
    max_error: Annotated[float, msgspec.Meta(gt=0)] | None = None
    feedback_every: str | None = None
    min_coverage: _Share | None = None
    retired: bool = False
    retired_classes: tuple[str, ...] = ()

    @property
    def targets(self) -> Targets | None:
        """The limits that the entry gives a model, None if it gives none."""
        every = None if self.feedback_every is None else parse_duration(self.feedback_every)
        out_of_use = (self.retired, self.retired_classes)
        found = Targets(self.floor, self.max_error, every, self.min_coverage, *out_of_use)
        return None if found == Targets() else found

    def matches(self, key: ModelKey) -> bool:
        """Whether the entry applies to a model. Parts that ``match`` omits match all models, and an
        empty predictor or node, as in the scope of a feedback, is matched by any part."""
        parts = self.match.split("/")
        return all(map(fnmatchcase, key[:2], parts)) and all(
            not name or fnmatchcase(name, part)
            for name, part in zip(key[2:], parts[2:], strict=False)
        )

    def schema(self, names: tuple[str, ...] | None = None) -> Schema:
        """The schema of a prediction with these names. It is on the log with each prediction, so that
        a later change of the file does not change how an earlier prediction is judged."""
        unit = DEFAULT_UNIT if self.unit is None else exponent_of(self.unit)
        assert unit is not None
        tolerance = None if self.tolerance is None else parse_tolerance(self.tolerance, unit)
        by_reward = self.judge_by == "reward"
        settings = (self.classes, self.threshold, by_reward, unit, tolerance, self.statistics)
        return Schema(names, *settings)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: list[Rule] = []


_ANY = Rule(match="*/*")


class Listener(Protocol):
    """An object that caches results of the rules."""

    def invalidate(self) -> None:
        """Drop the cached results: the rules have changed."""
        ...


class ModelRules:
    """The entries of a models file. The first entry that matches a model applies to it. ``listeners``
    are notified when the entries are replaced."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.entries = tuple(rules)
        self.listeners: WeakSet[Listener] = WeakSet()

    def __call__(self, key: ModelKey) -> Rule:
        """The entry that applies to a model, or the defaults if none does."""
        return next((rule for rule in self.entries if rule.matches(key)), _ANY)

    def with_task(self, task: Task | None) -> "ModelRules":
        """These rules with a task for each model that has none; an entry whose ``output`` is that of a
        classification keeps its own."""
        if task is None:
            return self
        entries = [
            each if each.task or (each.output and task != "classification")
            else msgspec.structs.replace(each, task=task)
            for each in self.entries
        ]  # fmt: skip
        return ModelRules([*entries, Rule(match="*/*", task=task)])

    def predictor_place(self, key: ModelKey) -> str | None:
        """Where the predictor of an event stands that has none in its usual place, None if no entry says
        it. The first entry that matches and says it applies: which entry applies to the event as a whole
        is known once its predictor is."""
        if key.predictor:
            return None
        places = (rule.predictor for rule in self.entries if rule.predictor and rule.matches(key))
        return next(places, None)

    def headers(self) -> frozenset[str]:
        """The names of the headers that hold request ids, in lower case."""
        if not any(entry.request_id for entry in self.entries):
            return frozenset()
        places = [entry.request_id.partition(" ") for entry in self.entries if entry.request_id]
        return frozenset(name.lower() for place, _, name in places if place == "header")

    def replace(self, entries: Iterable[Rule]) -> None:
        """Replace the entries, for events that are decoded from now on."""
        self.entries = tuple(entries)
        for listener in list(self.listeners):
            listener.invalidate()


#: The path to a node of a YAML file: keys and positions from the top.
YamlPath = tuple[str | int, ...]


def _list(choices: Iterable[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}"


#: The accepted values of each key of an entry, for messages.
_EXPECTED = {
    "match": "namespace/deployment[/predictor[/model]], with globs",
    "output": _list(get_args(Output)),
    "output_name": "the name of an output, as text",
    "classes": "a list of two names or more, each text (quote numbers, yes and no) and each once",
    "labels": 'a map of labels to labels, both text (quote numbers, yes and no), as {"0": cat}',
    "threshold": "a number above 0 and below 1",
    "task": _list(get_args(Task)),
    "tolerance": 'a number from 0 on, as 0.5, or a percentage of the truth as text, as "10%"',
    "unit": "a power of ten from 1e-12 to 1e12, as 0.01",
    "statistics": "a list of classes, each once and as package.module:Class",
    "judge_by": _list(get_args(JudgeBy)),
    "exclude": "true or false",
    "request_id": "body, header NAME or metadata NAME",
    "predictor": "annotation KEY or metadata KEY",
    "floor": "a number from 0 to 1, as 0.8",
    "max_error": "a number above 0",
    "feedback_every": "a duration above 0, as 12h or 7d",
    "min_coverage": "a number from 0 to 1, as 0.5",
    "retired": "true or false",
    "retired_classes": "a list of labels, each text (quote numbers, yes and no) and each once",
}
#: The form of the keys that name a place in the event. A header that holds credentials cannot be an id.
_PLACES = {
    "request_id": re.compile(
        r"body|metadata \S+"
        r"|header (?!(?i:authorization|proxy-authorization|cookie)$)[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    ),
    "predictor": re.compile(r"(annotation|metadata) \S+"),
}


def parse_rules(
    content: object, source: str, line_of: Callable[[YamlPath], int | None] = lambda path: None
) -> ModelRules:
    """The rules of a models file, from its YAML content. `SettingsError` names ``source``, the file,
    and the invalid entry, with its line if ``line_of`` knows it."""

    def wrong(path: YamlPath, message: str) -> SettingsError:
        line = line_of(path)
        where = f"{source}, line {line}" if line else source
        return SettingsError(f"models file {where}: {message}")

    content = content if content is not None else {}
    if not isinstance(content, dict) or content.keys() - {"models"}:
        unknown = (
            next(iter(content.keys() - {"models"}), None) if isinstance(content, dict) else None
        )
        path: YamlPath = () if unknown is None else (str(unknown),)
        problem = "is not an object" if unknown is None else f"has {unknown!r}"
        raise wrong(path, f"the file {problem}: expected only models, a list of entries")
    entries = content.get("models") or []
    if not isinstance(entries, list):
        raise wrong(("models",), f"models is {_shown(entries)}: expected a list of entries")
    rules = []
    for number, entry in enumerate(entries):
        name = f"models[{number}]"
        if not isinstance(entry, dict):
            raise wrong(("models", number), f"{name} is {_shown(entry)}: expected keys and values")
        for key in entry:
            if key not in _EXPECTED:
                raise wrong(
                    ("models", number, key), f"{name} has {key!r}: expected {_list(_EXPECTED)}"
                )
        if "match" not in entry:
            raise wrong(("models", number), f"{name} has no match: {_EXPECTED['match']}")
        for key, value in entry.items():
            if not _is_valid(key, value):
                raise wrong(
                    ("models", number, key),
                    f"{name}.{key} is {_shown(value)}: expected {_EXPECTED[key]}",
                )
        rule = msgspec.convert(entry, Rule)
        if rule.output == "probability" and rule.classes is not None and len(rule.classes) != 2:
            raise wrong(
                ("models", number, "classes"),
                f"{name} has output probability, which needs two classes, not {len(rule.classes)}",
            )
        if rule.task in ("regression", "multilabel") and rule.output is not None:
            raise wrong(
                ("models", number, "output"),
                f"{name} has task {rule.task} and output {rule.output}: give one of them",
            )
        if rule.tolerance is not None and not _is_counted(rule):
            raise wrong(
                ("models", number, "tolerance"),
                f"{name} has tolerance {rule.tolerance} and unit {rule.unit}: a tolerance above 0 is "
                "one unit at least and 1e18 at most: give another unit",
            )
        rules.append(rule)
    return ModelRules(rules)


def _is_counted(rule: Rule) -> bool:
    """Whether the tolerance of an entry can be told in its unit."""
    tolerance = rule.schema().tolerance
    return tolerance is not None and (tolerance[0] != 0 or not rule.tolerance)


#: A part of the truth is counted in 10^-9.
_PART = 10**9


def exponent_of(unit: float) -> int | None:
    """Return the exponent of a power of ten from 1e-12 to 1e12; None for any other number.

    >>> exponent_of(0.01), exponent_of(1), exponent_of(0.02)
    (-2, 0, None)
    """
    for exponent in range(-12, 13):
        if unit == float(f"1e{exponent}"):
            return exponent
    return None


def parse_tolerance(tolerance: float | str, unit: int) -> tuple[int, int] | None:
    """Return a tolerance as in `Schema`, for numbers in units of 10^unit; None if it is not valid.

    >>> parse_tolerance(0.5, -6), parse_tolerance("10%", -6), parse_tolerance("a lot", -6)
    ((500000, -1), (-1, 100000000), None)
    """
    try:
        if isinstance(tolerance, str):
            if not tolerance.endswith("%"):
                return None
            part = Decimal(tolerance[:-1]) * _PART / 100
            return (-1, int(part)) if part == int(part) >= 0 else None
        units = to_units(tolerance, unit) if math.isfinite(tolerance) and tolerance >= 0 else None
        return None if units is None else (units, -1)
    except (ArithmeticError, ValueError):
        return None


_PLACE_OF_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

_TYPES = {field.name: field.type for field in msgspec.structs.fields(Rule)}


def _is_valid(key: str, value: object) -> bool:
    try:
        msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError:
        return False
    if key == "match":
        parts = str(value).split("/")
        return 2 <= len(parts) <= 4 and all(parts)
    if key == "classes" and isinstance(value, list):
        return len(value) >= 2 and len(set(value)) == len(value)
    if key == "retired_classes" and isinstance(value, list):
        return len(set(value)) == len(value)
    if key == "statistics" and isinstance(value, list):
        return len(set(value)) == len(value) and all(map(_PLACE_OF_CLASS.fullmatch, value))
    if key == "unit" and value is not None:
        return exponent_of(value) is not None  # type: ignore[arg-type]
    if key == "tolerance" and value is not None:
        return parse_tolerance(value, DEFAULT_UNIT) is not None  # type: ignore[arg-type]
    if key in ("floor", "max_error", "min_coverage") and value is not None:
        return math.isfinite(value)  # type: ignore[arg-type]
    if key == "feedback_every" and isinstance(value, str):
        return _is_duration(value)
    if key in _PLACES and isinstance(value, str):
        return _PLACES[key].fullmatch(value) is not None
    return key != "output_name" or value != ""


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
