"""The forms in which servers write one row: objects with a label or with scores, texts that hold such an
object, and Triton's classification texts (counting rule 5)."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.domain.events.payloads.rows import (
    MAX_NAMES,
    MAX_ROWS,
    UNREADABLE,
    PayloadRows,
    checked,
    is_plain,
    label_text,
)
from processor.domain.events.payloads.texts import from_base64, object_of
from processor.domain.events.raw_event import DeadLetter
from processor.domain.model_rules import Rule
from processor.domain.row_reader import EMPTY
from processor.domain.values import Labelled, NamedScores, Output

# `native/src/events/payloads/row.rs` names the keys below too: any other can be a class there.

#: The keys of an object under which a label stands, the first of them before the others.
LABELS = ("label", "class", "prediction", "predicted_class", "predicted_label")
#: The keys under which the probability of that label stands.
_CONFIDENCES = ("score", "confidence", "probability")
#: The names of an output of labels, and of one of probabilities beside it.
LABEL_OUTPUTS = ("predict", "label", "output_label", "classes", "predicted_label")
PROBABILITY_OUTPUTS = ("predict_proba", "probabilities", "output_probability", "scores")
#: The keys whose value, where it stands alone, is the row.
_ALONE = frozenset(
    {*LABELS, *_CONFIDENCES, *LABEL_OUTPUTS, *PROBABILITY_OUTPUTS}
    | {"value", "values", "predictions", "output", "result", "logits"}
)
_NUMBERS = frozenset((int, float))
#: Triton's ``score:index`` or ``score:index:name``.
_RANKED = re.compile(r"(-?[0-9]{1,40}\.[0-9]{1,40}):([0-9]{1,15})(?::(.*))?", re.DOTALL)


class Choice(NamedTuple):
    """The place of a model's answer, as the models file has it: the name of the output that counts,
    what its rows are, and its classes."""

    output_name: str | None = None
    output: Output | None = None
    classes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, rule: Rule) -> "Choice":
        """Return the choice of an entry of the models file."""
        return cls(rule.output_name, rule.output, rule.classes)


#: The choice of a model that the models file says nothing of.
FIRST = Choice()


def read_forms(
    rows: list[Any], choice: Choice | None, is_truth: bool = False, names: object = None
) -> PayloadRows | DeadLetter:
    """Return the rows of a message, as the values that they carry, and the names of its columns.

    Without a choice the rows stay as they are.
    """
    if choice is None or not 0 < len(rows) <= MAX_ROWS or is_plain(rows):
        return checked(rows, names)
    found = [read_form(row, choice, is_truth) for row in rows]
    seen = {row.names for row in found if type(row) is NamedScores}
    if seen and sum(len(name) for one in seen for name in one) > MAX_NAMES:
        return DeadLetter("too_large", f"names of more than {MAX_NAMES} characters")
    return checked(found, names)


def read_form(row: Any, choice: Choice = FIRST, is_truth: bool = False) -> Any:
    """Return the value that one row carries: decoded JSON, `NamedScores` or `Labelled`.

    A row that says nothing that the rules know is `UNREADABLE`. Null stays null, since a truth of it
    takes an earlier label back.

    >>> read_form({"label": "cat", "score": 0.9})
    Labelled(label='cat', confidence=0.9, positive=None, scores=None)
    >>> read_form("{0: 0.25, 1: 0.75}")
    NamedScores(names=('0', '1'), scores=(0.25, 0.75))
    >>> read_form(["0.250000:0:cat", "0.750000:1:dog"]), read_form([0.25, 0.75])
    ('dog', [0.25, 0.75])
    """
    while type(row) is list and len(row) == 1:
        row = row[0]
    kind = type(row)
    if kind is str:
        return _read_text(row, choice, is_truth) if ":" in row else row
    if kind is dict:
        return read_object(row, choice, is_truth)
    if kind is list and row and type(row[0]) is str:
        return _ranked(row) if ":" in row[0] else row
    return row


def read_named(row: Any, choice: Choice) -> Any:
    """Return what an object has under ``output_name``; `UNREADABLE` for any other row."""
    row = bare(row)
    if type(row) is str:
        row = object_of(row)
    if type(row) is not dict or choice.output_name not in row:
        return UNREADABLE
    return read_object(row, choice, False)


def _read_text(text: str, choice: Choice, is_truth: bool) -> Any:
    found = object_of(text)
    if found is not None:
        return read_object(found, choice, is_truth)
    return _ranked([text]) if _RANKED.fullmatch(text) else text


def _ranked(row: list[Any]) -> Any:
    """Return the label of the largest score among Triton's texts: its name, or its index without one;
    any other row as it is."""
    best: tuple[float, Any] | None = None
    for text in row:
        found = _RANKED.fullmatch(text) if type(text) is str else None
        if found is None:
            return row
        score, index, name = float(found[1]), int(found[2]), found[3]
        if best is None or score > best[0]:
            best = score, name or index
    assert best is not None
    return best[1]


def read_object(row: dict[Any, Any], choice: Choice, is_truth: bool) -> Any:
    """Return the value of an object: that under ``output_name``, else a label, else scores."""
    name = choice.output_name
    if name is not None:
        if name in row:
            return read_form(row[name], choice._replace(output_name=None), is_truth)
        if not is_truth:
            # Scores of the classes are one output; any other object lacks the one that counts.
            return _named_scores(row)
    if len(row) == 1:
        ((key, value),) = row.items()
        return _only(key, value, choice)
    key = next((key for key in LABELS if key in row), None)
    scores = next((key for key in PROBABILITY_OUTPUTS if key in row), None)
    if key is None and scores is not None:
        key = next((key for key in LABEL_OUTPUTS if key in row), None)
    if key is None:
        return _named_scores(row)
    label = bare(row[key])
    if scores is not None:
        return labelled(label, _scores(row[scores]), choice, key == "classes")
    return (
        _labelled_object(label, row, key == "predicted_label") if _is_label(label) else UNREADABLE
    )


def _only(key: Any, value: Any, choice: Choice) -> Any:
    """Return the value of an object with one key: one number under the name of a class would say
    nothing of the others, so a number or a text counts under the usual keys alone."""
    if key == "b64":
        text = from_base64(value)
        return read_form(text, choice._replace(output_name=None)) if text else text
    value = bare(value)
    if value is None:
        return UNREADABLE
    if type(value) is not dict and key in _ALONE:
        return read_form(value, choice._replace(output_name=None))
    is_row = type(value) is list and len(value) > 1 and _are_numbers(value)
    return value if is_row else UNREADABLE


def bare(value: Any) -> Any:
    """Return a value without the lists around it, and the text of TensorFlow's base64."""
    while type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is dict and value.keys() == {"b64"}:
        return from_base64(value["b64"])
    return value


def _scores(value: Any) -> Any:
    value = bare(value)
    return _named_scores(value) if type(value) is dict else value


def _labelled_object(label: Any, row: dict[Any, Any], is_predicted: bool) -> Labelled:
    """Return a label and what the object beside it says of its probability."""
    names: tuple[str, ...] = _CONFIDENCES
    if is_predicted:
        # SageMaker's score is that of the positive class, or one for each class.
        score = bare(row.get("score"))
        if type(score) is list and _are_numbers(score):
            return Labelled(label, scores=tuple(score))
        if _is_probability(score):
            return Labelled(label, positive=score)
        names = _CONFIDENCES[1:]
    found = [row[name] for name in names if _is_probability(row.get(name))]
    return Labelled(label, found[0] if found else None)


def labelled(label: Any, scores: Any, choice: Choice, are_classes: bool = False) -> Any:
    """Return the value of a row of labels beside one of probabilities, both as `read_form` reads them.

    A list of the names of all ``are_classes`` and a list of their scores are scores with names.

    >>> labelled("b", [0.25, 0.75], FIRST)
    Labelled(label='b', confidence=None, positive=None, scores=(0.25, 0.75))
    """
    if type(label) is Labelled:
        label = label.label
    listed = type(scores) is list and len(scores) > 1 and _are_numbers(scores)
    if type(label) is list and are_classes and listed and len(scores) == len(label):
        names = [label_text(one) for one in label]
        if None not in names and len({*names}) == len(names):
            return NamedScores(tuple(names), tuple(scores))  # type: ignore[arg-type]
    if not _is_label(label):
        return label
    if type(scores) is NamedScores:
        return _of_map(label, scores, choice.classes)
    return Labelled(label, scores=tuple(scores) if listed else None)


def _of_map(label: Any, scores: NamedScores, classes: tuple[str, ...] | None) -> Labelled:
    """Return a label with its probabilities by class: in the order of the models file's classes or of
    their positions if these are their names, else only its own, which needs no order."""
    found: Mapping[str, float] = dict(zip(scores.names, scores.scores, strict=True))
    order = classes or tuple(map(str, range(len(found))))
    if found.keys() == {*order}:
        return Labelled(label, scores=tuple([found[name] for name in order]))
    confidence = found.get(label_text(label) or "")
    return Labelled(label, confidence if _is_probability(confidence) else None)


def _named_scores(row: Mapping[Any, Any]) -> Any:
    """Return an object of two or more numbers as scores with names."""
    if not 1 < len(row) <= MAX_ROWS or not _are_numbers(row.values()):
        return UNREADABLE
    if any(key in row for key in LABELS):
        return UNREADABLE
    return NamedScores(tuple([label_text(key) or "" for key in row]), tuple(row.values()))


def read_pairs(row: Any) -> Any:
    """Return the value of one example of a classify answer of TensorFlow Serving: pairs of label and
    score. Where the model has no labels these are all empty, and only the positions tell them apart.

    >>> read_pairs([["cat", 0.9], ["dog", 0.1]])
    NamedScores(names=('cat', 'dog'), scores=(0.9, 0.1))
    """
    labels, scores = [pair[0] for pair in row], [pair[1] for pair in row]
    if len(row) == 1:
        return Labelled(labels[0], scores[0] if _is_probability(scores[0]) else None)
    if not any(labels):
        return scores
    names = tuple([label or EMPTY for label in labels])
    return NamedScores(names, tuple(scores)) if len({*names}) == len(names) else UNREADABLE


def are_pairs(row: Any) -> bool:
    """Return whether a row is a list of ``[label, score]`` pairs."""
    return (
        type(row) is list
        and bool(row)
        and all(
            type(pair) is list
            and len(pair) == 2
            and type(pair[0]) is str
            and type(pair[1]) in _NUMBERS
            for pair in row
        )
    )


def _is_label(value: Any) -> bool:
    return type(value) in (str, int, bool) or (type(value) is float and value.is_integer())


def _is_probability(value: Any) -> bool:
    return type(value) in _NUMBERS and 0 <= value <= 1


def _are_numbers(values: Any) -> bool:
    return {*map(type, values)} <= _NUMBERS
