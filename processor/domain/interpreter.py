"""From values to labels and numbers: what a prediction says under its model's rules, and what the truth
of it is (counting rules 4 and 6)."""

from collections.abc import Mapping, Sequence

from processor.domain.quantities import pack_number, pack_pair, to_units
from processor.domain.row_reader import TOO_LONG, name_set, read_number
from processor.domain.values import (
    INTEGER,
    LABEL_SET,
    NUMBER,
    PROBABILITY,
    SCORES,
    TEXT,
    UNSCORABLE,
    Answer,
    Output,
    Reading,
    Schema,
    Task,
    fits,
)

_BINARY = ("0", "1")
#: The kinds of a row of one finite number.
_NUMBERS = (INTEGER, PROBABILITY, NUMBER)


def interpret(
    reading: Reading,
    schema: Schema,
    output: Output | None = None,
    labels: Mapping[str, str] | None = None,
    task: Task | None = None,
) -> tuple[Answer, bytes]:
    """Return the predicted item of a row, and its packed probabilities or its packed number (see
    `quantities`), empty if it has neither.

    ``output``, ``task`` and the label map ``labels`` are those of the models file; without ``output``
    and ``task`` the row's kind decides.

    >>> interpret(Reading(PROBABILITY, 0.93), Schema(classes=("ham", "spam")))[0].label
    'spam'
    >>> interpret(Reading(INTEGER, 1), Schema(), labels={"1": "spam"})[0].label
    'spam'
    >>> interpret(Reading(INTEGER, 1), Schema(), task="regression")[1].hex()
    '40420f0000000000'
    """
    kind, value, width, probabilities = reading
    if not _suits(reading, output, task):
        return Answer(None, "shape", kind, schema), b""
    if kind == UNSCORABLE:
        return Answer(None, str(value), kind, schema), b""
    if kind == LABEL_SET:
        return _label_set(reading, schema, labels), b""
    if kind == NUMBER or task == "regression":
        return _number(value, schema)  # type: ignore[arg-type]
    is_probability = (
        kind == PROBABILITY or output == "probability" or _is_sure(reading, schema, output)
    )
    classes = schema.classes
    if kind != SCORES and schema.names is not None and len(schema.names) != width:
        # Only scores have label names: the names of a number are those of its column.
        schema = schema._replace(names=None)
    if labels is not None:
        schema = _mapped(schema, width, is_probability, labels)
    if kind == SCORES:
        if schema.names is not None and len(schema.names) != width:
            schema = schema._replace(names=None)
        label = name_of(int(value), width, schema)  # type: ignore[arg-type]
        return _labelled(label, kind, schema, width, probabilities)
    if is_probability:
        number = float(value)  # type: ignore[arg-type]
        return _labelled(probable(number, schema), PROBABILITY, schema, 2, pack_pair(number))
    label = str(value)
    if kind == INTEGER and classes is not None and label not in classes:
        position = int(label)
        label = classes[position] if 0 <= position < len(classes) else label
    if labels is not None:
        label = labels.get(label, label)
    return _labelled(label, kind, schema, width, probabilities)


def _labelled(
    label: str, kind: int, schema: Schema, width: int, values: bytes
) -> tuple[Answer, bytes]:
    if not fits(label):
        return Answer(None, "label_too_long", kind, schema), b""
    return Answer(label, None, kind, schema, width), values


def _number(number: float, schema: Schema) -> tuple[Answer, bytes]:
    schema = schema._replace(names=None)
    amount = to_units(number, schema.unit)
    if amount is None:
        return Answer(None, "out_of_range", NUMBER, schema), b""
    return Answer(None, None, NUMBER, schema), pack_number(amount)


def _label_set(reading: Reading, schema: Schema, labels: Mapping[str, str] | None) -> Answer:
    width = reading.width
    if labels is not None:
        schema = _mapped(schema, width, False, labels)
        reading = map_truth(reading, labels)
    if schema.names is not None and len(schema.names) != width:
        schema = schema._replace(names=None)
    named = _named_set(reading, width, schema)
    if named.kind != LABEL_SET:
        return Answer(None, str(named.value), LABEL_SET, schema)
    return Answer(None, None, LABEL_SET, schema, width, named.value)  # type: ignore[arg-type]


def _named_set(reading: Reading, width: int, schema: Schema) -> Reading:
    """Return a label set without positions, under the names of a prediction of ``width`` labels."""
    names = names_of(width, schema) if reading.width == width else None
    return name_set(reading, names or tuple(map(str, range(reading.width))))


def _mapped(schema: Schema, width: int, is_probability: bool, labels: Mapping[str, str]) -> Schema:
    """Return the schema of a prediction of ``width`` scores, or of a probability, with mapped label
    names. They go with the prediction, so that a truth by position or by scores gets the same labels."""
    names, classes = schema.names, schema.classes
    if is_probability and classes is None:
        classes = _BINARY
    elif width > 1 and (names is None or len(names) != width):
        known = classes is not None and len(classes) == width
        names = classes if known else tuple(map(str, range(width)))
    return schema._replace(
        names=names and tuple([labels.get(name, name) for name in names]),
        classes=classes and tuple([labels.get(name, name) for name in classes]),
    )


def map_truth(truth: Reading, labels: Mapping[str, str]) -> Reading:
    """Return a truth row under a label map: a label, a number or a position in the map becomes its
    label.

    >>> [map_truth(Reading(INTEGER, one), {"1": "spam"})[:2] for one in (1, 2)]
    [(3, 'spam'), (2, 2)]
    """
    if truth.kind == LABEL_SET:
        found: tuple[int | str, ...] = truth.value  # type: ignore[assignment]
        mapped = [labels.get(one, one) if isinstance(one, str) else one for one in found]
        if not all(fits(one) for one in mapped if isinstance(one, str)):
            return TOO_LONG
        return truth._replace(value=tuple(dict.fromkeys(mapped)))
    if truth.kind not in (TEXT, INTEGER, SCORES):
        return truth
    label = labels.get(str(truth.value))
    if label is None:
        return truth
    return Reading(TEXT, label) if fits(label) else TOO_LONG


def _suits(reading: Reading, output: Output | None, task: Task | None) -> bool:
    """Return whether a row fits what the models file says of its model (counting rule 5)."""
    kind, value, width, _ = reading
    if output == "scores":
        return width > 1 and kind in (SCORES, UNSCORABLE)
    if output == "probability":
        return kind == PROBABILITY or (kind == INTEGER and value in (0, 1))
    if output == "label":
        return kind in (INTEGER, TEXT) or (kind == UNSCORABLE and value == "label_too_long")
    if kind == UNSCORABLE or task is None:
        return True
    if task == "regression":
        return kind in _NUMBERS
    return (kind == LABEL_SET) if task == "multilabel" else kind != NUMBER


def _is_sure(reading: Reading, schema: Schema, output: Output | None) -> bool:
    """Return whether 0 or 1 is the probability of the second of two classes."""
    return (
        output is None
        and reading.kind == INTEGER
        and reading.value in (0, 1)
        and not reading.probabilities
        and schema.classes is not None
        and len(schema.classes) == 2
    )


def names_of(width: int, schema: Schema) -> tuple[str, ...] | None:
    """Return the names of ``width`` scores: those of the message, else the models file's classes, if
    there is one per score; else None."""
    for names in (schema.names, schema.classes):
        if names is not None and len(names) == width:
            return names
    return None


def name_of(position: int, width: int, schema: Schema) -> str:
    """Return the label at a position among ``width`` scores; without names the position as text."""
    names = names_of(width, schema)
    return str(position) if names is None else names[position]


def class_names(answer: Answer) -> tuple[str, ...]:
    """Return the classes of a prediction's probabilities, in their order.

    >>> class_names(Answer("1", None, PROBABILITY, Schema(), 2))
    ('0', '1')
    """
    return names_of(answer.width, answer.schema) or tuple(map(str, range(answer.width)))


def second_class(answer: Answer) -> str | None:
    """Return the second of two classes of a prediction's probabilities, None for another number of
    classes. The models file's order goes before that of the message (counting rule 26).

    >>> second_class(Answer("a", None, SCORES, Schema(("a", "b"), classes=("b", "a")), 2))
    'a'
    """
    if answer.width != 2:
        return None
    names, classes = class_names(answer), answer.schema.classes
    return classes[1] if classes is not None and {*classes} == {*names} else names[1]


def probable(probability: float, schema: Schema) -> str:
    """Return the label of a probability of the positive class, by the schema's threshold: the second or
    first of two classes, or "1" or "0" without classes."""
    positive = probability >= schema.threshold
    if schema.classes is not None and len(schema.classes) == 2:
        return schema.classes[positive]
    return _BINARY[positive]


def resolve_truth(truth: Reading, answer: Answer) -> tuple[str | None, str | None]:
    """Return the actual label of an item that has a label and None, or None and the reason why it has
    none. It depends on the prediction too (counting rule 6).

    An integer truth of a probability with two classes is a position in these: the predicted label is
    one of them, so the integer as text could never equal it.

    >>> by_name = Answer("b", None, SCORES, Schema(("a", "b")), 2)
    >>> resolve_truth(Reading(INTEGER, 1), by_name), resolve_truth(Reading(INTEGER, 2), by_name)
    (('b', None), (None, 'position'))
    """
    if truth.kind == NUMBER:
        # The node that a feedback names may be one of numbers, and another node answered with a label.
        truth = read_number(truth.value)  # type: ignore[arg-type]
    kind, value, width, _ = truth
    schema = answer.schema
    if kind == TEXT:
        return str(value), None
    if kind == UNSCORABLE:
        return None, str(value)
    if kind == PROBABILITY:
        return _checked(probable(float(value), schema))  # type: ignore[arg-type]
    if kind == SCORES:
        return _checked(name_of(int(value), width, schema))  # type: ignore[arg-type]
    if kind != INTEGER:
        return None, "kinds_differ"
    position, text = int(value), str(value)  # type: ignore[arg-type]
    names = schema.classes
    if answer.mode == PROBABILITY and names is not None and len(names) != 2:
        names = None
    if names is None and answer.mode == SCORES:
        names = schema.names
    if names is None or text in names:
        return text, None
    return _checked(names[position]) if 0 <= position < len(names) else (None, "position")


def resolve_number(truth: Reading, answer: Answer) -> tuple[int | None, str | None]:
    """Return the truth of an item that is a number, in the units of the prediction, and None; or None
    and the reason why it has none."""
    if truth.kind == UNSCORABLE:
        return None, str(truth.value)
    if truth.kind not in _NUMBERS:
        return None, "kinds_differ"
    amount = to_units(truth.value, answer.schema.unit)  # type: ignore[arg-type]
    return amount, "out_of_range" if amount is None else None


def resolve_set(truth: Reading, answer: Answer) -> tuple[tuple[str, ...] | None, str | None]:
    """Return the actual labels of an item that is a label set, sorted, and None; or None and the reason
    why it has none."""
    if truth.kind == TEXT:
        return (str(truth.value),), None
    if truth.kind != LABEL_SET:
        return None, str(truth.value) if truth.kind == UNSCORABLE else "kinds_differ"
    named = _named_set(truth, answer.width, answer.schema)
    if named.kind != LABEL_SET:
        return None, str(named.value)
    return named.value, None  # type: ignore[return-value]


def _checked(label: str) -> tuple[str | None, str | None]:
    return (label, None) if fits(label) else (None, "label_too_long")


def name_truth(reading: Reading, names: Sequence[str] | None) -> Reading:
    """Return a truth row of scores or labels under the names in its own message, which give its labels
    at once (counting rule 4); other rows stay as they are."""
    if reading.kind == LABEL_SET:
        return name_set(reading, names)
    if reading.kind != SCORES or names is None or len(names) != reading.width:
        return reading
    label = names[int(reading.value)]  # type: ignore[arg-type]
    return Reading(TEXT, label) if fits(label) else TOO_LONG
