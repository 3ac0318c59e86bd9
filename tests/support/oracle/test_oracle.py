"""The oracle against measured numbers and cases worked out by hand; rule numbers in brackets."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracle.oracle import format_time, parse_time, replay
from tests.support.oracle.strategies import (
    BASE,
    Event,
    certain_duplicates,
    event_lists,
    feedback_event,
    models_files,
    ranges,
    response_event,
)

DATA = Path(__file__).parents[2] / "data" / "seed-experiment"
NAMES = ["a", "b", "c"]
CANARY = ("canary", "classifier")
SHADOW = ("shadow", "classifier")
NOBODY = (None, None)


def only(result: dict[str, Any]) -> dict[str, Any]:
    """The only model of a result."""
    (model,) = result["models"]
    assert isinstance(model, dict)
    return model


def cells(model: dict[str, Any]) -> dict[tuple[str, str], int]:
    """The confusion matrix as (actual, predicted): count."""
    return {(c["actual"], c["predicted"]): c["count"] for c in model["confusion"]}


def entry(**values: Any) -> dict[str, Any]:
    """A models file with one entry for everything."""
    return {"models": [{"match": "*/*", **values}]}


def pair(
    predicted: list[Any],
    truth: list[Any] | None = None,
    reward: Any = None,
    names: list[str] | None = None,
    truth_names: list[str] | None = None,
) -> list[Event]:
    """A prediction and its feedback."""
    return [
        response_event(predicted, names=names),
        feedback_event(truth, reward, names=truth_names),
    ]


# The seed experiment


@pytest.mark.parametrize("name", ["events.ndjson", "notebook-types/events.ndjson"])
def test_seed_experiment(name: str) -> None:
    with (DATA / name).open() as lines:
        events = [json.loads(line) for line in lines]
    expected = json.loads((DATA / "contract.json").read_text())
    result = replay(events)
    assert result["by"] == expected["by"]
    (wanted,) = expected["models"]
    model = only(result)
    assert wanted.keys() <= model.keys()
    for label in model["classes"].values():  # the contract has no scores of probabilities
        assert label.pop("roc_auc") is not None
        assert label.pop("average_precision") is not None
    for key, value in wanted.items():
        if isinstance(value, float):
            assert model[key] == pytest.approx(value, abs=1e-12), key
        elif key in ("classes", "macro", "micro", "weighted"):
            assert json.dumps(round_all(model[key]), sort_keys=True) == json.dumps(
                round_all(value), sort_keys=True
            )
        else:
            assert model[key] == value, key
    assert result["events"] == {
        "read": 263,
        "other": 0,
        "failed": 0,
        "explanation": 0,
        "duplicates": 0,
        "unmatched_feedback": 0,
        "says_nothing": 0,
        "rows_differ": 0,
        "ambiguous": 0,
        "not_scorable": {},
        "dead_letters": {},
    }


def round_all(value: Any) -> Any:
    """Floats rounded to 12 places."""
    if isinstance(value, dict):
        return {key: round_all(item) for key, item in value.items()}
    return round(value, 12) if isinstance(value, float) else value


# Identity


def test_every_answer_is_a_prediction_of_its_own() -> None:
    """[1, 11] Truth judges the canary and the shadow too; their models stand apart."""
    events = [
        response_event(["a"]),
        response_event(["b"], BASE + 2, who=CANARY),
        response_event(["a"], BASE + 3, who=("default", "second")),
        feedback_event(["a"], at=BASE + 4),
    ]
    found = {(m["predictor"], m["model"]): m["correct"] for m in replay(events)["models"]}
    assert found == {
        ("canary", "classifier"): 0,
        ("default", "classifier"): 1,
        ("default", "second"): 1,
    }


def test_request_events_and_other_deployments_make_no_prediction() -> None:
    """[1, 2]"""
    other = ("seldon", "other", "r-0")
    events = [
        {**response_event(["a"]), "data": "{"},
        response_event(["a"], request=other),
        feedback_event(["a"]),
    ]
    events[0]["headers"]["ce-type"] = "io.seldon.serving.inference.request"
    result = replay(events)
    assert only(result)["deployment"] == "other"
    assert only(result)["judged"] == 0
    assert result["events"]["unmatched_feedback"] == 1
    assert result["events"]["dead_letters"] == {}


def test_the_id_of_the_event_is_the_last_resort() -> None:
    """[2]"""
    events = pair(["a"], ["a"])
    for event in events:
        del event["headers"]["ce-requestid"]
        event["headers"]["ce-id"] = "same"
    assert only(replay(events))["judged"] == 1


def test_items_are_joined_by_row() -> None:
    """[3]"""
    model = only(replay(pair(["a", ["b"], "c"], [["a"], "c", "c"])))
    assert (model["predictions"], model["judged"], model["correct"]) == (3, 3, 2)
    assert cells(model) == {("a", "a"): 1, ("c", "b"): 1, ("c", "c"): 1}


# Labels: what is predicted shows in the cell when the reward says it was right


@pytest.mark.parametrize(
    ("row", "names", "label"),
    [
        ([0.1, 0.7, 0.2], NAMES, "b"),  # [4]
        ([0.4, 0.4, 0.2], NAMES, "a"),
        ([0.1, 0.9], NAMES, "1"),
        ([0, 0, 1], None, "2"),
        (1, None, "1"),  # [5]
        (1.0, None, "1"),
        (-0.0, None, "0"),
        (-3, None, "-3"),
        (2**53 - 1, None, "9007199254740991"),
        (True, None, "1"),
        (False, None, "0"),
        (0.5, None, "1"),
        (0.49999999999999994, None, "0"),
        ("1.0", None, "1.0"),
        ("x" * 256, None, "x" * 256),
    ],
)
def test_labels(row: Any, names: list[str] | None, label: str) -> None:
    """[4, 5]"""
    assert cells(only(replay(pair([row], reward=1, names=names)))) == {(label, label): 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0.1, math.nan], "no_maximum"),  # [4]
        ([0.1, math.inf], "no_maximum"),
        ([0.5, 0.5], "no_maximum"),
        ([0, 0, 0], "no_maximum"),
        ([1, 0, 1], "multi_label"),
        (1e300, "out_of_range"),  # [27]
        ("\u20ac" * 86, "label_too_long"),
        (None, "shape"),
        ({}, "shape"),
        (["a", "b"], "shape"),
        ([[0.1, 0.9], [0.9, 0.1]], "shape"),
    ],
)
def test_rows_without_a_label(row: Any, reason: str) -> None:
    """[4, 5] They count in predictions, never in judged."""
    result = replay(pair([row, "a"], reward=1))
    model = only(result)
    assert (model["predictions"], model["judged"], model["correct"]) == (2, 1, 1)
    assert result["events"]["not_scorable"] == {reason: 1}


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ({"data": {"tensor": {"shape": [2, 2], "values": [0.1, 0.9, 0.8, 0.2]}}}, ["1", "0"]),
        ({"data": {"tensor": {"shape": [2, 1], "values": [3, 4]}}}, ["3", "4"]),
        ({"data": {"tensor": {"shape": [2], "values": [3, 4]}}}, ["3", "4"]),
        ({"strData": "cat"}, ["cat"]),
        ({"jsonData": 7}, ["7"]),
        ({"jsonData": "dog"}, ["dog"]),
        ({"jsonData": [[0.1, 0.9], 5]}, ["1", "5"]),
    ],
)
def test_containers(data: dict[str, Any], labels: list[str]) -> None:
    """[5]"""
    events = pair([0], reward=True)
    events[0]["data"] = data
    assert sorted(cells(only(replay(events)))) == sorted((label, label) for label in labels)


@pytest.mark.parametrize(
    ("row", "file", "label"),
    [
        (0.6, entry(threshold=0.7), "0"),
        (0.7, entry(threshold=0.7), "1"),
        (0.6, entry(classes=["no", "yes"]), "yes"),
        (0.4, entry(classes=["no", "yes"]), "no"),
        (1.0, entry(output="probability", classes=["no", "yes"]), "yes"),
        ([0.1, 0.9], entry(classes=["no", "yes"]), "yes"),
        (0.5, entry(output="label"), None),
        (1, entry(output="scores"), None),
        ([0.1, 0.9], entry(output="label"), None),
        ("a", entry(output="probability"), None),
        ("a", {"models": [{"match": "*/*/shadow", "output": "scores"}]}, "a"),
        ("a", {"models": [{"match": "*/*/d*/cl*", "output": "scores"}]}, None),
        (
            0.6,
            {"models": [{"match": "s*/iris"}, {"match": "*/*", "threshold": 0.7}]},
            "1",
        ),
    ],
)
def test_models_file(row: Any, file: dict[str, Any], label: str | None) -> None:
    """[5] and the models file; None: not scorable for its shape."""
    result = replay(pair([row], reward=1), file)
    assert cells(only(result)) == ({} if label is None else {(label, label): 1})
    assert result["events"]["not_scorable"] == ({"shape": 1} if label is None else {})


def test_excluded_models_are_left_out() -> None:
    """[1]"""
    events = [*pair(["a"], ["a"]), response_event(["b"], BASE + 2, who=SHADOW)]
    file = {"models": [{"match": "*/*/shadow", "exclude": True}]}
    assert only(replay(events, file))["predictor"] == "default"


# Truth and reward


@pytest.mark.parametrize(
    ("predicted", "names", "truth", "truth_names", "file", "actual"),
    [
        ([0.1, 0.7, 0.2], NAMES, [0, 0, 1], None, None, "c"),  # [4] the prediction's names
        ([0.1, 0.7, 0.2], NAMES, [0, 0, 1], ["c", "b", "a"], None, "a"),  # its own
        ([0.1, 0.7, 0.2], None, [0, 0, 1], None, None, "2"),
        ([0.1, 0.7, 0.2], NAMES, 2, None, None, "c"),  # [6] position in names
        ([0.1, 0.7, 0.2], NAMES, 2.0, None, None, "c"),
        ([0.1, 0.9], ["1", "0"], 1, None, None, "1"),  # its text is a name
        ([0.1, 0.9], ["2", "1"], 0, None, None, "2"),  # its text is none
        ([0.1, 0.7, 0.2], NAMES, 3, None, None, "!position"),
        ([0.1, 0.7, 0.2], NAMES, -1, None, None, "!position"),
        ([0.1, 0.7, 0.2], None, 2, None, None, "2"),
        ([0.1, 0.7, 0.2], NAMES, "b", None, None, "b"),
        (1, None, 2, None, entry(classes=NAMES), "c"),  # a position in classes too
        (1, None, 2, None, entry(classes=["2", "3", "4"]), "2"),  # its text is one
        ("a", None, 2, None, entry(classes=NAMES), "c"),  # position in classes
        ("a", None, 3, None, entry(classes=NAMES), "!position"),
        ("a", None, 2, None, None, "2"),
        (0.9, None, 1, None, None, "1"),
        (0.9, None, 1, None, entry(classes=["no", "yes"]), "yes"),
        (0.9, None, 0.2, None, None, "0"),
        (1, None, True, None, None, "1"),
        (1, None, "1", None, None, "1"),
        (1, None, 2.5, None, None, "!kinds_differ"),
        (1, None, None, None, None, "!withdrawn"),  # [9]
        (2.5, None, "a", None, None, "!kinds_differ"),
        ([0.1, 0.9], None, [0, 0], None, None, "!no_maximum"),
    ],
)
def test_truth(
    predicted: Any,
    names: list[str] | None,
    truth: Any,
    truth_names: list[str] | None,
    file: dict[str, Any] | None,
    actual: str,
) -> None:
    """[4, 5, 6]"""
    result = replay(pair([predicted], [truth], None, names, truth_names), file)
    found = [cell["actual"] for cell in only(result)["confusion"]]
    found += [f"!{reason}" for reason in result["events"]["not_scorable"]]
    assert found == [actual]


@pytest.mark.parametrize(
    ("predicted", "truth", "reward", "judge_by", "correct", "disagreements"),
    [
        (["a"], ["a"], 0, "truth", 1, 1),
        (["a"], ["b"], 1, "truth", 0, 1),
        (["a"], ["a"], True, "truth", 1, 0),
        (["a", "a"], ["a", "b"], 1, "truth", 1, 0),
        (["a", "a"], ["a", "b"], 0, "truth", 1, 0),
        (["a"], ["a"], False, "reward", 0, 1),
        (["a"], ["b"], 0.1, "reward", 1, 1),
        (["a"], ["b"], None, "reward", 0, 0),
    ],
)
def test_truth_and_reward(
    predicted: list[Any],
    truth: list[Any],
    reward: Any,
    judge_by: str,
    correct: int,
    disagreements: int,
) -> None:
    """[7] The cells are the truth's either way."""
    model = only(replay(pair(predicted, truth, reward), entry(judge_by=judge_by)))
    assert (model["correct"], model["disagreements"]) == (correct, disagreements)
    assert sum(cells(model).values()) == len(truth)
    assert {actual for actual, _ in cells(model)} == set(truth)


def test_judged_by_a_fraction_for_several_rows() -> None:
    """[7, 8]"""
    events = pair(["a", "a"], ["a", "b"], 0.5)
    assert only(replay(events))["correct"] == 1
    result = replay(events, entry(judge_by="reward"))
    assert only(result)["judged"] == 0
    assert result["events"]["ambiguous"] == 1


@pytest.mark.parametrize(
    ("predicted", "names", "file", "actual"),
    [
        (0.9, None, None, "0"),
        (0.9, None, entry(classes=["no", "yes"]), "no"),
        ([0.1, 0.9], ["no", "yes"], None, "no"),
        ([0.1, 0.9], None, entry(classes=["no", "yes"]), "no"),
        ("yes", None, entry(classes=["no", "yes"]), "no"),
        ([0.1, 0.7, 0.2], NAMES, None, None),
        ([0.1, 0.9], None, None, "0"),
        (1, None, None, None),
        ("yes", None, None, None),
        ("maybe", None, entry(classes=["no", "yes"]), None),
    ],
)
def test_wrong_by_reward(
    predicted: Any, names: list[str] | None, file: dict[str, Any] | None, actual: str | None
) -> None:
    """[8, 19] Without another label to turn to, the actual is unknown."""
    for reward in (0, -1, False):
        model = only(replay(pair([predicted], None, reward, names), file))
        assert (model["judged"], model["correct"]) == (1, 0)
        assert model["unknown_actual"] == (actual is None)
        assert [cell["actual"] for cell in model["confusion"]] == ([actual] if actual else [])
        assert bool(model["classes"]) == (actual is not None)


def test_reward_for_several_rows() -> None:
    """[8]"""
    right = only(replay(pair(["a", "b"], None, 1)))
    assert (right["judged"], right["correct"], right["reward_sum"]) == (2, 2, 1)
    result = replay(pair(["a", "b"], None, 0.5))
    assert (only(result)["judged"], only(result)["rewards"]) == (0, 1)
    assert result["events"]["ambiguous"] == 1
    assert only(replay(pair(["a"], None, 0.5)))["correct"] == 1


@pytest.mark.parametrize(
    ("reward", "total"),
    [(0.1234567, 0.123457), (1e-7, 0), (True, 1), (1e6, 1e6), (-1e6, -1e6), (0.0000005, 0)],
)
def test_rewards_are_millionths(reward: Any, total: float) -> None:
    """[7, 21]"""
    model = only(replay(pair(["a"], None, reward)))
    assert model["reward_sum"] == model["reward_mean"] == total
    assert model["correct"] == (total > 0)


@pytest.mark.parametrize(
    "reward", ["one", "NaN", "1_0", " 1", "٣", [1], {}, 1_000_001, -1e7, math.nan, math.inf]
)
def test_bad_rewards(reward: Any) -> None:
    """[7]"""
    result = replay(pair(["a"], ["a"], reward))
    assert only(result)["judged"] == 0
    assert result["events"]["dead_letters"] == {"bad_reward": 1}


def test_feedback_that_says_nothing() -> None:
    """[9]"""
    nothing = feedback_event(at=BASE + 9)
    result = replay([*pair(["a"], ["a"]), nothing, nothing])
    assert only(result)["judged"] == 1
    assert result["events"]["says_nothing"] == 2
    assert result["events"]["duplicates"] == 0
    assert replay([nothing])["events"]["unmatched_feedback"] == 0


def test_rows_that_differ() -> None:
    """[10]"""
    result = replay(pair(["a", "b"], ["a"]))
    assert (only(result)["predictions"], only(result)["judged"]) == (2, 0)
    assert result["events"]["rows_differ"] == 1


def test_two_containers() -> None:
    """[10]"""
    events = pair([1], [1])
    events[1]["data"]["truth"]["data"]["tensor"] = {"shape": [1], "values": [1]}
    assert replay(events)["events"]["dead_letters"] == {"two_containers": 1}


def test_a_reward_judges_whom_it_names() -> None:
    """[11]"""
    answers = [response_event(["a"]), response_event(["b"], BASE + 2, who=SHADOW)]
    result = replay([*answers, feedback_event(reward=1, who=SHADOW)])
    assert [m["judged"] for m in result["models"]] == [0, 1]
    result = replay([*answers, feedback_event(reward=1, who=CANARY)])
    assert [m["judged"] for m in result["models"]] == [0, 0]
    assert result["events"]["unmatched_feedback"] == 0
    assert only(replay([answers[1], feedback_event(reward=1, who=NOBODY)]))["judged"] == 1
    result = replay([*answers, feedback_event(reward=1, who=NOBODY)])
    assert [m["judged"] for m in result["models"]] == [0, 0]
    assert [m["rewards"] for m in result["models"]] == [0, 0]
    assert result["events"]["ambiguous"] == 2


# Versions and time


def test_the_greatest_version_counts_alone_and_whole() -> None:
    """[12]"""
    truth = feedback_event(["b"], at=BASE + 5)
    later = feedback_event(reward=1, at=BASE + 6)
    assert cells(only(replay([response_event(["a"]), truth, later]))) == {("a", "a"): 1}
    earlier = feedback_event(reward=1, at=BASE + 4)
    assert cells(only(replay([response_event(["a"]), truth, earlier]))) == {("b", "a"): 1}
    corrected = response_event(["b"], BASE + 3)
    assert cells(only(replay([response_event(["a"]), truth, corrected]))) == {("b", "b"): 1}


def test_duplicates() -> None:
    """[12]"""
    events = pair(["a"], ["a"])
    fan_out = feedback_event(["a"], at=BASE + 7, who=("default", "second"))
    result = replay([*events, *events, fan_out])
    assert only(result)["judged"] == 1
    assert result["events"]["duplicates"] == 3
    assert result["events"]["read"] == 5


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1969-12-31T23:59:59-00:01", 59 * 10**9),
        ("2026-11-20T09:00:00.123456789Z", BASE + 123456789),
    ],
)
def test_times(text: str, nanoseconds: int) -> None:
    """[12, 13] Exact to the nanosecond."""
    assert parse_time(text) == nanoseconds
    assert parse_time(format_time(nanoseconds)) == nanoseconds


def test_bases_and_ranges() -> None:
    """[15, 17]"""
    events = [*pair(["a"], ["a"], 1), response_event(["b"], BASE + 5, ("seldon", "iris", "r-1"))]
    assert only(replay(events))["coverage"] == 0.5
    model = only(replay(events, by="feedback"))
    assert (model["predictions"], model["coverage"], model["judged"]) == (None, None, 1)
    assert only(replay(events, end_ns=BASE + 1))["judged"] == 1
    assert only(replay(events, start_ns=BASE + 1))["judged"] == 0
    assert replay(events, None, "feedback", None, BASE + 1)["models"] == []
    assert only(replay(events, None, "feedback", BASE + 1, BASE + 2))["judged"] == 1


# Scores


def batch(counts: dict[tuple[str, str], int]) -> list[Event]:
    """A batch with these cells (actual, predicted)."""
    rows = [cell for cell, count in counts.items() for _ in range(count)]
    return pair([predicted for _, predicted in rows], [actual for actual, _ in rows])


def test_scores_of_two_classes() -> None:
    """[19, 20, 22] b as the positive class: TP 4, FP 1, FN 2, TN 3."""
    counts = {("b", "b"): 4, ("a", "b"): 1, ("b", "a"): 2, ("a", "a"): 3}
    model = only(replay(batch(counts)))
    assert cells(model) == counts
    no_curve = {"roc_auc": None, "average_precision": None}
    b = {"precision": 0.8, "recall": 4 / 6, "specificity": 0.75, "f1": 8 / 11, "support": 6}
    a = {"precision": 0.6, "recall": 0.75, "specificity": 4 / 6, "f1": 6 / 9, "support": 4}
    assert model["classes"]["b"] == pytest.approx(b | no_curve)
    assert model["classes"]["a"] == pytest.approx(a | no_curve)
    for score in ("precision", "recall", "specificity", "f1"):
        assert model["macro"][score] == pytest.approx((a[score] + b[score]) / 2)
        assert model["weighted"][score] == pytest.approx((4 * a[score] + 6 * b[score]) / 10)
        assert model["micro"][score] == pytest.approx(0.7)
    assert model["mcc"] == pytest.approx((4 * 3 - 1 * 2) / math.sqrt(5 * 6 * 4 * 5))
    assert model["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    z, n, p = 1.959963984540054, 10, 0.7
    middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    assert model["accuracy_low"] == pytest.approx((middle - half) / (1 + z * z / n))
    assert model["accuracy_high"] == pytest.approx((middle + half) / (1 + z * z / n))


def test_undefined_scores() -> None:
    """[19, 20, 22] 0/0 is absent, but 0 in macro and weighted where another class defines it."""
    model = only(replay(batch({("a", "b"): 1})))
    nothing, zero = None, 0.0
    no_curve = {"roc_auc": None, "average_precision": None}
    a = {"precision": nothing, "recall": 0, "specificity": nothing, "f1": 0, "support": 1}
    b = {"precision": 0, "recall": nothing, "specificity": 0, "f1": 0, "support": 0}
    assert model["classes"] == {"a": a | no_curve, "b": b | no_curve}
    assert set(model["macro"].values()) == set(model["weighted"].values()) == {zero}
    assert (model["mcc"], model["kappa"]) == (None, 0)
    model = only(replay(batch({("a", "a"): 1, ("b", "a"): 1})))
    assert model["classes"]["b"]["precision"] is None
    assert model["macro"]["precision"] == model["weighted"]["precision"] == 0.25
    model = only(replay(batch({("a", "a"): 2})))
    ones = {"precision": 1, "recall": 1, "f1": 1}
    assert model["classes"]["a"] == {**ones, "specificity": None, "support": 2} | no_curve
    for average in ("macro", "weighted", "micro"):
        assert model[average] == {**ones, "specificity": None}
    assert (model["mcc"], model["kappa"]) == (None, None)


def test_nothing_judged() -> None:
    """[22] Null scores, no classes."""
    model = only(replay([response_event(["a"])]))
    assert (model["judged"], model["coverage"], model["reward_mean"]) == (0, 0, None)
    for score in ("accuracy", "accuracy_low", "accuracy_high", "mcc", "kappa"):
        assert model[score] is None
    assert model["confusion"] == []
    assert model["classes"] == {}
    assert set(model["macro"].values()) == {None}


# Properties


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Event], Any, list[Event], list[Event]]:
    """Events, a models file, the events in another order, and some of them."""
    events = draw(event_lists(doubtful=True, nan=True))
    file = draw(models_files(doubtful=True, exclude=True))
    other = list(draw(st.permutations(events)))
    some = draw(st.lists(st.sampled_from(events))) if events else []
    return events, file, other, some


@given(cases(), st.sampled_from(["request", "feedback"]))
def test_order_and_repetition_do_not_matter(
    case: tuple[list[Event], Any, list[Event], list[Event]], by: str
) -> None:
    """[12]"""
    events, file, other, some = case
    result = replay(events, file, by)
    assert replay(other, file, by) == result
    again = replay(events + some, file, by)
    assert again["models"] == result["models"]
    for key in ("unmatched_feedback", "rows_differ", "ambiguous", "not_scorable"):
        assert again["events"][key] == result["events"][key]
    assert certain_duplicates(other) == certain_duplicates(events)


@given(st.data(), st.sampled_from(["request", "feedback"]))
def test_ranges_add_up(data: st.DataObject, by: str) -> None:
    """[17] What lies before an instant and what lies from it on make the whole."""
    events = data.draw(event_lists())
    _, middle = data.draw(ranges(events))
    keys = ["judged", "correct", "unknown_actual", "rewards", "disagreements"]
    keys += ["predictions"] if by == "request" else []
    parts = (replay(events, None, by, None, middle), replay(events, None, by, middle, None))
    whole = replay(events, None, by)
    factor = 2 if middle is None else 1
    for key in keys:
        sums = [sum(m[key] for m in result["models"]) for result in (*parts, whole)]
        assert sums[0] + sums[1] == factor * sums[2], key
    assert json.dumps(whole, allow_nan=False)


@given(event_lists(doubtful=True), models_files(doubtful=True))
def test_counts_hold_together(events: list[Event], file: Any) -> None:
    """[5, 19, 20, 21]"""
    result = replay(events, file)
    for model in result["models"]:
        known = sum(cell["count"] for cell in model["confusion"])
        numbers = model["measured"]
        assert known + model["unknown_actual"] + numbers == model["judged"] <= model["predictions"]
        assert model["correct"] <= model["judged"]
        assert sum(c["support"] for c in model["classes"].values()) == known
    assert sum(m["judged"] for m in result["models"]) == sum(
        m["judged"] for m in replay(events, file, "feedback")["models"]
    )
