"""Holding a prediction against a feedback (counting rules 6 to 10)."""

from collections.abc import Sequence

from processor.domain.counts import MICRO, Cell, Counts
from processor.domain.labels import FRACTION, SCORES, Answer, Reading, resolve_truth

SCORED, ROWS_DIFFER, AMBIGUOUS = "scored", "rows_differ", "ambiguous"


class Outcome:
    """What a feedback makes of a prediction: its kind, what it adds to the counts (predictions are
    not among them), and why items could not be judged. Compared by identity: `Judge` keeps one of
    each."""

    __slots__ = ("counts", "kind", "not_scorable")

    def __init__(self, kind: str, counts: Counts, not_scorable: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.counts = counts
        self.not_scorable = not_scorable


#: A reward that does not say which of several predictions it is about.
UNCERTAIN = Outcome(AMBIGUOUS, Counts())


def judge(
    answers: Sequence[Answer], truth: Sequence[Reading] | None, reward: int | None
) -> Outcome:
    """The outcome of one prediction under the feedback that counts; ``reward`` in millionths.

    The reward adds to the sum of rewards whatever becomes of the items (counting rule 21).
    """
    counts = Counts()
    if reward is not None:
        counts.rewards, counts.reward_sum = 1, reward
    partial = len(answers) > 1 and reward is not None and 0 < reward < MICRO
    if truth is None:
        if reward is None:
            raise ValueError("a feedback without truth and reward judges nothing")
        if partial:
            return Outcome(AMBIGUOUS, counts)
        _judge_by_reward(answers, reward, counts)
        return Outcome(SCORED, counts)
    if len(truth) != len(answers):
        return Outcome(ROWS_DIFFER, counts)
    judged = Counts()
    not_scorable = _judge_by_truth(answers, truth, judged)
    if reward is not None and judged.judged:
        wrong = judged.correct == 0 if reward > 0 else judged.correct == judged.judged
        counts.disagreements = int(wrong)
    if reward is not None and answers[0].schema.by_reward:
        if partial:
            return Outcome(AMBIGUOUS, counts)
        judged.correct = judged.judged if reward > 0 else 0
    counts.add(judged)
    return Outcome(SCORED, counts, not_scorable)


def _judge_by_truth(
    answers: Sequence[Answer], truth: Sequence[Reading], counts: Counts
) -> tuple[str, ...]:
    """Count the items; the reasons of those whose truth has no label."""
    not_scorable = []
    for answer, row in zip(answers, truth, strict=True):
        if answer.label is None:
            continue
        actual, reason = resolve_truth(row, answer)
        if actual is None:
            not_scorable.append(str(reason))
            continue
        counts.judged += 1
        counts.correct += actual == answer.label
        _count(counts, Cell(actual, answer.label))
    return tuple(not_scorable)


def _judge_by_reward(answers: Sequence[Answer], reward: int, counts: Counts) -> None:
    for answer in answers:
        if answer.label is None:
            continue
        counts.judged += 1
        if reward > 0:
            counts.correct += 1
            _count(counts, Cell(answer.label, answer.label))
        else:
            other = _other(answer)
            if other is None:
                counts.unknown_actual += 1
            else:
                _count(counts, Cell(other, answer.label))


def _other(answer: Answer) -> str | None:
    """The one other label where exactly two are possible (counting rule 8).

    >>> from processor.domain.labels import Schema
    >>> _other(Answer("cat", None, SCORES, Schema(names=("cat", "dog"))))
    'dog'
    """
    schema = answer.schema
    labels = schema.names if answer.mode == SCORES and schema.names else schema.classes
    if answer.mode == FRACTION and (labels is None or len(labels) != 2):
        labels = ("0", "1")
    if labels is None or len(labels) != 2 or labels[0] == labels[1] or answer.label not in labels:
        return None
    return labels[answer.label == labels[0]]


def _count(counts: Counts, cell: Cell) -> None:
    counts.cells[cell] = counts.cells.get(cell, 0) + 1
