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


_ROWS_DIFFER = Outcome(ROWS_DIFFER, Counts())
#: Right and wrong can't be told apart, or not whose they are.
UNCERTAIN = Outcome(AMBIGUOUS, Counts())


def judge(
    answers: Sequence[Answer], truth: Sequence[Reading] | None, reward: int | None
) -> Outcome:
    """The outcome of one prediction under the feedback that counts; ``reward`` in millionths."""
    if truth is None:
        if reward is None:
            raise ValueError("a feedback without truth and reward judges nothing")
        return _judge_by_reward(answers, reward)
    if len(truth) != len(answers):
        return _ROWS_DIFFER
    by_reward = reward is not None and answers[0].schema.by_reward
    if by_reward and _is_partial(answers, reward):
        return UNCERTAIN
    counts = Counts()
    not_scorable = []
    right = 0
    for answer, row in zip(answers, truth, strict=True):
        if answer.label is None:
            continue
        actual, reason = resolve_truth(row, answer)
        if actual is None:
            not_scorable.append(str(reason))
            continue
        counts.judged += 1
        right += actual == answer.label
        _count(counts, Cell(actual, answer.label))
    counts.correct = right
    if reward is not None:
        counts.rewards, counts.reward_sum = 1, reward
        if counts.judged and (right == 0 if reward > 0 else right == counts.judged):
            counts.disagreements = 1
        if by_reward:
            counts.correct = counts.judged if reward > 0 else 0
    return Outcome(SCORED, counts, tuple(not_scorable))


def _judge_by_reward(answers: Sequence[Answer], reward: int) -> Outcome:
    if _is_partial(answers, reward):
        return UNCERTAIN
    counts = Counts(rewards=1, reward_sum=reward)
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
    return Outcome(SCORED, counts)


def _is_partial(answers: Sequence[Answer], reward: int | None) -> bool:
    """Whether a reward says that some rows of several are right, and not which."""
    return len(answers) > 1 and reward is not None and 0 < reward < MICRO


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
