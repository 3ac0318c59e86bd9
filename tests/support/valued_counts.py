"""Counts of models that answer with probabilities, numbers or label sets; the same in each run."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from processor.domain.join.judge import judge
from processor.domain.quantities import pack_number, pack_probabilities, to_units
from processor.domain.statistics.counts import Counts
from processor.domain.values import (
    LABEL_SET,
    NUMBER,
    SCORES,
    TEXT,
    Answer,
    Reading,
    Schema,
)


class Probable(NamedTuple):
    """An item: the probabilities of the classes, and the position of the actual one."""

    scores: tuple[float, ...]
    actual: int


def probable_items(classes: int, number: int, seed: int = 1) -> list[Probable]:
    """Items of a model whose probabilities are about right."""
    random = Random(seed)
    items = []
    for _ in range(number):
        weights = [random.gammavariate(0.5, 1) for _ in range(classes)]
        scores = tuple([weight / sum(weights) for weight in weights])
        (actual,) = random.choices(range(classes), [0.1 + score for score in scores])
        items.append(Probable(scores, actual))
    return items


def probable_counts(
    items: Sequence[Probable], names: tuple[str, ...], mode: int = SCORES
) -> Counts:
    """The counts of items with probabilities, all judged by a truth. ``mode`` is PROBABILITY if each
    row was that of the second class alone."""
    counts = Counts()
    for scores, actual in items:
        predicted = names[scores.index(max(scores))]
        answer = Answer(predicted, None, mode, Schema(names=names), len(names))
        _judge(counts, answer, Reading(TEXT, names[actual]), pack_probabilities(scores))
    return counts


def number_counts(
    pairs: Sequence[tuple[float, float]], tolerance: tuple[int, int] | None = None
) -> Counts:
    """The counts of numbers, each a prediction and its truth."""
    counts = Counts()
    schema = Schema(tolerance=tolerance)
    for predicted, actual in pairs:
        amount = to_units(predicted, schema.unit)
        assert amount is not None
        answer = Answer(None, None, NUMBER, schema)
        _judge(counts, answer, Reading(NUMBER, actual), pack_number(amount))
    return counts


def set_counts(pairs: Sequence[tuple[frozenset[str], frozenset[str]]]) -> Counts:
    """The counts of label sets, each a prediction and its truth."""
    counts = Counts()
    for predicted, actual in pairs:
        answer = Answer(None, None, LABEL_SET, Schema(), labels=tuple(sorted(predicted)))
        _judge(counts, answer, Reading(LABEL_SET, tuple(sorted(actual))), b"")
    return counts


def _judge(counts: Counts, answer: Answer, truth: Reading, packed: bytes) -> None:
    counts.predictions += 1
    outcome = judge([answer], [truth], None, [packed])
    assert not outcome.not_scorable
    counts.add(outcome.counts)
