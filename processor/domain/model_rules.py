"""The models file: what a deployment's outputs mean where the counting rules can't tell."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Protocol, get_args
from weakref import WeakSet

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.values import Output, Schema
from processor.errors import SettingsError

JudgeBy = Literal["truth", "reward"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry. ``match`` is ``namespace/deployment[/predictor[/model]]`` with globs; ``labels``
    renames labels; ``output_name`` says which of several outputs counts."""

    match: str
    output: Output | None = None
    output_name: str | None = None
    classes: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    judge_by: JudgeBy = "truth"
    exclude: bool = False

    def matches(self, key: ModelKey) -> bool:
        """Whether the entry is about this model; parts that it leaves out match all. A feedback
        that names no predictor or node is about any."""
        parts = self.match.split("/")
        return all(map(fnmatchcase, key[:2], parts)) and all(
            not name or fnmatchcase(name, part)
            for name, part in zip(key[2:], parts[2:], strict=False)
        )

    def schema(self, names: tuple[str, ...] | None = None) -> Schema:
        """What goes with each prediction onto the log, so that a later change of the file can't
        change how an earlier prediction is judged."""
        return Schema(names, self.classes, self.threshold, self.judge_by == "reward")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: list[Rule] = []


_ANY = Rule(match="*/*")


class Listener(Protocol):
    """Whoever remembers what the rules said."""

    def invalidate(self) -> None:
        """The rules have changed: ask again."""
        ...


class ModelRules:
    """The entries of a models file; the first that matches counts."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.entries = tuple(rules)
        self.listeners: WeakSet[Listener] = WeakSet()

    def __call__(self, key: ModelKey) -> Rule:
        """The entry for a model, or the defaults."""
        return next((rule for rule in self.entries if rule.matches(key)), _ANY)

    def replace(self, entries: Iterable[Rule]) -> None:
        """Others from now on; what is decoded already stays as it is."""
        self.entries = tuple(entries)
        for follower in list(self.listeners):
            follower.invalidate()


#: Where in a file something stands, as names and positions from the top.
Place = tuple[str | int, ...]


def _list(choices: Iterable[str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} or {last}"


#: What each key of an entry takes, for people.
_TAKES = {
    "match": "namespace/deployment[/predictor[/model]], with globs",
    "output": _list(get_args(Output)),
    "output_name": "the name of an output, as text",
    "classes": "a list of two names or more, each text (quote numbers) and each once",
    "labels": 'a map of labels to labels, both text (quote numbers), as {"0": cat}',
    "threshold": "a number above 0 and below 1",
    "judge_by": _list(get_args(JudgeBy)),
    "exclude": "true or false",
}


def parse_rules(
    content: object, source: str, line_of: Callable[[Place], int | None] = lambda place: None
) -> ModelRules:
    """Check a models file that was read from YAML; `SettingsError` says where it is wrong.

    ``line_of`` gives the line of a place in the file, where it is known.
    """

    def wrong(place: Place, message: str) -> SettingsError:
        line = line_of(place)
        where = f"{source}, line {line}" if line else source
        return SettingsError(f"models file {where}: {message}")

    content = content if content is not None else {}
    if not isinstance(content, dict) or content.keys() - {"models"}:
        unknown = (
            next(iter(content.keys() - {"models"}), None) if isinstance(content, dict) else None
        )
        place: Place = () if unknown is None else (str(unknown),)
        what = "is no object" if unknown is None else f"has {unknown!r}"
        raise wrong(place, f"the file {what}: it takes only models, a list of entries")
    entries = content.get("models") or []
    if not isinstance(entries, list):
        raise wrong(("models",), f"models is {_shown(entries)}: it takes a list of entries")
    rules = []
    for number, entry in enumerate(entries):
        name = f"models[{number}]"
        if not isinstance(entry, dict):
            raise wrong(("models", number), f"{name} is {_shown(entry)}: it takes keys and values")
        for key in entry:
            if key not in _TAKES:
                raise wrong(
                    ("models", number, key), f"{name} has {key!r}: it takes {_list(_TAKES)}"
                )
        if "match" not in entry:
            raise wrong(("models", number), f"{name} has no match: {_TAKES['match']}")
        for key, value in entry.items():
            if not _is_right(key, value):
                raise wrong(
                    ("models", number, key),
                    f"{name}.{key} is {_shown(value)}: it takes {_TAKES[key]}",
                )
        rule = msgspec.convert(entry, Rule)
        if rule.output == "probability" and rule.classes is not None and len(rule.classes) != 2:
            raise wrong(
                ("models", number, "classes"),
                f"{name} has output probability, which takes two classes, not {len(rule.classes)}",
            )
        rules.append(rule)
    return ModelRules(rules)


_TYPES = {field.name: field.type for field in msgspec.structs.fields(Rule)}


def _is_right(key: str, value: object) -> bool:
    try:
        msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError:
        return False
    if key == "match":
        parts = str(value).split("/")
        return 2 <= len(parts) <= 4 and all(parts)
    if key == "classes" and isinstance(value, list):
        return len(value) >= 2 and len(set(value)) == len(value)
    return key != "output_name" or value != ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
