"""Plans to judge packed values: all that is known of an answer, a truth and a reward before the values
are, so that the native extension can do the rest."""

from copy import copy
from enum import IntEnum
from typing import NamedTuple

from processor.domain.interpreter import class_names, resolve_number, second_class
from processor.domain.join.judge import SCORED, Outcome, judge, judge_items
from processor.domain.quantities import pack_number
from processor.domain.statistics.counts import Counts
from processor.domain.values import NUMBER, PROBABILITY, Answer, Reading

#: The kinds of plans in the native extension.
LABELS, PROBABILITIES, CONFIDENCE, NUMBERS = range(4)


class Plan(NamedTuple):
    """How to judge the values of one item.

    ``outcomes`` count whatever the values are: one, but for NUMBERS those of a number that is not within
    the tolerance, of one that is, and of a truth that is out of range. The other fields are for some
    kinds: ``names`` of the classes, ``own`` which of them is the actual, ``top`` the position of the
    predicted label (-1 if it has none), ``right`` whether it is the actual, ``second`` the second class
    of two and whether a threshold decided between them; ``unit`` and ``tolerance`` are those of the
    `Schema`, and ``truth`` is a number in units where the row of the feedback has none.
    """

    kind: int
    outcomes: tuple[Outcome, ...]
    names: tuple[str, ...] = ()
    own: tuple[bool, ...] = ()
    top: int = -1
    right: bool = False
    second: tuple[str, bool] | None = None
    unit: int = 0
    tolerance: tuple[int, int] | None = None
    truth: int | None = None


def label_plan(answer: Answer, truth: Reading | None, reward: int | None, outcome: Outcome) -> Plan:
    """Return how to judge the probabilities of an answer, which has this outcome without them."""
    rows = None if truth is None else [truth]
    items = judge_items([answer], rows, reward) if outcome.kind == SCORED else []
    actual = items[0].actual if items and items[0] is not None else None
    if actual is None or answer.label is None:
        return Plan(LABELS, (outcome,))
    right = answer.label == actual
    if not answer.width:
        return Plan(CONFIDENCE, (outcome,), right=right)
    names, second = class_names(answer), second_class(answer)
    return Plan(
        PROBABILITIES,
        (outcome,),
        names,
        tuple([name == actual for name in names]),
        names.index(answer.label) if answer.label in names else -1,
        right,
        None if second is None else (second, answer.mode == PROBABILITY),
    )


class Part(IntEnum):
    """The part of an item in its message. The reward of several items is counted with the first one, and
    so is its disagreement with the truth of them all (counting rule 7)."""

    ALONE = 0
    FIRST = 1
    FIRST_OF_DISAGREEMENT = 2
    FURTHER = 3


def outcome_of_part(outcome: Outcome, part: int) -> Outcome:
    """The outcome of an item as a part of its message, made of its outcome alone."""
    if part == Part.ALONE:
        return outcome
    counts = copy(outcome.counts)
    counts.disagreements = int(part == Part.FIRST_OF_DISAGREEMENT)
    if part == Part.FURTHER:
        counts.rewards = counts.reward_sum = 0
    if counts == outcome.counts:
        return outcome
    return Outcome(outcome.kind, counts, outcome.not_scorable, outcome.unknown, outcome.measured)


def number_plan(answer: Answer, truth: Reading, reward: int | None) -> Plan:
    """Return how to judge the number of an answer."""

    def of(value: float) -> Outcome:
        row = truth if truth.value is not None else Reading(NUMBER, value)
        return judge([answer], [row], reward, [pack_number(0)])

    found = of(0.0)
    if found.not_scorable:
        return Plan(LABELS, (found,))
    schema = answer.schema
    counts = found.counts
    outcomes = tuple(
        [
            Outcome(
                SCORED,
                Counts(
                    judged=1,
                    correct=correct,
                    rewards=counts.rewards,
                    reward_sum=counts.reward_sum,
                ),
            )
            for correct in (0, 1)
        ]
    )
    fixed = None if truth.value is None else resolve_number(truth, answer)[0]
    return Plan(
        NUMBERS,
        (*outcomes, of(1e300)),
        unit=schema.unit,
        tolerance=schema.tolerance,
        truth=fixed,
    )
