"""Custom statistics for the tests, and a context that runs them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from processor import JudgedItem
from processor.domain.model_rules import ModelRules
from processor.models_file import read_models

PLACE = "tests.support.own_statistics:"


class Everything:
    """Everything that an item says, as sums that a test can compute in another way."""

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        found = {"items": 1, "wrong": int(item.predicted != item.actual)}
        if item.task == "regression":
            assert isinstance(item.predicted, int)
            assert isinstance(item.actual, int)
            found["cubes"] = (item.predicted - item.actual) ** 3 // 10**12
            found[f"unit {item.unit}"] = 1
        elif item.task == "multilabel":
            found["labels"] = len(set(item.predicted) ^ set(item.actual or ()))  # type: ignore[arg-type]
        else:
            found[f"{item.actual}/{item.predicted}"] = 1
            found["q"] = item.q(str(item.actual)) or 0
            found["all q"] = sum(q for _, q in item.probabilities)
        return found

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        # Twenty classes have more pairs than a statistic may have scores.
        few = {key: n for key, n in sums.items() if "product" not in key}
        return {**few, "never": sums["never"], "undefined": None, "infinite": float("inf")}


class Picky:
    """A statistic that fails on some items, in each way that one can."""

    def contribute(self, item: JudgedItem) -> Any:
        bad = {"b": {"cost": 1.5}, "c": None, "d": {1: 1}, "e": {"\ud800": 1}, "f": {"x": 10**31}}
        if item.predicted == "a":
            raise RuntimeError("not a")
        return bad.get(str(item.predicted), {"cost": 2, "none": False})

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        return {"cost": sums["cost"]}


class Unsteady:
    """A statistic that returns another amount each time, which it must not."""

    def __init__(self) -> None:
        self._count = count(1)

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        return {"number": next(self._count)}

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        return {"number": sums["number"]}


class Broken:
    r"""A statistic whose scores \can't be read."""

    name = "broken_one"

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        return {"nothing": 0}

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        return {"x": 1 / sums["nothing"]}


class OnlyNumbers:
    """A statistic that is not about labels."""

    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        return {"items": 1} if item.task == "regression" else {}

    def scores(self, sums: Mapping[str, int]) -> Mapping[str, float | None]:
        return {"items": sums["items"]}


class Everything2(Everything):
    name = "everything"


class Reserved(Everything):
    name = "cost_total"


class Incomplete:
    def contribute(self, item: JudgedItem) -> Mapping[str, int]:
        return {}


class NeedsMore(Everything):
    def __init__(self, more: str) -> None:
        self.more = more


not_a_class = Everything()


@contextmanager
def running(*names: str, **rule: Any) -> Iterator[ModelRules]:
    """Run some of these statistics, for all models."""
    entry = {"match": "*/*", "statistics": [PLACE + name for name in names], **rule}
    try:
        yield read_models({"models": [entry]}, custom_statistics=True)
    finally:
        read_models({})
