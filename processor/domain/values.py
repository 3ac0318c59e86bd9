"""Interpret the rows of a payload as class labels (counting rules 4, 5 and 6)."""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

from msgspec import msgpack

#: The kinds of a row. The values are on the log: never renumber.
SCORES, FRACTION, INTEGER, TEXT, UNSCORABLE = range(5)

#: The reasons why an item has no label and so is never judged. Positions are on the log: only append.
NOT_SCORABLE = ("shape", "regression", "label_too_long", "no_maximum", "multi_label", "position")

#: Integers of this size or more are not exact in every JSON parser, so they are not labels.
INTEGER_LIMIT = 2**53
#: The largest label, in bytes of UTF-8.
LABEL_BYTES = 256

Output = Literal["scores", "probability", "label"]


class Reading(NamedTuple):
    """A row of a payload, before its label is known.

    ``value`` depends on ``kind``: for SCORES the position of the largest score, for FRACTION a number
    between 0 and 1, for INTEGER and TEXT the label, for UNSCORABLE one of `NOT_SCORABLE`. ``width``
    is the number of scores, 0 for rows without scores.
    """

    kind: int
    value: int | float | str
    width: int = 0


_SHAPE = Reading(UNSCORABLE, "shape")
_REGRESSION = Reading(UNSCORABLE, "regression")
_NO_MAXIMUM = Reading(UNSCORABLE, "no_maximum")
_TOO_LONG = Reading(UNSCORABLE, "label_too_long")
_NUMBERS = frozenset((int, float))


def read_row(row: object) -> Reading:
    """The kind and value of one row of decoded JSON.

    >>> read_row([0.1, 0.9]), read_row([1.0]), read_row("cat"), read_row([1, 1, 0])
    ... # doctest: +NORMALIZE_WHITESPACE
    (Reading(kind=0, value=1, width=2), Reading(kind=2, value=1, width=0),
     Reading(kind=3, value='cat', width=0), Reading(kind=4, value='multi_label', width=3))
    """
    while type(row) is list:
        if len(row) > 1:
            return _read_scores(row)
        if not row:
            return _SHAPE
        row = row[0]
    if isinstance(row, bool | int):
        return Reading(INTEGER, int(row)) if -INTEGER_LIMIT < row < INTEGER_LIMIT else _REGRESSION
    if isinstance(row, float):
        if row.is_integer() and -INTEGER_LIMIT < row < INTEGER_LIMIT:
            return Reading(INTEGER, int(row))
        if 0.0 < row < 1.0:
            return Reading(FRACTION, row)
        return _REGRESSION if math.isfinite(row) else _NO_MAXIMUM
    if isinstance(row, str):
        return Reading(TEXT, row) if _fits(row) else _TOO_LONG
    return _SHAPE


def _read_scores(row: list[object]) -> Reading:
    if not {*map(type, row)} <= _NUMBERS:
        return _SHAPE
    scores: list[float] = row  # type: ignore[assignment]
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
    return Reading(SCORES, scores.index(top), len(scores))


def _is_finite(score: float) -> bool:
    return isinstance(score, int) or math.isfinite(score)


def _fits(label: str) -> bool:
    return len(label) * 4 <= LABEL_BYTES or len(label.encode("utf-8", "replace")) <= LABEL_BYTES


class Schema(NamedTuple):
    """The label names and settings of a prediction, which are needed to resolve its truth.

    ``names`` are those in the message, one per score, or None; ``classes``, ``threshold`` and
    ``by_reward`` are those of the models file.
    """

    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    threshold: float = 0.5
    by_reward: bool = False


class Answer(NamedTuple):
    """One predicted item: its ``label``, or the ``reason`` why it has none (one of `NOT_SCORABLE`).
    ``mode`` is the kind of its row: SCORES, FRACTION (a probability), INTEGER or TEXT."""

    label: str | None
    reason: str | None
    mode: int
    schema: Schema


def interpret(
    reading: Reading,
    schema: Schema,
    output: Output | None,
    labels: Mapping[str, str] | None = None,
) -> Answer:
    """The predicted item of a row. ``output`` and the label map ``labels`` are those of the models file;
    without ``output`` the row's kind decides.

    >>> interpret(read_row([0.93]), Schema(classes=("ham", "spam")), None).label
    'spam'
    >>> interpret(read_row([1]), Schema(), None, {"1": "spam"}).label
    'spam'
    """
    kind, value, width = reading
    if output is not None and not _suits(reading, output):
        return Answer(None, "shape", kind, schema)
    if kind == UNSCORABLE:
        return Answer(None, str(value), kind, schema)
    if labels is not None:
        is_probability = kind == FRACTION or output == "probability"
        schema = _mapped(schema, width, is_probability, labels)
    if kind == SCORES:
        if schema.names is not None and len(schema.names) != width:
            schema = schema._replace(names=None)
        return Answer(*_checked(name_of(int(value), width, schema)), kind, schema)
    if schema.names is not None:
        # Only scores have label names: the names of a number are those of its column.
        schema = schema._replace(names=None)
    if kind == FRACTION or output == "probability":
        return Answer(*_checked(probable(float(value), schema)), FRACTION, schema)
    label = str(value)
    if labels is not None:
        return Answer(*_checked(labels.get(label, label)), kind, schema)
    return Answer(label, None, kind, schema)


def _mapped(schema: Schema, width: int, is_probability: bool, labels: Mapping[str, str]) -> Schema:
    """The schema of a prediction of ``width`` scores, or of a probability, with mapped label names.
    They go with the prediction, so that a truth by position or by scores gets the same labels."""
    names, classes = schema.names, schema.classes
    if width > 1:
        if names is None or len(names) != width:
            known = classes is not None and len(classes) == width
            names = classes if known else tuple(map(str, range(width)))
    elif is_probability and classes is None:
        classes = ("0", "1")
    return schema._replace(
        names=names and tuple([labels.get(name, name) for name in names]),
        classes=classes and tuple([labels.get(name, name) for name in classes]),
    )


def map_truth(truth: Reading, labels: Mapping[str, str]) -> Reading:
    """A truth row under a label map: a label, a number or a position in the map becomes its label.

    >>> map_truth(Reading(INTEGER, 1), {"1": "spam"}), map_truth(Reading(INTEGER, 2), {"1": "spam"})
    ... # doctest: +NORMALIZE_WHITESPACE
    (Reading(kind=3, value='spam', width=0), Reading(kind=2, value=2, width=0))
    """
    if truth.kind not in (TEXT, INTEGER, SCORES):
        return truth
    label = labels.get(str(truth.value))
    if label is None:
        return truth
    return Reading(TEXT, label) if _fits(label) else _TOO_LONG


def _suits(reading: Reading, output: Output) -> bool:
    kind, value, width = reading
    if output == "scores":
        return width > 1
    if output == "probability":
        return kind == FRACTION or (kind == INTEGER and value in (0, 1))
    return kind in (INTEGER, TEXT) or (kind == UNSCORABLE and value == "label_too_long")


def name_of(position: int, width: int, schema: Schema) -> str:
    """The label at a position among ``width`` scores: from the message's names, else the models file's
    classes, if there is one per score; else the position as text."""
    for names in (schema.names, schema.classes):
        if names is not None and len(names) == width:
            return names[position]
    return str(position)


def probable(probability: float, schema: Schema) -> str:
    """The label of a probability of the positive class, by the schema's threshold: the second or first
    of two classes, or "1" or "0" without classes."""
    positive = probability >= schema.threshold
    if schema.classes is not None and len(schema.classes) == 2:
        return schema.classes[positive]
    return "1" if positive else "0"


def resolve_truth(truth: Reading, answer: Answer) -> tuple[str | None, str | None]:
    """The actual label of an item and None, or None and the reason why it has no label. It depends on
    the prediction too (counting rule 6).

    An integer truth of a probability with two classes is a position in these: the predicted label is
    one of them, so the integer as text could never equal it.

    >>> by_name = Answer("b", None, SCORES, Schema(("a", "b")))
    >>> resolve_truth(Reading(INTEGER, 1), by_name), resolve_truth(Reading(INTEGER, 2), by_name)
    (('b', None), (None, 'position'))
    """
    kind, value, width = truth
    schema = answer.schema
    if kind == TEXT:
        return str(value), None
    if kind == UNSCORABLE:
        return None, str(value)
    if kind == FRACTION:
        return _checked(probable(float(value), schema))
    if kind == SCORES:
        return _checked(name_of(int(value), width, schema))
    position = int(value)
    names: tuple[str, ...] | None = None
    if answer.mode == INTEGER:
        return str(position), None
    if answer.mode == FRACTION:
        names = schema.classes if schema.classes is not None and len(schema.classes) == 2 else None
    elif schema.classes is not None:
        names = schema.classes
    elif answer.mode == SCORES and schema.names and str(position) not in schema.names:
        names = schema.names
    if names is None:
        return str(position), None
    return _checked(names[position]) if 0 <= position < len(names) else (None, "position")


def _checked(label: str) -> tuple[str | None, str | None]:
    return (label, None) if _fits(label) else (None, "label_too_long")


def name_truth(reading: Reading, names: Sequence[str] | None) -> Reading:
    """A truth row of scores under the names in its own message, which give its label at once (counting
    rule 4); other rows stay as they are."""
    if reading.kind != SCORES or names is None or len(names) != reading.width:
        return reading
    label = names[int(reading.value)]
    return Reading(TEXT, label) if _fits(label) else _TOO_LONG


def digest(*content: object) -> int:
    """A 64-bit digest of some content (counting rule 12): BLAKE2b of its MessagePack encoding."""
    return int.from_bytes(blake2b(msgpack.encode(content), digest_size=8).digest(), "big")
