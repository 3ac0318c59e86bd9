"""Judge a prediction by a feedback (counting rules 6 to 10)."""

import json
from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from typing import NamedTuple

from processor.domain.interpreter import names_of, resolve_number, resolve_set, resolve_truth
from processor.domain.quantities import unpack_number
from processor.domain.statistics import (
    custom,
    delays,
    error_delays,
    label_sets,
    numbers,
    probabilities,
)
from processor.domain.statistics.counts import MICRO, Cell, Counts
from processor.domain.statistics.custom import JudgedItem
from processor.domain.statistics.delays import UNKNOWN
from processor.domain.statistics.error_delays import MeasuredItem, class_of, unit_label
from processor.domain.statistics.sums import Sums
from processor.domain.values import LABEL_SET, NUMBER, PROBABILITY, SCORES, Answer, Reading

SCORED, ROWS_DIFFER, AMBIGUOUS = "scored", "rows_differ", "ambiguous"


class Outcome:
    """The result of judging a prediction by a feedback: its kind, its contribution to the counts
    (without the predictions themselves), the reasons of items that could not be judged, the predicted
    labels of items whose actual label is not known, and the numbers that were judged. Outcomes are
    hashed by identity: `OutcomeResolver` keeps one object of each that can come again."""

    __slots__ = ("affects_diagnostics", "counts", "kind", "measured", "not_scorable", "unknown")

    def __init__(
        self,
        kind: str,
        counts: Counts,
        not_scorable: tuple[str, ...] = (),
        unknown: tuple[str, ...] = (),
        measured: tuple[MeasuredItem, ...] = (),
    ) -> None:
        self.kind = kind
        self.counts = counts
        self.not_scorable = not_scorable
        self.unknown = unknown
        self.measured = measured
        self.affects_diagnostics = kind != SCORED or bool(not_scorable)

    def differs(self, other: "Outcome") -> bool:
        """Whether another outcome counts otherwise."""
        return self is not other and (
            self.kind != other.kind
            or self.not_scorable != other.not_scorable
            or self.counts != other.counts
            or self.unknown != other.unknown
        )

    def cells(self) -> dict[Cell, int]:
        """The judged items by cell, with those whose actual label is `UNKNOWN`."""
        cells = dict(self.counts.cells)
        for predicted in self.unknown:
            cell = Cell(UNKNOWN, predicted)
            cells[cell] = cells.get(cell, 0) + 1
        return cells

    def contribute_delays(self, bucket: int, sums: Sums, items: int = 1) -> None:
        """Add what the outcome contributes to the sums of delays, if its feedback came after a delay of
        this bucket."""
        for cell, n in self.cells().items():
            delays.contribute(cell, bucket, sums, items * n)
        for item in self.measured:
            error_delays.contribute(item, bucket, sums, items)


#: The outcome of a reward that could be about several predictions.
UNCERTAIN = Outcome(AMBIGUOUS, Counts())


class Item(NamedTuple):
    """A judged item. ``actual`` is None if the item is known to be wrong and nothing more; ``correct``
    is None for a number without a tolerance. A number stands as a decimal, a label set as JSON."""

    predicted: str
    actual: str | None
    correct: bool | None


class _Verdict(NamedTuple):
    kind: str
    items: list[Item | None]
    not_scorable: tuple[str, ...] = ()
    disagreements: int = 0
    measured: tuple[MeasuredItem, ...] = ()


def judge(
    answers: Sequence[Answer],
    truth: Sequence[Reading] | None,
    reward: int | None,
    values: Sequence[bytes] = (),
) -> Outcome:
    """The outcome of one prediction by the feedback that counts. ``reward`` is in millionths, ``values``
    are the packed probabilities or numbers of the answers, as in a `Prediction`.

    The reward is added to the sum of rewards even if no item is judged (counting rule 21).
    `ValueError` if there is neither a truth nor a reward.
    """
    sums: Sums = {}
    unknown: list[str] = []
    verdict = _judge(answers, truth, reward, values, sums)
    counts = Counts(disagreements=verdict.disagreements, sums=sums)
    if reward is not None:
        counts.rewards, counts.reward_sum = 1, reward
    for answer, packed, item in zip(answers, values or repeat(b""), verdict.items, strict=False):
        if item is None:
            continue
        counts.judged += 1
        counts.correct += bool(item.correct)
        if answer.label is None:
            continue
        if item.actual is None:
            counts.unknown_actual += 1
            unknown.append(item.predicted)
            continue
        cell = Cell(item.actual, item.predicted)
        counts.cells[cell] = counts.cells.get(cell, 0) + 1
        if packed:
            probabilities.contribute(answer, packed, item.actual, sums)
    outcome = Outcome(verdict.kind, counts, verdict.not_scorable, tuple(unknown), verdict.measured)
    if answers and answers[0].schema.statistics:
        _add_custom(answers, values, verdict.items, sums)
        outcome.affects_diagnostics |= bool(custom.failed(sums))
    return outcome


def _add_custom(
    answers: Sequence[Answer], values: Sequence[bytes], items: Sequence[Item | None], sums: Sums
) -> None:
    """Add what the items contribute to custom statistics."""
    for answer, packed, item in zip(answers, values or repeat(b""), items, strict=False):
        if item is not None:
            custom.contribute(_judged(answer, packed, item), answer.schema.statistics, sums)


def _judged(answer: Answer, packed: bytes, item: Item) -> JudgedItem:
    """An item as a custom statistic gets it."""
    unit = answer.schema.unit
    if answer.mode == NUMBER:
        number = unpack_number(packed)
        actual = None if item.actual is None else int(Decimal(item.actual).scaleb(-unit))
        return JudgedItem("regression", number, actual, item.correct, unit=unit)
    if answer.mode == LABEL_SET:
        actual_labels = None if item.actual is None else tuple(json.loads(item.actual))
        predicted = tuple(sorted(answer.labels))
        return JudgedItem("multilabel", predicted, actual_labels, item.correct)
    pairs = tuple(probabilities.pairs_of(answer, packed)) if packed else ()
    return JudgedItem("classification", item.predicted, item.actual, item.correct, pairs)


def judge_items(
    answers: Sequence[Answer],
    truth: Sequence[Reading] | None,
    reward: int | None,
    values: Sequence[bytes] = (),
) -> list[Item | None]:
    """The judged items of a prediction, None for an item that is not judged. The list is empty unless
    the outcome's kind is `SCORED`."""
    return _judge(answers, truth, reward, values, {}).items


def _judge(
    answers: Sequence[Answer],
    truth: Sequence[Reading] | None,
    reward: int | None,
    values: Sequence[bytes],
    sums: Sums,
) -> _Verdict:
    partial = (
        len(answers) > 1
        and reward is not None
        and 0 < reward < MICRO
        and any(answer.mode not in (NUMBER, LABEL_SET) for answer in answers)
    )
    if truth is None:
        if reward is None:
            raise ValueError("a feedback without truth and reward judges nothing")
        if partial:
            return _Verdict(AMBIGUOUS, [])
        return _Verdict(SCORED, [_by_reward(answer, reward > 0) for answer in answers])
    if len(truth) != len(answers):
        return _Verdict(ROWS_DIFFER, [])
    by_reward = reward is not None and answers[0].schema.by_reward
    if by_reward and partial:
        sums = {}
    measured: list[MeasuredItem] = []
    items, not_scorable = _by_truth(answers, truth, values, sums, measured)
    if reward is None:
        return _Verdict(SCORED, items, not_scorable, 0, tuple(measured))
    labelled = [answer.label is not None for answer in answers]
    right = [
        item.correct for item, is_label in zip(items, labelled, strict=True) if item and is_label
    ]
    disagreements = int(bool(right) and (not any(right) if reward > 0 else all(right)))
    if by_reward:
        if partial:
            return _Verdict(AMBIGUOUS, [], (), disagreements)
        items = [
            item._replace(correct=reward > 0) if item and is_label else item
            for item, is_label in zip(items, labelled, strict=True)
        ]
    return _Verdict(SCORED, items, not_scorable, disagreements, tuple(measured))


def _by_truth(
    answers: Sequence[Answer],
    truth: Sequence[Reading],
    values: Sequence[bytes],
    sums: Sums,
    measured: list[MeasuredItem],
) -> tuple[list[Item | None], tuple[str, ...]]:
    """The judged items, and the reasons of items whose truth fits no value of the prediction. Numbers
    and label sets are added to the sums, and numbers to those that were ``measured`` too."""
    items: list[Item | None] = []
    not_scorable = []
    for answer, row, packed in zip(answers, truth, values or repeat(b""), strict=False):
        item: Item | None = None
        reason: str | None = None
        if answer.reason is None:
            if answer.mode == NUMBER:
                item, reason = _number(answer, packed, row, sums, measured)
            elif answer.mode == LABEL_SET:
                item, reason = _label_set(answer, row, sums)
            else:
                actual, reason = resolve_truth(row, answer)
                if actual is not None:
                    item = Item(str(answer.label), actual, actual == answer.label)
            if item is None:
                not_scorable.append(str(reason))
        items.append(item)
    return items, tuple(not_scorable)


def _number(
    answer: Answer, packed: bytes, row: Reading, sums: Sums, measured: list[MeasuredItem]
) -> tuple[Item | None, str | None]:
    actual, reason = resolve_number(row, answer)
    if actual is None:
        return None, reason
    predicted, unit = unpack_number(packed), answer.schema.unit
    within = numbers.contribute(predicted, actual, answer.schema, sums)
    size = abs(predicted - actual)
    measured.append(MeasuredItem(unit_label(unit), class_of(size, within), size))
    return Item(decimal_text(predicted, unit), decimal_text(actual, unit), within), None


def decimal_text(amount: int, unit: int) -> str:
    """Return a number in units of 10^unit as a decimal.

    >>> decimal_text(1_500_000, -6), decimal_text(12, 2)
    ('1.5', '1200')
    """
    number = Decimal(amount).scaleb(unit)
    return f"{number.normalize():f}"


def _label_set(answer: Answer, row: Reading, sums: Sums) -> tuple[Item | None, str | None]:
    actual, reason = resolve_set(row, answer)
    if actual is None:
        return None, reason
    label_sets.contribute(answer.labels, actual, sums)
    texts = [json.dumps(sorted(labels), ensure_ascii=False) for labels in (answer.labels, actual)]
    return Item(texts[0], texts[1], texts[0] == texts[1]), None


def _by_reward(answer: Answer, right: bool) -> Item | None:
    if answer.label is None:
        return None
    return Item(answer.label, answer.label if right else _other(answer), right)


def _other(answer: Answer) -> str | None:
    """The other label if exactly two labels are possible (counting rule 8), else None.

    >>> from processor.domain.values import Schema
    >>> _other(Answer("cat", None, SCORES, Schema(names=("cat", "dog")), 2))
    'dog'
    """
    labels = answer.schema.classes
    if answer.mode == SCORES:
        labels = names_of(answer.width, answer.schema) or labels
    if labels is None or len(labels) != 2:
        labels = ("0", "1") if answer.mode == PROBABILITY or answer.width == 2 else None
    if labels is None or labels[0] == labels[1] or answer.label not in labels:
        return None
    return labels[answer.label == labels[0]]
