"""Custom statistics: what they get, what they may return, and that their sums are exact."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from processor.domain.join.judge import judge
from processor.domain.log.observations import BatchBuilder, Feedback, Prediction
from processor.domain.quantities import pack_confidence, pack_number, pack_probabilities
from processor.domain.results import model_result
from processor.domain.statistics import custom
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.custom import JudgedItem, registry
from processor.domain.statistics.sums import Sum
from processor.domain.values import LABEL_SET, NUMBER, SCORES, TEXT, Answer, Reading, Schema
from processor.errors import SettingsError
from processor.models_file import read_models
from tests.support.domain.join_batches import LOG_ID, on_the_log
from tests.support.domain.value_cases import (
    MODEL,
    Arrivals,
    Observation,
    Request,
    arrivals,
    counts,
    observations,
)
from tests.support.log_format_fixture import new_join
from tests.support.own_statistics import PLACE, running

WHO = PLACE + "Everything"


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    read_models({})


def seen_by(monkeypatch: pytest.MonkeyPatch) -> list[JudgedItem]:
    found: list[JudgedItem] = []
    monkeypatch.setattr(custom, "contribute", lambda item, places, sums: found.append(item))
    return found


def test_what_an_item_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules 6 to 8, 24 and 27 to 29."""
    seen = seen_by(monkeypatch)
    schema = Schema(names=("ham", "spam"), statistics=(WHO,))
    spam = Answer("spam", None, SCORES, schema, 2)
    judge([spam], [Reading(TEXT, "ham")], None, [pack_probabilities([0.25, 0.75])])
    judge([spam], None, 0)
    judge([Answer("x", None, TEXT, schema)], None, 0)
    judge([Answer("x", None, TEXT, schema)], [Reading(TEXT, "x")], None, [pack_confidence(0.5)])
    number = Answer(None, None, NUMBER, Schema(unit=-2, tolerance=(10, -1), statistics=(WHO,)))
    judge([number], [Reading(NUMBER, -1e16)], None, [pack_number(10**18)])
    tags = Answer(None, None, LABEL_SET, schema, 0, ("b", "c"))
    judge([tags], [Reading(LABEL_SET, ("a", "b"))], None)
    assert seen == [
        JudgedItem("classification", "spam", "ham", False, (("ham", 16384), ("spam", 49151))),
        JudgedItem("classification", "spam", "ham", False),
        JudgedItem("classification", "x", None, False),
        JudgedItem("classification", "x", "x", True, (("x", 32768),)),
        JudgedItem("regression", 10**18, -(10**18), False, unit=-2),
        JudgedItem("multilabel", ("b", "c"), ("a", "b"), False),
    ]


def test_what_is_not_judged_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_by(monkeypatch)
    answer = Answer("x", None, TEXT, Schema(statistics=(WHO,)))
    judge([answer], [Reading(NUMBER, None), Reading(TEXT, "x")], None)  # rule 10
    judge([answer, answer], None, 500_000)  # rule 8
    judge([Answer(None, "shape", TEXT, Schema(statistics=(WHO,)))], [Reading(TEXT, "x")], None)
    assert not seen


# Exactness

LABELS = st.sampled_from("xyz")
TAGS = st.lists(st.sampled_from("abc"), unique=True).map(sorted)
NUMBERS = st.sampled_from([-3, 0, 1.5, 2, 1e6])
PROBABILITIES = st.sampled_from([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [1, 0, 0]])
KINDS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any], dict[str, Any]]] = {
    "labels": (LABELS, LABELS, {}),
    "numbers": (NUMBERS, NUMBERS, {"task": "regression"}),
    "coarse numbers": (NUMBERS, NUMBERS, {"task": "regression", "unit": 10}),
    "sets": (TAGS, TAGS, {"task": "multilabel", "classes": ["a", "b", "c"]}),
    "probabilities": (PROBABILITIES, LABELS, {"classes": ["x", "y", "z"]}),
}


@st.composite
def cases(draw: st.DrawFn, kind: str) -> tuple[list[Request], Arrivals]:
    row, truth, _ = KINDS[kind]
    requests = []
    for _ in range(draw(st.integers(1, 6))):
        length = draw(st.sampled_from([1, 1, 1, 2]))
        rows, truths, before = (
            draw(st.lists(each, min_size=length, max_size=length)) for each in (row, truth, truth)
        )
        requests.append(Request(rows, truths, draw(st.sampled_from([None, before]))))
    number = sum(2 + (each.before is not None) for each in requests)
    return requests, draw(arrivals(number))


def expected(requests: Sequence[Request], kind: str, unit: int) -> Counter[str]:
    """What `Everything` sums, by numpy and scikit-learn."""
    pairs = [pair for each in requests for pair in zip(each.rows, each.truth, strict=True)]
    found = Counter({"items": len(pairs)})
    if kind == "sets":
        found["wrong"] = sum(set(row) != set(truth) for row, truth in pairs)
        found["labels"] = sum(len({*row} ^ {*truth}) for row, truth in pairs)
    elif "numbers" in kind:
        errors = [
            int(np.rint(row / 10.0**unit)) - int(np.rint(truth / 10.0**unit))
            for row, truth in pairs
        ]
        found["wrong"] = int(np.count_nonzero(errors))
        found["cubes"] = sum(error**3 // 10**12 for error in errors)
        found[f"unit {unit}"] = len(pairs)
    else:
        rows = [row if isinstance(row, str) else "xyz"[int(np.argmax(row))] for row, _ in pairs]
        truths = [truth for _, truth in pairs]
        matrix = confusion_matrix(truths, rows, labels=[*"xyz"])
        found["wrong"] = int(matrix.sum() - np.trace(matrix))
        found.update(
            {
                f"{a}/{p}": int(matrix[i, j])
                for i, a in enumerate("xyz")
                for j, p in enumerate("xyz")
            }
        )
        for row, truth in pairs:
            if kind == "probabilities" and 1 not in row:
                qs = [int(np.rint(65535 * p)) for p in row]
                found["q"] += qs["xyz".index(truth)]
                found["all q"] += sum(qs)
    return found


@pytest.mark.parametrize("in_python", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_sums_do_not_depend_on_order_and_repetition(kind: str, in_python: bool) -> None:
    rule = KINDS[kind][2]

    @given(cases(kind))
    def check(case: tuple[list[Request], Arrivals]) -> None:
        requests, arriving = case
        with running("Everything", **rule), pytest.MonkeyPatch.context() as patch:
            if in_python:
                patch.setattr("processor.domain.join.fold.use_native", False)
            total = counts(observations(requests, {**rule, "statistics": [WHO]}), arriving)
            result = model_result(MODEL, total, "request")
        scores = {
            name: n for name, n in result.custom["everything"].items() if n and name != "undefined"
        }
        unit = 1 if kind == "coarse numbers" else -6
        wanted = {name: float(n) for name, n in expected(requests, kind, unit).items() if n}
        assert scores == wanted
        assert result.custom["everything"]["never"] == 0
        assert result.custom["everything"]["undefined"] is None
        assert result.custom["everything"]["infinite"] is None
        assert not result.custom_failed

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_the_native_fold_sends_the_same_bytes(kind: str) -> None:
    """With other families beside, and without them for models that have no custom statistic."""
    rule = KINDS[kind][2]

    @given(cases(kind))
    def check(case: tuple[list[Request], Arrivals]) -> None:
        requests, arriving = case
        totals: list[Counts] = []
        with running("Everything", "Picky", **rule):
            seen = observations(requests, {**rule, "statistics": [WHO, PLACE + "Picky"]})
            for native in True, False:
                with pytest.MonkeyPatch.context() as patch:
                    if not native:
                        patch.setattr("processor.domain.join.fold.use_native", False)
                    totals.append(counts(seen, arriving))
        assert totals[0] == totals[1]
        plain = counts(observations(requests, rule), arriving)
        totals[0].sums = {key: n for key, n in totals[0].sums.items() if key[0] < Sum.CUSTOM}
        assert totals[0] == plain

    check()


def test_nothing_is_left_after_all_labels_were_taken_back() -> None:
    """Rules 9 and 12: a truth row that is null takes an earlier label back."""
    requests = [Request([row], [None], [row]) for row in "aabx"]
    with running("Everything", "Picky"):
        rule = {"statistics": [WHO, PLACE + "Picky"]}
        seen = observations(requests, rule)
        total = counts(seen, Arrivals([*range(len(seen))], [1]))
    assert total.judged == 0
    assert not total.sums


def test_a_statistic_that_is_not_about_a_model_has_no_scores_of_it() -> None:
    found = []
    for rows, rule in ((["x"], {}), ([1.5], {"task": "regression"})):
        with running("OnlyNumbers"):
            seen = observations(
                [Request(rows, rows)], {**rule, "statistics": [PLACE + "OnlyNumbers"]}
            )
            total = counts(seen, Arrivals([0, 1], [2]))
            found.append(custom.scores(total.sums))
    assert found == [{}, {"only_numbers": {"items": 1}}]


# Failures


def test_items_that_a_statistic_fails_on_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    requests = [Request([label], ["x"]) for label in "abcdefxx"]
    with running("Picky", "Broken"):
        seen = observations(requests, {"statistics": [PLACE + "Picky", PLACE + "Broken"]})
        total = counts(seen, Arrivals([*range(len(seen))], [3]))
        result = model_result(MODEL, total, "request")
    assert (total.judged, total.correct) == (8, 2)
    assert result.custom == {"broken_one": {}, "picky": {"cost": 4}}
    assert result.custom_failed == {"picky": 6}
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(messages) == 2
    assert messages[0].startswith(
        f"statistic {PLACE}Picky: contribute failed with RuntimeError: not a, of JudgedItem("
    )
    assert "Broken: scores failed with ZeroDivisionError: " in messages[1]


@pytest.mark.parametrize("in_python", [False, True])
def test_each_failure_is_counted_once(in_python: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeat counts nothing again, a correction and another prediction of the request do."""
    if in_python:
        monkeypatch.setattr("processor.domain.join.fold.use_native", False)
    requests = [Request(["a"], ["x"], ["y"]) for _ in range(4)] + [Request(["x"], ["x"])]
    with running("Picky"):
        seen = observations(requests, {"statistics": [PLACE + "Picky"]})
        join = new_join()

        def failures(*parts: Observation) -> int:
            builder = BatchBuilder()
            for each in parts:
                builder.add(each)
            join.apply(0, 0, on_the_log(builder.build(LOG_ID)))
            return join.telemetry.custom_statistic_errors["picky"]

        predictions = [each for each in seen if isinstance(each, Prediction)]
        feedbacks = [each for each in seen if isinstance(each, Feedback)]
        assert failures(*predictions) == 0
        assert failures(*feedbacks[0:8:2], feedbacks[8]) == 4
        assert failures(*feedbacks[0:8:2]) == 4
        assert failures(*feedbacks[1:8:2]) == 8
        other = predictions[0]._replace(model=MODEL._replace(predictor="canary"))
        assert failures(other) == 9
    assert dict(join.telemetry.custom_statistic_errors) == {"picky": 9}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (
            "b",
            "TypeError: the amount of 'cost' is 1.5: return an integer, such as round(1000000 * x)",
        ),
        ("c", "TypeError: it returned None: return a dict of integers by key"),
        ("d", "TypeError: it returned the key 1: a key is a text of at most 256 bytes"),
        ("e", "UnicodeEncodeError"),
        ("f", "ValueError: the amount of 'x' is 1" + 31 * "0" + ": return 1e30 at most"),
    ],
)
def test_an_error_names_the_statistic_and_the_value(
    label: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running("Picky"):
        found = registry.published["picky"].contribution(
            JudgedItem("classification", label, "x", False)
        )
    assert found is None
    assert f"statistic {PLACE}Picky: contribute failed with {message}" in caplog.text


def test_a_statistic_of_the_log_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Predictions keep their statistics; without these, or switched off, items count as failed."""
    with running("Everything"):
        seen = observations([Request(["x"], ["x"])] * 2, {"statistics": [WHO, "no.such:Thing"]})
        total = counts(seen, Arrivals([0, 1, 2, 3], [1]))
        assert custom.failed(total.sums) == {"no.such:Thing": 2}
        assert custom.scores(total.sums)["everything"]["items"] == 2
    assert caplog.text.count("statistic no.such:Thing needs the module no, which is not there") == 1
    off = counts(seen, Arrivals([0, 1, 2, 3], [1]))
    assert custom.failed(off.sums) == {WHO: 2, "no.such:Thing": 2}
    assert custom.scores(off.sums) == {}
    assert "runs only with PROCESSOR_CUSTOM_STATISTICS=on" in caplog.text


def test_what_an_unsteady_statistic_added_is_taken_back() -> None:
    """The same item contributes the same while it is remembered."""
    requests = [Request([[0.5, 0.3, 0.2]], ["y"], ["x"]), Request(["x"], ["y"], ["x"])]
    with running("Unsteady"):
        seen = observations(requests, {"statistics": [PLACE + "Unsteady"], "classes": [*"xyz"]})
        total = counts(seen, Arrivals([*range(6), 0, 3], [1]))
        left = {key: n for key, n in total.sums.items() if key[0] == Sum.CUSTOM}
        found = registry.published["unsteady"]
        kept = [found.contribution(JudgedItem("classification", "x", "y", False))]
    assert kept != [None]
    assert all(n > 0 for n in left.values())
    assert len(left) == 1


# Loading


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (PLACE + "Nothing", "the module tests.support.own_statistics has no class Nothing"),
        (PLACE + "not_a_class", "has no class, but another object, not_a_class"),
        ("tests.support.nowhere:X", "the module tests.support.nowhere, which is not there: install it"),
        (PLACE + "Incomplete", "has no function scores: write contribute and scores"),
        (PLACE + "NeedsMore", "can't be created: TypeError: "),
        (PLACE + "Reserved", "has the name 'cost_total': give it one of lower-case letters"),
        (PLACE + "Everything2", f"has the name 'everything', as {WHO} has: rename one of them"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_told(place: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_models({"models": [{"match": "a/b", "statistics": [WHO, place]}]}, True)
    assert f"models file (given): models[0].statistics: {place} " in str(error.value)
    assert message in str(error.value)


def test_it_does_not_run_unless_it_is_switched_on() -> None:
    with pytest.raises(SettingsError, match="set it, or remove the statistic"):
        read_models({"models": [{"match": "a/b", "statistics": ["os:system"]}]})
    assert registry.find(WHO) is None
