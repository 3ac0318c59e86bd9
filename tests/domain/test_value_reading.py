"""Rows that are numbers, probabilities, label sets or labels with a confidence, and their truth
(counting rules 4, 6, 8, 24 and 27)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.interpreter import (
    interpret,
    map_truth,
    name_truth,
    resolve_number,
    resolve_set,
    resolve_truth,
)
from processor.domain.join.judge import judge
from processor.domain.quantities import ONE, to_units, unpack_number, unpack_probabilities
from processor.domain.row_reader import RowRules, read_row, read_truth
from processor.domain.values import (
    LABEL_SET,
    NUMBER,
    Answer,
    Labelled,
    NamedScores,
    Output,
    Reading,
    Schema,
    Task,
)
from tests.support.oracle.value_scores import in_units, kept, quantized

TWO, THREE = ("no", "yes"), ("a", "b", "c")
LONG = "x" * 257


def answered(
    row: object, schema: Schema, task: Task | None = None, output: Output | None = None
) -> tuple[Answer, bytes]:
    """The predicted item of a row, and its packed values."""
    rules = RowRules(task, output, schema.threshold)
    return interpret(read_row(row, rules), schema, output, None, task)


def said(answer: Answer) -> str | tuple[str, ...]:
    """The label or the labels of an answer, or an exclamation mark and the reason."""
    if answer.reason is not None:
        return f"!{answer.reason}"
    return answer.labels if answer.label is None else answer.label


@given(st.floats(0, 1), st.sampled_from([0.5, 0.3, 0.9]))
def test_a_number_beside_two_classes_is_a_probability(p: float, threshold: float) -> None:
    """Also 0 and 1, which are labels without classes."""
    answer, packed = answered(p, Schema(None, TWO, threshold))
    assert answer.label == TWO[p >= threshold]
    second = quantized(p)
    expected = [quantized(1 - Fraction(p)), second]
    if set(expected) <= {0, ONE}:
        assert packed == b""
    else:
        assert [q for _, q in unpack_probabilities(packed, 2)] == expected
    plain, _ = answered(p, Schema(None, None, threshold))
    assert plain.label == str(int(p >= threshold) if 0 < p < 1 else int(p))


@pytest.mark.parametrize(
    ("row", "classes", "output", "label"),
    [
        (1, TWO, None, "yes"),
        (0, TWO, None, "no"),
        (True, TWO, None, "yes"),
        (2, TWO, None, "2"),  # neither a probability nor a position
        (1, TWO, "label", "yes"),
        (2, TWO, "label", "2"),
        (2, THREE, None, "c"),
        (2.0, THREE, None, "c"),
        (3, THREE, None, "3"),
        (-1, THREE, None, "-1"),
        (1, ("0", "1", "2"), None, "1"),
        (1, ("1", "2", "3"), None, "1"),  # a text among them is that
        (0, ("1", "2", "3"), None, "1"),
        ("1", THREE, None, "1"),  # a text is no position
        ("", None, None, "(empty)"),
        ([""], None, "label", "(empty)"),
        (math.nan, TWO, None, "!no_maximum"),
        (math.inf, None, None, "!no_maximum"),
        ([0.1, math.nan], TWO, None, "!no_maximum"),
        ([0.5, 0.5], None, None, "!no_maximum"),
        ([1, 0, 1], None, None, "!multi_label"),
        (NamedScores(("cat", "dog"), (0.25, 0.75)), None, None, "!shape"),
        (NamedScores(("cat", "dog"), (3, 9)), None, None, "!shape"),
    ],
)
def test_labels(
    row: object, classes: tuple[str, ...] | None, output: Output | None, label: str
) -> None:
    """Rule 4."""
    schema = Schema(None, classes)
    if isinstance(row, NamedScores):
        schema = schema._replace(names=row.names)
        if sum(row.scores) == 1:
            label = "dog"
        assert said(answered(row, schema, None, "scores")[0]) == "dog"
    assert said(answered(row, schema, None, output)[0]) == label


@pytest.mark.parametrize(
    ("row", "task", "expected"),
    [
        (21.5, None, 21_500_000),
        (21.5, "regression", 21_500_000),
        (1, "regression", 1_000_000),
        (0.5, "regression", 500_000),
        (True, "regression", 1_000_000),
        ([[7]], "regression", 7_000_000),
        (2.5e-6, None, "0"),  # strictly between 0 and 1: a probability
        (1 / 128, "regression", 7812),  # half to even
        (1e12, "regression", 10**18),
        (1.1e12, "regression", "!out_of_range"),
        (2**53, None, "!out_of_range"),
        (10**400, "regression", "!out_of_range"),
        (math.nan, "regression", "!no_maximum"),
        ("cat", "regression", "!shape"),
        ([0.1, 0.9], "regression", "!shape"),
        (None, "regression", "!shape"),
        (21.5, "classification", "!shape"),
        (0.75, "classification", "1"),
        (3, "classification", "3"),
    ],
)
def test_numbers(row: object, task: Task | None, expected: int | str) -> None:
    """Rules 4 and 27."""
    answer, packed = answered(row, Schema(), task)
    if isinstance(expected, str):
        assert said(answer) == expected
    else:
        assert (answer.label, answer.reason, answer.mode) == (None, None, NUMBER)
        assert unpack_number(packed) == expected


@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30)),
    st.integers(-12, 12),
)
def test_units_are_of_the_exact_value(number: float, unit: int) -> None:
    """Rule 27: half to even, at most 10^18."""
    assert to_units(number, unit) == in_units(number, unit)


@given(st.lists(st.floats(0, 1) | st.sampled_from([0, 1]), min_size=2, max_size=20))
def test_probabilities_are_kept(weights: list[float]) -> None:
    """Rule 24: all of up to 16, above the ten largest; none of scores that are no probabilities."""
    total = math.fsum(weights)
    row = [weight / total for weight in weights] if total > 1e-300 else weights
    for scores in (row, [2 * score for score in row], weights):
        answer, packed = answered(scores, Schema())
        expected = kept(scores) if answer.reason is None else {}
        found = dict(unpack_probabilities(packed, len(scores))) if packed else {}
        assert found == expected


# Label sets

MANY = RowRules("multilabel")


@pytest.mark.parametrize(
    ("row", "names", "classes", "expected"),
    [
        ([1, 0, 1], None, None, ("0", "2")),
        ([1, 0, 1], None, THREE, ("a", "c")),
        ([1, 0, 1], ("x", "y", "z"), THREE, ("x", "z")),
        ([1, 0, 1], ("x", "y"), THREE, ("a", "c")),
        ([0.9, 0.5, 0.49], None, THREE, ("a", "b")),
        ([True, False, True], None, THREE, ("a", "c")),
        ([0, 0, 0], None, THREE, ()),
        (["dog", "cat", "dog"], None, None, ("cat", "dog")),
        (["", "cat"], None, None, ("(empty)", "cat")),
        ([], None, None, ()),
        ([[1, 0, 1]], None, None, ("0", "2")),
        (["cat", 1], None, None, "!shape"),
        ([2, 0, 1], None, None, "!shape"),
        ([1, math.nan], None, None, "!no_maximum"),
        (["cat", LONG], None, None, "!label_too_long"),
        (None, None, None, "!shape"),
    ],
)
def test_label_sets(row: object, names: Any, classes: Any, expected: tuple[str, ...] | str) -> None:
    """Rule 4: a label twice counts once, and a set can be empty."""
    answer, packed = answered(row, Schema(names, classes), "multilabel")
    assert said(answer) == expected
    assert packed == b""


@given(
    st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=2, max_size=6),
    st.floats(0.01, 0.99),
)
def test_label_sets_take_the_threshold(row: list[float], threshold: float) -> None:
    answer, _ = answered(row, Schema(None, None, threshold), "multilabel")
    assert answer.labels == tuple(sorted(str(i) for i, p in enumerate(row) if p >= threshold))


@pytest.mark.parametrize(
    ("truth", "names", "expected"),
    [
        ([0, 1, 1], None, ("b", "c")),  # the prediction's names
        ([0, 1, 1], ("c", "b", "a"), ("a", "b")),  # its own
        ([0, 1], None, ("1",)),  # another number of labels
        (["c", "ghost"], None, ("c", "ghost")),
        ([], None, ()),
        ("c", None, ("c",)),
        (None, None, "!withdrawn"),
        ([2, 1, 1], None, "!shape"),
        (["c", LONG], None, "!label_too_long"),
    ],
)
def test_truth_beside_a_label_set(truth: object, names: Any, expected: object) -> None:
    """Rule 6."""
    answer, _ = answered([1, 0, 1], Schema(None, THREE), "multilabel")
    actual, reason = resolve_set(name_truth(read_truth(truth, MANY), names), answer)
    assert (actual if reason is None else f"!{reason}") == expected


def test_a_label_map_applies_to_label_sets() -> None:
    mapped = map_truth(read_row(["0", "1", "2"], MANY), {"0": "cat", "1": "cat"})
    assert mapped == Reading(LABEL_SET, ("cat", "2"))
    answer, _ = interpret(read_row([1, 1, 0], MANY), Schema(), None, {"0": "cat"}, "multilabel")
    assert answer.labels == ("1", "cat")


# Truth of another kind

NUMBERED = answered(21.5, Schema())[0]
LABELLED = answered("cat", Schema())[0]
PROBABLE = answered(0.75, Schema())[0]
SCORED = answered([0.1, 0.9], Schema())[0]
POSITIONED = answered(1, Schema(None, THREE))[0]


@pytest.mark.parametrize(
    ("truth", "answer", "expected"),
    [
        (21.5, LABELLED, "!kinds_differ"),
        (21.5, PROBABLE, "!kinds_differ"),
        (-0.5, SCORED, "!kinds_differ"),
        (2.0**60, LABELLED, "!kinds_differ"),
        (2, POSITIONED, "c"),
        (3, POSITIONED, "!position"),
        (-1, POSITIONED, "!position"),
        (True, POSITIONED, "b"),
        ("3", POSITIONED, "3"),
        (1, answered(0.75, Schema(None, TWO))[0], "yes"),
        (1.0, answered(1, Schema(None, TWO))[0], "yes"),
        (2, answered(0.75, Schema(None, TWO))[0], "!position"),
        (None, LABELLED, "!withdrawn"),
        ([[None]], LABELLED, "!withdrawn"),
        ([None, None], LABELLED, "!shape"),
        (math.nan, LABELLED, "!no_maximum"),
        ("", LABELLED, "(empty)"),
    ],
)
def test_truth_beside_a_label(truth: object, answer: Answer, expected: str) -> None:
    """Rules 6 and 9."""
    label, reason = resolve_truth(read_truth(truth), answer)
    assert (label if reason is None else f"!{reason}") == expected


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (3, 3_000_000),
        (0.5, 500_000),
        (True, 1_000_000),
        (-21.5, -21_500_000),
        (1e300, "!out_of_range"),
        (10**400, "!out_of_range"),
        ("21.5", "!kinds_differ"),
        ([0.1, 0.9], "!kinds_differ"),
        (math.inf, "!no_maximum"),
        (None, "!withdrawn"),
        ({}, "!shape"),
    ],
)
def test_truth_beside_a_number(truth: object, expected: int | str) -> None:
    """Rules 6 and 27."""
    amount, reason = resolve_number(read_truth(truth), NUMBERED)
    assert (amount if reason is None else f"!{reason}") == expected


@pytest.mark.parametrize("reward", [0, 500_000, 1_000_000])
def test_a_reward_beside_a_number_or_a_label_set_judges_nothing(reward: int) -> None:
    """Rule 8."""
    labels, _ = answered(["a"], Schema(), "multilabel")
    for answers in ([NUMBERED], [labels], [NUMBERED, labels]):
        outcome = judge(answers, None, reward)
        assert (outcome.kind, outcome.counts.judged) == ("scored", 0)
        assert (outcome.counts.rewards, outcome.counts.reward_sum) == (1, reward)


@pytest.mark.parametrize(
    ("row", "schema", "other"),
    [
        ([0.9, 0.1], Schema(), "1"),
        ([3.0, 9.0], Schema(), "0"),
        (0.75, Schema(), "0"),
        (1, Schema(None, TWO), "no"),
        ([0.9, 0.1], Schema(("x", "y"), TWO), "y"),
        ([0.2, 0.7, 0.1], Schema(), None),
        (1, Schema(None, THREE), None),
        (1, Schema(), None),
    ],
)
def test_the_other_of_two(row: object, schema: Schema, other: str | None) -> None:
    """Rule 8: two names, two classes, two scores or a probability."""
    answer, _ = answered(row, schema)
    counts = judge([answer], None, 0).counts
    assert counts.unknown_actual == (other is None)
    assert [cell.actual for cell in counts.cells] == ([] if other is None else [other])


@pytest.mark.parametrize(
    ("row", "width", "q"),
    [
        (Labelled("cat", 0.75), 0, [quantized(0.75)]),
        (Labelled("cat", 1.0), 0, []),
        (Labelled("cat", 1.5), 0, []),
        (Labelled(1, None, 0.75), 2, [quantized(0.25), quantized(0.75)]),
        (Labelled(1, None, None, (0.2, 0.7, 0.1)), 3, [*map(quantized, (0.2, 0.7, 0.1))]),
        (Labelled(1, None, None, (2.0, 7.0)), 0, []),
        (Labelled("cat"), 0, []),
    ],
)
def test_a_label_with_a_confidence(row: Labelled, width: int, q: list[int]) -> None:
    """Rules 5 and 24."""
    answer, packed = answered(row, Schema())
    assert (answer.label, answer.width) == (str(row.label), width)
    found = (
        [one for _, one in unpack_probabilities(packed, width)]
        if width
        else [int.from_bytes(packed, "little")]
        if packed
        else []
    )
    assert found == q
