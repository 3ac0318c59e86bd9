"""Predictions judged by a feedback (counting rules 6 to 10, 19 and 21)."""

from __future__ import annotations

import pytest

from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, SCORED, UNCERTAIN, judge
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.values import (
    INTEGER,
    PROBABILITY,
    SCORES,
    TEXT,
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
)

MILLION = 1_000_000


PLAIN = Schema()


def answered(label: str, schema: Schema = PLAIN, mode: int = TEXT, width: int = 0) -> Answer:
    return Answer(label, None, mode, schema, width)


def truths(*labels: str) -> list[Reading]:
    return [Reading(TEXT, label) for label in labels]


A, B = answered("a"), answered("b")
NOTHING = Answer(None, "shape", UNSCORABLE, PLAIN)
BY_REWARD = answered("a", Schema(by_reward=True))


def cells(counts: Counts) -> dict[tuple[str, str], int]:
    """(actual, predicted): n."""
    return {(actual, predicted): n for (actual, predicted), n in counts.cells.items()}


@pytest.mark.parametrize(
    ("labels", "reward", "correct", "disagreements"),
    [
        ("aa", None, 1, 0),
        ("aa", MILLION, 1, 0),  # some are right
        ("aa", 0, 1, 0),
        ("ab", MILLION, 2, 0),
        ("ab", 0, 2, 1),  # all are right, and the reward says wrong
        ("ab", -5, 2, 1),
        ("ba", 1, 0, 1),  # all are wrong, and the reward says right
        ("ba", 0, 0, 0),
    ],
)
def test_truth(labels: str, reward: int | None, correct: int, disagreements: int) -> None:
    """Rule 7: the truth wins over the reward, and the disagreement is counted."""
    outcome = judge([A, B], truths(*labels), reward)
    counts = outcome.counts
    assert outcome.kind == SCORED
    assert (counts.judged, counts.correct, counts.unknown_actual) == (2, correct, 0)
    assert counts.disagreements == disagreements
    assert (counts.rewards, counts.reward_sum) == ((0, 0) if reward is None else (1, reward))
    assert cells(counts) == {(labels[0], "a"): 1, (labels[1], "b"): 1}
    assert counts.predictions == 0


def test_equal_items_share_a_cell() -> None:
    assert cells(judge([A, A, A], truths("a", "b", "b"), None).counts) == {
        ("a", "a"): 1,
        ("b", "a"): 2,
    }


@pytest.mark.parametrize(
    ("truth", "reward", "correct", "disagreements"),
    [
        ("a", 0, 0, 1),
        ("b", 1, 1, 1),
        ("b", 0, 0, 0),
        ("a", MILLION, 1, 0),
        ("a", None, 1, 0),  # there is no reward to judge by
        ("b", None, 0, 0),
    ],
)
def test_judged_by_reward(truth: str, reward: int | None, correct: int, disagreements: int) -> None:
    """Rule 7: the reward decides right or wrong, the truth only the cell."""
    counts = judge([BY_REWARD], truths(truth), reward).counts
    assert (counts.judged, counts.correct, counts.disagreements) == (1, correct, disagreements)
    assert cells(counts) == {(truth, "a"): 1}


def test_several_rows_judged_by_a_fraction() -> None:
    """Rules 7 and 8: ambiguous unless there is one row; a disagreement is counted in either case."""
    outcome = judge([BY_REWARD, BY_REWARD], truths("b", "b"), 1)
    assert outcome.kind == AMBIGUOUS
    assert outcome.counts == Counts(rewards=1, reward_sum=1, disagreements=1)
    assert judge([BY_REWARD], truths("b"), 1).kind == SCORED
    assert judge([BY_REWARD] * 2, truths("a", "b"), MILLION).counts.correct == 2
    assert judge([A, A], truths("a", "b"), MILLION // 2).kind == SCORED


@pytest.mark.parametrize("reward", [1, MILLION // 2, MILLION, 3 * MILLION])
def test_a_reward_above_0_is_right(reward: int) -> None:
    """Rule 8: the item is correct."""
    counts = judge([A], None, reward).counts
    assert counts == Counts(0, 1, 1, 0, 1, reward, 0, {Cell("a", "a"): 1})


@pytest.mark.parametrize(
    ("reward", "kind"),
    [(0, SCORED), (-1, SCORED), (MILLION, SCORED), (MILLION - 1, AMBIGUOUS), (1, AMBIGUOUS)],
)
def test_a_reward_for_several_rows(reward: int, kind: str) -> None:
    """Rule 8: only a fraction is ambiguous. Rule 21: every reward is added to the sum."""
    outcome = judge([A, B], None, reward)
    assert outcome.kind == kind
    assert (outcome.counts.rewards, outcome.counts.reward_sum) == (1, reward)
    assert outcome.counts.judged == (2 if kind == SCORED else 0)


TWO = ("no", "yes")


@pytest.mark.parametrize(
    ("answer", "actual"),
    [
        (answered("1", mode=PROBABILITY, width=2), "0"),
        (answered("0", mode=PROBABILITY, width=2), "1"),
        (answered("yes", Schema(None, TWO), PROBABILITY, 2), "no"),
        (answered("1", Schema(None, ("x", "y", "z")), PROBABILITY, 2), "0"),
        (answered("no", Schema(TWO), SCORES, 2), "yes"),
        (answered("no", Schema(TWO, ("no", "perhaps")), SCORES, 2), "yes"),
        (answered("no", Schema(None, TWO), SCORES, 2), "yes"),
        (answered("no", Schema(None, TWO)), "yes"),
        (answered("0", mode=SCORES, width=2), "1"),
        (answered("1", Schema(None, ("x", "y", "z")), SCORES, 2), "0"),
        (answered("0", mode=SCORES, width=3), None),
        (answered("2", Schema(None, TWO), SCORES, 3), None),
        (answered("perhaps", Schema(None, TWO)), None),
        (answered("a", Schema(("a", "b", "c")), SCORES, 3), None),
        (answered("1", mode=INTEGER), None),
        (answered("a", Schema(("a", "a")), SCORES, 2), None),
        (A, None),
    ],
)
def test_a_reward_of_0_is_wrong(answer: Answer, actual: str | None) -> None:
    """Rule 8: the actual label is the other one of two, else unknown."""
    for reward in (0, -MILLION):
        counts = judge([answer], None, reward).counts
        assert (counts.judged, counts.correct) == (1, 0)
        assert counts.unknown_actual == (actual is None)
        assert cells(counts) == ({} if actual is None else {(actual, answer.label): 1})


def test_a_truth_of_another_number_of_rows() -> None:
    """Rule 10: no item is judged. Rule 21: the reward is added all the same."""
    for truth in (truths("a"), truths("a", "b", "c")):
        outcome = judge([A, B], truth, MILLION)
        assert outcome.kind == ROWS_DIFFER
        assert outcome.counts == Counts(rewards=1, reward_sum=MILLION)
        assert outcome.not_scorable == ()


def test_items_without_a_label() -> None:
    """Rule 5: such items are never judged. The outcome has only the reasons of truths, and only of those
    whose answer has a label."""
    shape = Reading(UNSCORABLE, "shape")
    outcome = judge([NOTHING, A, B], [shape, shape, *truths("b")], 0)
    assert outcome.counts == Counts(0, 1, 1, 0, 1, 0, 1, {Cell("b", "b"): 1})
    assert outcome.not_scorable == ("shape",)
    assert judge([NOTHING, A], None, MILLION).counts.judged == 1
    unjudged = judge([NOTHING], truths("a"), 0)
    assert unjudged.counts == Counts(rewards=1)  # without a judged item nothing disagrees
    position = judge([answered("no", Schema(TWO), SCORES, 2)], [Reading(INTEGER, 2)], None)
    assert position.not_scorable == ("position",)


def test_a_feedback_without_truth_and_reward_is_an_error() -> None:
    """Rule 9: the decoder drops such feedback."""
    with pytest.raises(ValueError, match="judges nothing"):
        judge([A], None, None)
    assert UNCERTAIN.kind == AMBIGUOUS
    assert UNCERTAIN.counts.is_empty()
