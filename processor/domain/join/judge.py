"""Judge a prediction by a feedback (counting rules 6 to 10)."""

from collections.abc import Sequence
from typing import NamedTuple

from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.values import FRACTION, SCORES, Answer, Reading, resolve_truth

SCORED, ROWS_DIFFER, AMBIGUOUS = "scored", "rows_differ", "ambiguous"


class Outcome:
    """The result of judging a prediction by a feedback: its kind, its contribution to the counts
    (without the predictions themselves), and the reasons of items that could not be judged. Outcomes
    are compared by identity: `OutcomeResolver` keeps one object of each."""

    __slots__ = ("affects_diagnostics", "counts", "kind", "not_scorable")

    def __init__(self, kind: str, counts: Counts, not_scorable: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.counts = counts
        self.not_scorable = not_scorable
        self.affects_diagnostics = kind != SCORED or bool(not_scorable)


#: The outcome of a reward that could be about several predictions.
UNCERTAIN = Outcome(AMBIGUOUS, Counts())


class Item(NamedTuple):
    """A judged item. ``actual`` is None if the item is known to be wrong and nothing more."""

    predicted: str
    actual: str | None
    correct: bool


class _Verdict(NamedTuple):
    kind: str
    items: list[Item | None]
    not_scorable: tuple[str, ...] = ()
    disagreements: int = 0


def judge(
    answers: Sequence[Answer], truth: Sequence[Reading] | None, reward: int | None
) -> Outcome:
    """The outcome of one prediction by the feedback that counts. ``reward`` is in millionths.

    The reward is added to the sum of rewards even if no item is judged (counting rule 21).
    `ValueError` if there is neither a truth nor a reward.
    """
    verdict = _judge(answers, truth, reward)
    counts = Counts(disagreements=verdict.disagreements)
    if reward is not None:
        counts.rewards, counts.reward_sum = 1, reward
    for item in verdict.items:
        if item is None:
            continue
        counts.judged += 1
        counts.correct += item.correct
        if item.actual is None:
            counts.unknown_actual += 1
        else:
            cell = Cell(item.actual, item.predicted)
            counts.cells[cell] = counts.cells.get(cell, 0) + 1
    return Outcome(verdict.kind, counts, verdict.not_scorable)


def judge_items(
    answers: Sequence[Answer], truth: Sequence[Reading] | None, reward: int | None
) -> list[Item | None]:
    """The judged items of a prediction, None for an item that is not judged. The list is empty unless
    the outcome's kind is `SCORED`."""
    return _judge(answers, truth, reward).items


def _judge(
    answers: Sequence[Answer], truth: Sequence[Reading] | None, reward: int | None
) -> _Verdict:
    partial = len(answers) > 1 and reward is not None and 0 < reward < MICRO
    if truth is None:
        if reward is None:
            raise ValueError("a feedback without truth and reward judges nothing")
        if partial:
            return _Verdict(AMBIGUOUS, [])
        return _Verdict(SCORED, [_by_reward(answer, reward > 0) for answer in answers])
    if len(truth) != len(answers):
        return _Verdict(ROWS_DIFFER, [])
    items, not_scorable = _by_truth(answers, truth)
    if reward is None:
        return _Verdict(SCORED, items, not_scorable)
    right = [item.correct for item in items if item is not None]
    disagreements = int(bool(right) and (not any(right) if reward > 0 else all(right)))
    if answers[0].schema.by_reward:
        if partial:
            return _Verdict(AMBIGUOUS, [], (), disagreements)
        items = [item and item._replace(correct=reward > 0) for item in items]
    return _Verdict(SCORED, items, not_scorable, disagreements)


def _by_truth(
    answers: Sequence[Answer], truth: Sequence[Reading]
) -> tuple[list[Item | None], tuple[str, ...]]:
    """The judged items, and the reasons of items whose truth has no label."""
    items: list[Item | None] = []
    not_scorable = []
    for answer, row in zip(answers, truth, strict=True):
        item = None
        if answer.label is not None:
            actual, reason = resolve_truth(row, answer)
            if actual is None:
                not_scorable.append(str(reason))
            else:
                item = Item(answer.label, actual, actual == answer.label)
        items.append(item)
    return items, tuple(not_scorable)


def _by_reward(answer: Answer, right: bool) -> Item | None:
    if answer.label is None:
        return None
    return Item(answer.label, answer.label if right else _other(answer), right)


def _other(answer: Answer) -> str | None:
    """The other label if exactly two labels are possible (counting rule 8), else None.

    >>> from processor.domain.values import Schema
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
