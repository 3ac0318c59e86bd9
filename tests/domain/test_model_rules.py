"""The models file: the entry that applies to a model, and the errors of an invalid file."""

from __future__ import annotations

from typing import Any

import pytest

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule, Targets, parse_rules
from processor.domain.values import Schema
from processor.errors import SettingsError

KEY = ModelKey("vision", "pets", "default", "classifier")


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("vision/pets", True),
        ("vision/pets/default", True),
        ("vision/pets/default/classifier", True),
        ("*/*", True),
        ("v*/p?ts/*/c[lm]*", True),
        ("vision/pet", False),
        ("vision/Pets", False),
        ("vision/pets/canary", False),
        ("vision/pets/*/second", False),
        ("pets/vision", False),
    ],
)
def test_an_entry_matches_models(match: str, fits: bool) -> None:
    """Omitted parts match all models."""
    rules = parse_rules({"models": [{"match": match, "exclude": True}]}, "file")
    assert rules(KEY).exclude is fits


def test_the_first_match_applies() -> None:
    first = {"match": "vision/*", "threshold": 0.25}
    rules = parse_rules({"models": [first, {"match": "vision/pets", "exclude": True}]}, "file")
    assert rules(KEY).threshold == 0.25
    assert not rules(KEY).exclude


@pytest.mark.parametrize("content", [None, {}, {"models": []}])
def test_without_entries_the_counting_rules_decide(content: object) -> None:
    rule = parse_rules(content, "file")(KEY)
    assert rule == ModelRules()(KEY)
    assert (rule.output, rule.exclude) == (None, False)
    assert rule.schema(("a", "b")) == Schema(("a", "b"), None, 0.5, False)


def test_the_schema_of_an_entry() -> None:
    """The schema of a prediction keeps the settings that were valid when it was decoded."""
    entry = {"match": "*/*", "classes": ["no", "yes"], "threshold": 0.7, "judge_by": "reward"}
    rule = parse_rules({"models": [{**entry, "output": "probability"}]}, "file")(KEY)
    assert rule.schema() == Schema(None, ("no", "yes"), 0.7, True)
    assert rule.output == "probability"
    assert Rule(match="*/*").schema() == Schema()


@pytest.mark.parametrize(
    ("values", "unit", "tolerance"),
    [
        ({}, -6, None),
        ({"tolerance": 0.5}, -6, (500_000, -1)),
        ({"tolerance": 0}, -6, (0, -1)),
        ({"tolerance": 5, "unit": 0.01}, -2, (500, -1)),
        ({"tolerance": 3000, "unit": 1000}, 3, (3, -1)),
        ({"tolerance": "10%"}, -6, (-1, 100_000_000)),
        ({"tolerance": "0.5%", "unit": 1}, 0, (-1, 5_000_000)),
        ({"unit": 1e-12}, -12, None),
        ({"unit": 1e12}, 12, None),
    ],
)
def test_unit_and_tolerance(
    values: dict[str, Any], unit: int, tolerance: tuple[int, int] | None
) -> None:
    """Counting rules 27 and 28."""
    schema = parse_rules({"models": [{"match": "*/*", **values}]}, "file")(KEY).schema()
    assert (schema.unit, schema.tolerance) == (unit, tolerance)


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_the_task_of_an_entry(task: str) -> None:
    assert parse_rules({"models": [{"match": "*/*", "task": task}]}, "file")(KEY).task == task


def test_the_limits_of_an_entry() -> None:
    limits = {"floor": 0.75, "min_coverage": 1, "feedback_every": "12h", "retired": False}
    rules = parse_rules({"models": [{"match": "vision/*", **limits}]}, "file")
    assert rules(KEY).targets == Targets(0.75, None, 12 * 3600, 1, False)
    assert parse_rules({"models": [{"match": "*/*"}]}, "file")(KEY).targets is None
    retired = parse_rules({"models": [{"match": "*/*", "retired": True}]}, "file")
    assert retired(KEY).targets == Targets(retired=True)


def entry(**values: Any) -> dict[str, Any]:
    return {"models": [{"match": "a/b"}, {"match": "vision/pets", **values}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "object"),
        ({"model": []}, "model"),
        ({"models": [{}]}, "match"),
        (entry(match="pets"), r"models\[1\].match is 'pets'"),
        (entry(match="a/b/c/d/e"), r"models\[1\].match"),
        (entry(match="a//c"), r"models\[1\].match"),
        (entry(output="number"), "number"),
        (entry(outputs="label"), "outputs"),
        (entry(threshold=0), "threshold"),
        (entry(threshold=1), "threshold"),
        (entry(threshold="high"), "threshold"),
        (entry(judge_by="both"), "both"),
        (entry(exclude="no"), "exclude"),
        (entry(classes=["a"]), r"models\[1\].classes is .* two names or more"),
        (entry(classes=["a", "b", "a"]), "each once"),
        (entry(classes=[1, 2]), "classes"),
        (entry(output="probability", classes=["a", "b", "c"]), "two classes, not 3"),
        (entry(labels=["a"]), r"models\[1\].labels is \['a'\]: expected a map"),
        (entry(labels={0: "a"}), "quote numbers"),
        (entry(labels={"0": 1}), "quote numbers"),
        (entry(output_name=""), "output_name is ''"),
        (entry(output_name=5), "output_name is 5"),
        (entry(request_id="puid"), "request_id is 'puid': expected body, header NAME or metadata"),
        (entry(request_id="header"), "request_id is 'header'"),
        (entry(request_id="header X Y"), "request_id"),
        (entry(request_id="header Authorization"), "request_id"),
        (entry(request_id="Body"), "request_id"),
        (entry(request_id=5), "request_id is 5"),
        (
            entry(predictor="header X"),
            "predictor is 'header X': expected annotation KEY or metadata",
        ),
        (
            entry(task="ranking"),
            "task is 'ranking': expected classification, regression or multilabel",
        ),
        (entry(task="regression", output="label"), "task regression and output label: give one"),
        (entry(task="multilabel", output="scores"), "task multilabel and output scores: give one"),
        (entry(unit=0.02), "unit is 0.02: expected a power of ten from 1e-12 to 1e12"),
        (entry(unit=0), "unit is 0: expected a power of ten"),
        (entry(unit=1e13), "unit is .*: expected a power of ten"),
        (entry(unit="0.01"), "unit is '0.01'"),
        (entry(tolerance=-1), "tolerance is -1: expected a number from 0 on, .* or a percentage"),
        (entry(tolerance=float("nan")), "tolerance is nan"),
        (entry(tolerance=float("inf")), "tolerance is inf"),
        (entry(tolerance="10"), "tolerance is '10'"),
        (entry(tolerance="ten%"), "tolerance is 'ten%'"),
        (entry(tolerance="-5%"), "tolerance is '-5%'"),
        (entry(tolerance="nan%"), "tolerance is 'nan%'"),
        (entry(tolerance=True), "tolerance is True"),
        (entry(floor=1.5), "floor is 1.5: expected a number from 0 to 1, as 0.8"),
        (entry(floor="80%"), "floor is '80%'"),
        (entry(floor=float("nan")), "floor is nan"),
        (entry(min_coverage=-0.1), "min_coverage is -0.1: expected a number from 0 to 1"),
        (entry(max_error=0), "max_error is 0: expected a number above 0"),
        (entry(max_error=float("inf")), "max_error is inf"),
        (entry(feedback_every="weekly"), "feedback_every is 'weekly': expected a duration above 0"),
        (entry(feedback_every="0d"), "feedback_every is '0d'"),
        (entry(feedback_every=7), "feedback_every is 7: expected a duration"),
        (entry(retired_classes=[1]), r"retired_classes is \[1\]: expected a list of labels"),
        (entry(retired_classes=["a", "a"]), "each once"),
        (entry(retired="yes"), "retired is 'yes': expected true or false"),
        ({"models": ["a/b"]}, r"models\[0\] is 'a/b'"),
        ({"models": 5}, "models is 5"),
    ],
)
def test_an_invalid_file_is_refused_with_the_entry(content: object, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^models file m.yaml: .*{message}"):
        parse_rules(content, "m.yaml")


def test_feedback_without_a_node_matches_any_node() -> None:
    rules = parse_rules({"models": [{"match": "vision/pets/default/*", "threshold": 0.7}]}, "file")
    assert rules(ModelKey("vision", "pets", "", "")).threshold == 0.7
    assert rules(ModelKey("vision", "cars", "", "")).threshold == 0.5
