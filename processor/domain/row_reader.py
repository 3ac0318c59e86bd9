"""Read the rows of a payload as values (counting rules 4 and 5)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from processor.domain.quantities import (
    are_probabilities,
    pack_confidence,
    pack_pair,
    pack_probabilities,
)
from processor.domain.values import (
    INTEGER,
    INTEGER_LIMIT,
    LABEL_SET,
    NUMBER,
    PROBABILITY,
    SCORES,
    TEXT,
    UNSCORABLE,
    Labelled,
    NamedScores,
    Output,
    Reading,
    Task,
    fits,
)

#: The label of an empty text.
EMPTY = "(empty)"

SHAPE = Reading(UNSCORABLE, "shape")
NO_MAXIMUM = Reading(UNSCORABLE, "no_maximum")
TOO_LONG = Reading(UNSCORABLE, "label_too_long")
WITHDRAWN = Reading(UNSCORABLE, "withdrawn")
_NUMBERS = frozenset((int, float))


class RowRules(NamedTuple):
    """The entries of the models file about a deployment's rows."""

    task: Task | None = None
    output: Output | None = None
    threshold: float = 0.5


DEFAULT = RowRules()


def read_row(row: object, rules: RowRules = DEFAULT) -> Reading:
    """Return the kind and value of one row of decoded JSON, `NamedScores` or `Labelled`.

    The names of scores do not matter here, but those of a label set do: see `name_set`.

    >>> read_row([0.1, 0.9])[:3], read_row([1.0])[:3], read_row("cat")[:3], read_row([1, 1, 0])[:3]
    ((0, 1, 2), (2, 1, 0), (3, 'cat', 0), (4, 'multi_label', 3))
    >>> read_row(21.5)[:2], read_row([1, 1, 0], RowRules("multilabel"))[:3]
    ((5, 21.5), (6, (0, 1), 3))
    """
    if rules.task == "multilabel":
        return _read_set(row, rules.threshold)
    while type(row) is list:
        if len(row) > 1:
            return read_scores(row)
        if not row:
            return SHAPE
        row = row[0]
    if isinstance(row, bool | int | float):
        return read_number(row)
    if isinstance(row, str):
        return read_text(row)
    if isinstance(row, NamedScores):
        if rules.output == "scores" or are_probabilities(row.scores):
            return read_scores(row.scores) if len(row.scores) > 1 else SHAPE
        return SHAPE
    if isinstance(row, Labelled):
        return _read_labelled(row)
    return SHAPE


def read_number(row: float) -> Reading:
    """Return the value of one number: an integer is a label, unless it is too large."""
    if isinstance(row, int):
        if abs(row) < INTEGER_LIMIT:
            return Reading(INTEGER, int(row))
        return Reading(NUMBER, row if abs(row) < _LARGE else _nearest(row))
    if row.is_integer() and abs(row) < INTEGER_LIMIT:
        return Reading(INTEGER, int(row))
    if 0.0 < row < 1.0:
        return Reading(PROBABILITY, row)
    return Reading(NUMBER, row) if math.isfinite(row) else NO_MAXIMUM


#: An integer of this size or more does not fit on the log.
_LARGE = 1 << 63


def _nearest(row: int) -> float:
    """Return the double that is nearest to a large integer; all that are out of range count alike."""
    try:
        return float(row)
    except OverflowError:
        return 1e308 if row > 0 else -1e308


def read_text(row: str) -> Reading:
    """Return the value of one text."""
    return Reading(TEXT, row or EMPTY) if fits(row) else TOO_LONG


def read_scores(row: Sequence[object]) -> Reading:
    """Return the value of two or more scores.

    >>> read_scores([0.25, 0.75]).value, read_scores([7, 3]).value, read_scores([1, 1]).value
    (1, 0, 'no_maximum')
    """
    if not {*map(type, row)} <= _NUMBERS:
        return SHAPE
    scores: Sequence[float] = row  # type: ignore[assignment]
    try:
        finite = math.isfinite(sum(scores))
    except OverflowError:
        finite = False
    # The sum of finite scores can overflow, so each of them has to be checked.
    if not finite and not all(map(_is_finite, scores)):
        return Reading(UNSCORABLE, "no_maximum", len(scores))
    top, least = max(scores), min(scores)
    if top == least:
        return Reading(UNSCORABLE, "no_maximum", len(scores))
    if top == 1 and least == 0:
        ones = scores.count(1)
        if ones > 1 and ones + scores.count(0) == len(scores):
            return Reading(UNSCORABLE, "multi_label", len(scores))
    position = scores.index(top)
    return Reading(SCORES, position, len(scores), pack_probabilities(scores))


def _is_finite(score: float) -> bool:
    return isinstance(score, int) or math.isfinite(score)


def _read_labelled(row: Labelled) -> Reading:
    label = row.label
    if isinstance(label, bool | int | float):
        reading = read_number(label)
    else:
        reading = read_text(label) if isinstance(label, str) else SHAPE
    if reading.kind not in (INTEGER, TEXT):
        return reading
    width, probabilities = 0, b""
    if row.scores is not None:
        width = len(row.scores)
        if width > 1 and {*map(type, row.scores)} <= _NUMBERS:
            probabilities = pack_probabilities(row.scores)
    elif row.positive is not None:
        if 0 <= row.positive <= 1:
            width, probabilities = 2, pack_pair(row.positive)
    elif row.confidence is not None and 0 <= row.confidence <= 1:
        probabilities = pack_confidence(row.confidence)
    return Reading(reading.kind, reading.value, width if probabilities else 0, probabilities)


def _read_set(row: object, threshold: float) -> Reading:
    """Return the labels of a row of a model with several labels an item."""
    while type(row) is list and len(row) == 1 and type(row[0]) is list:
        row = row[0]
    if isinstance(row, NamedScores):
        positions = _chosen(row.scores, threshold)
        if isinstance(positions, Reading):
            return positions
        return _set([row.names[i] for i in positions])
    if isinstance(row, Labelled):
        row = row.label
    rows: list[Any] = row if type(row) is list else [row]
    kinds = {*map(type, rows)}
    if kinds <= {str}:
        return _set(rows)
    if not kinds <= {int, float, bool}:
        return SHAPE
    positions = _chosen(rows, threshold)
    if isinstance(positions, Reading):
        return positions
    return Reading(LABEL_SET, positions, len(rows))


def _set(labels: list[str]) -> Reading:
    if not all(map(fits, labels)):
        return TOO_LONG
    return Reading(LABEL_SET, tuple(sorted({label or EMPTY for label in labels})))


def _chosen(scores: Sequence[float], threshold: float) -> tuple[int, ...] | Reading:
    """Return the positions of the labels of a row of 0s and 1s, or of probabilities."""
    if not all(map(_is_finite, scores)):
        return NO_MAXIMUM
    if not all(0 <= score <= 1 for score in scores):
        return SHAPE
    return tuple([i for i, score in enumerate(scores) if score >= threshold])


def read_truth(row: object, rules: RowRules = DEFAULT) -> Reading:
    """Return the value of a truth row; a row that is null takes an earlier label back (counting rule
    9).

    >>> read_truth(None).value, read_truth([None]).value, read_truth([0.5, None]).value
    ('withdrawn', 'withdrawn', 'shape')
    """
    while type(row) is list and len(row) == 1:
        row = row[0]
    return WITHDRAWN if row is None else read_row(row, rules)


def name_set(reading: Reading, names: Sequence[str] | None) -> Reading:
    """Return a label set with names in place of its positions, if there is one per label."""
    if reading.kind != LABEL_SET:
        return reading
    labels: list[int | str] = list(reading.value)  # type: ignore[arg-type]
    if all(isinstance(one, str) for one in labels):
        return _set(labels)  # type: ignore[arg-type]
    if names is None or len(names) != reading.width:
        return reading
    return _set([names[one] if isinstance(one, int) else one for one in labels])
