"""The models file: what a deployment's outputs mean where the counting rules can't tell."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from processor.domain.counts import ModelKey
from processor.domain.labels import Output, Schema
from processor.errors import SettingsError


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry. ``match`` is ``namespace/deployment[/predictor[/model]]`` with globs."""

    match: str
    output: Output | None = None
    classes: tuple[str, ...] | None = None
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    judge_by: Literal["truth", "reward"] = "truth"
    exclude: bool = False

    def matches(self, key: ModelKey) -> bool:
        """Whether the entry is about this model; parts that it leaves out match all."""
        parts = self.match.split("/")
        return all(map(fnmatchcase, key, parts))

    def schema(self, names: tuple[str, ...] | None = None) -> Schema:
        """What goes with each prediction onto the log, so that a later change of the file can't
        change how an earlier prediction is judged."""
        return Schema(names, self.classes, self.threshold, self.judge_by == "reward")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: list[Rule] = []


_ANY = Rule(match="*/*")


class ModelRules:
    """The entries of a models file; the first that matches counts."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)

    def __call__(self, key: ModelKey) -> Rule:
        """The entry for a model, or the defaults."""
        return next((rule for rule in self._rules if rule.matches(key)), _ANY)


def parse_rules(content: object, source: str) -> ModelRules:
    """Check a models file that was read from YAML; `SettingsError` says where it is wrong."""
    try:
        rules = msgspec.convert(content if content is not None else {}, _File).models
    except msgspec.ValidationError as error:
        raise SettingsError(f"models file {source}: {error}") from None
    for number, rule in enumerate(rules):
        parts = rule.match.split("/")
        if not 2 <= len(parts) <= 4 or not all(parts):
            raise SettingsError(
                f"models file {source}: models[{number}].match {rule.match!r} is not "
                "namespace/deployment[/predictor[/model]]"
            )
        if rule.classes is not None and (
            len(rule.classes) < 2 or len(set(rule.classes)) < len(rule.classes)
        ):
            raise SettingsError(
                f"models file {source}: models[{number}].classes needs two names or more, each once"
            )
        if rule.output == "probability" and rule.classes is not None and len(rule.classes) != 2:
            raise SettingsError(
                f"models file {source}: models[{number}] has output probability, "
                f"which takes two classes, not {len(rule.classes)}"
            )
    return ModelRules(rules)
