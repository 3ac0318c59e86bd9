"""Rows to labels, and truth rows to actual labels (counting rules 4 to 6)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from processor.domain.interpreter import interpret, name_truth, resolve_truth
from processor.domain.row_reader import read_row, read_truth
from processor.domain.values import (
    INTEGER,
    NUMBER,
    PROBABILITY,
    SCORES,
    TEXT,
    Answer,
    Output,
    Reading,
    Schema,
    digest,
)

NAMES = ("a", "b", "c")
LONG = "x" * 257
PLAIN = Schema()


def predicted(row: object, schema: Schema = PLAIN, output: Output | None = None) -> str:
    """The label of a row, "number", or an exclamation mark and the reason why it has neither."""
    answer, packed = interpret(read_row(row), schema, output)
    if answer.label is None and answer.reason is None:
        assert answer.mode == NUMBER
        assert len(packed) == 8
        return "number"
    assert (answer.label is None) != (answer.reason is None)
    return answer.label if answer.label is not None else f"!{answer.reason}"


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ([0.1, 0.7, 0.2], "1"),  # 4
        ([0.4, 0.4, 0.2], "0"),
        ([-3, -1, -2], "1"),
        ([1, 1.5], "1"),
        ([0, 0, 1], "2"),
        ([1e308, 1.5e308], "1"),
        ([10**400, 1], "0"),
        ([1, math.nan], "!no_maximum"),
        ([1, -math.inf], "!no_maximum"),
        ([math.inf, -math.inf], "!no_maximum"),
        ([1e308, 1e308, math.inf], "!no_maximum"),
        ([10**400, math.nan], "!no_maximum"),
        ([0.5, 0.5], "!no_maximum"),
        ([1, 1], "!no_maximum"),
        ([1, 0, 1.0], "!multi_label"),
        ([1, 0, 1, 0.5], "0"),
        ([2, 1, 0, 1], "0"),
        ([0.1, "a"], "!shape"),
        ([True, False], "!shape"),
        ([[0.1, 0.9], [0.9, 0.1]], "!shape"),
        ([0.1, None], "!shape"),
        ([], "!shape"),
        ([[]], "!shape"),
        ([[[0.1, 0.9]]], "1"),  # 3
        ([[[7]]], "7"),
        (1, "1"),  # 5
        (1.0, "1"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (2**53 - 1, "9007199254740991"),
        (1 - 2**53, "-9007199254740991"),
        (2**53, "!out_of_range"),
        (float(2**53), "!out_of_range"),
        (-(2**53), "!out_of_range"),
        (10**400, "!out_of_range"),
        (1e300, "!out_of_range"),
        (True, "1"),
        (False, "0"),
        (0.5, "1"),
        (math.nextafter(0.5, 0), "0"),
        (5e-324, "0"),
        (math.nextafter(1, 0), "1"),
        (1.5, "number"),
        (-0.5, "number"),
        (math.nan, "!no_maximum"),
        (math.inf, "!no_maximum"),
        ("1.0", "1.0"),
        ("", "(empty)"),
        (" é\n", " é\n"),
        ("x" * 256, "x" * 256),
        (LONG, "!label_too_long"),
        ("€" * 85, "€" * 85),
        ("€" * 86, "!label_too_long"),
        (None, "!shape"),
        ({"a": 1}, "!shape"),
    ],
)
def test_a_row_alone(row: object, label: str) -> None:
    """Counting rules 3 to 5."""
    assert predicted(row) == label


@pytest.mark.parametrize(
    ("row", "schema", "output", "label"),
    [
        ([0.1, 0.7, 0.2], Schema(NAMES), None, "b"),  # 4
        ([0.1, 0.9], Schema(NAMES), None, "1"),
        ([0.1, 0.7, 0.2], Schema(None, NAMES), None, "b"),
        ([0.1, 0.7, 0.2], Schema(("x", "y", "z"), NAMES), None, "y"),
        ([0.1, 0.9], Schema((LONG, "b")), None, "b"),
        ([0.9, 0.1], Schema((LONG, "b")), None, "!label_too_long"),
        (1, Schema(NAMES), None, "1"),
        (0.6, Schema(None, ("no", "yes")), None, "yes"),  # 5
        (0.4, Schema(None, ("no", "yes")), None, "no"),
        (0.6, Schema(None, NAMES), None, "1"),
        (0.6, Schema(threshold=0.7), None, "0"),
        (0.7, Schema(threshold=0.7), None, "1"),
        (0.6, Schema(None, ("no", LONG)), None, "!label_too_long"),
        (1, Schema(None, ("no", "yes")), None, "yes"),
        (1, Schema(None, ("no", "yes")), "probability", "yes"),
        (0.0, PLAIN, "probability", "0"),
        (True, PLAIN, "probability", "1"),
        (2, PLAIN, "probability", "!shape"),
        (1.5, PLAIN, "probability", "!shape"),
        ("0.5", PLAIN, "probability", "!shape"),
        ([0.1, 0.9], PLAIN, "probability", "!shape"),
        ([0.1, 0.9], PLAIN, "scores", "1"),
        ([0.5, 0.5], PLAIN, "scores", "!no_maximum"),
        ([math.nan, 1], PLAIN, "scores", "!no_maximum"),
        ([1, 0, 1], PLAIN, "scores", "!multi_label"),
        (0.5, PLAIN, "scores", "!shape"),
        (1, PLAIN, "scores", "!shape"),
        (math.nan, PLAIN, "scores", "!shape"),
        ("no_maximum", PLAIN, "scores", "!shape"),
        (7, PLAIN, "label", "7"),
        ("cat", PLAIN, "label", "cat"),
        (LONG, PLAIN, "label", "!label_too_long"),
        (0.5, PLAIN, "label", "!shape"),
        (1.5, PLAIN, "label", "!shape"),
        (math.nan, PLAIN, "label", "!shape"),
        ([0.1, 0.9], PLAIN, "label", "!shape"),
    ],
)
def test_a_row_with_names_and_a_models_file(
    row: object, schema: Schema, output: Output | None, label: str
) -> None:
    """Counting rules 4 and 5."""
    assert predicted(row, schema, output) == label


SCORED = Answer("b", None, SCORES, Schema(NAMES), 3)
NUMBERED = Answer("b", None, SCORES, Schema(("2", "1", "0")), 3)
BARE = Answer("1", None, SCORES, PLAIN, 3)
CLASSED = Answer("b", None, SCORES, Schema(None, NAMES), 3)
ONE = Answer("b", None, INTEGER, Schema(None, NAMES))
BARE_ONE = Answer("1", None, INTEGER, PLAIN)
PROBABLE = Answer("1", None, PROBABILITY, PLAIN, 2)
PROBABLE_OF_TWO = Answer("yes", None, PROBABILITY, Schema(None, ("no", "yes"), 0.7), 2)
WORD = Answer("cat", None, TEXT, PLAIN)
WORD_OF_THREE = Answer("a", None, TEXT, Schema(None, NAMES))


@pytest.mark.parametrize(
    ("truth", "answer", "actual"),
    [
        (2, SCORED, "c"),  # 6
        (2.0, SCORED, "c"),
        (True, SCORED, "b"),
        (3, SCORED, "!position"),
        (-1, SCORED, "!position"),
        ("2", SCORED, "2"),
        (2, NUMBERED, "2"),
        (3, NUMBERED, "!position"),
        (7, BARE, "7"),
        (2, CLASSED, "c"),
        (3, CLASSED, "!position"),
        (2, ONE, "c"),
        (7, ONE, "!position"),
        (True, ONE, "b"),
        (2, BARE_ONE, "2"),
        (True, BARE_ONE, "1"),
        (1, PROBABLE, "1"),
        (7, PROBABLE, "7"),
        (0.2, PROBABLE, "0"),
        (1, PROBABLE_OF_TWO, "yes"),
        (False, PROBABLE_OF_TWO, "no"),
        (2, PROBABLE_OF_TWO, "!position"),
        (0.6, PROBABLE_OF_TWO, "no"),
        (2, WORD, "2"),
        (2, WORD_OF_THREE, "c"),
        (3, WORD_OF_THREE, "!position"),
        ([0, 0, 1], SCORED, "c"),  # 4
        ([0, 1], SCORED, "1"),
        ([0, 0, 1], CLASSED, "c"),
        ([0, 0, 1], BARE, "2"),
        ([0, 0, 0], SCORED, "!no_maximum"),
        ([1, 0, 1], SCORED, "!multi_label"),
        (1.5, ONE, "!kinds_differ"),
        (None, ONE, "!withdrawn"),
        ([[None]], ONE, "!withdrawn"),
        (LONG, WORD, "!label_too_long"),
        (0, Answer("b", None, SCORES, Schema((LONG, "b")), 2), "!label_too_long"),
        ([1, 0], Answer("b", None, SCORES, Schema((LONG, "b")), 2), "!label_too_long"),
    ],
)
def test_truth_beside_a_prediction(truth: object, answer: Answer, actual: str) -> None:
    """Counting rules 4 to 6."""
    label, reason = resolve_truth(read_truth(truth), answer)
    assert (label if label is not None else f"!{reason}") == actual


@pytest.mark.parametrize(
    ("row", "names", "expected"),
    [
        ([0, 0, 1], ["c", "b", "a"], Reading(TEXT, "a")),
        ([0, 0, 1], None, Reading(SCORES, 2, 3)),
        ([0, 0, 1], ["c", "b"], Reading(SCORES, 2, 3)),
        ([0, 1], ["a", LONG], read_row(LONG)),
        (1, ["a"], Reading(INTEGER, 1)),
        ("b", ["a"], Reading(TEXT, "b")),
    ],
)
def test_truth_with_its_own_names(row: object, names: Any, expected: Reading) -> None:
    """Counting rule 4."""
    assert name_truth(read_row(row), names) == expected


def test_digests_differ_by_content() -> None:
    """Counting rule 12: digests have 64 bits and are equal in every process."""
    contents = [("a",), ("a", None), (None, "a"), (("a",),), (1,), ("1",), (0.5,), ((1, 2),), ()]
    assert len({digest(*content) for content in contents}) == len(contents)
    assert all(0 <= digest(*content) < 2**64 for content in contents)
    assert digest("a", 1, (0.5, None)) == 11384183694547752867
