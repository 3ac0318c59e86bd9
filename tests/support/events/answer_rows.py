"""The forms in which servers write one row (rules 4 and 5), and what a body of such rows says."""

from __future__ import annotations

from typing import Any, NamedTuple

from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import DeadLetter, Uncounted
from processor.domain.interpreter import interpret
from processor.domain.model_rules import Rule
from processor.domain.quantities import unpack_probabilities
from processor.domain.row_reader import RowRules, read_row, read_truth
from processor.domain.values import NamedScores


class Pair(NamedTuple):
    """Two rows of a server, what each says, and the q of the probabilities of the first."""

    first: Any
    second: Any
    labels: str
    probabilities: tuple[int, ...] = ()
    rule: Rule = Rule("*/*")


FORMS = {
    "scores": Pair({"no": 0.25, "yes": 0.75}, {"no": 1, "yes": 0}, "yes no", (16384, 49151)),
    "positions": Pair({"0": 0.75, "1": 0.25}, {"0": 0.25, "1": 0.75}, "0 1", (49151, 16384)),
    "logits": Pair({"no": -2.5, "yes": 3}, {"no": 2, "yes": 3}, "!shape !shape"),
    "logits that are scores": Pair(
        {"no": -2.5, "yes": 3}, {"no": 2, "yes": 3}, "yes yes", (), Rule("*/*", output="scores")
    ),
    "a key": Pair({"no": 0.25, "yes": 0.75}, {"yes": 0.5}, "1 1", (), Rule("*/*", output_name="yes")),
    "a key of texts": Pair(
        {"y": "a", "probability(a)": 0.7}, {"y": 2, "z": 1}, "a 2", (), Rule("*/*", output_name="y")
    ),
    "no such key": Pair(
        {"y": "a", "p": 0.7}, {"label": "a"}, "!shape !shape", (), Rule("*/*", output_name="z")
    ),
    "label": Pair({"label": "NEG", "score": 0.75}, {"label": "POS", "score": 1.5}, "NEG POS", (49151,)),
    "label and index": Pair({"class": 2, "confidence": 0.75}, {"class": 1.0}, "2 1", (49151,)),
    "prediction": Pair({"prediction": "a", "probability": 0.75}, {"prediction": True}, "a 1", (49151,)),
    "predicted class": Pair({"predicted_class": "a", "x": [1]}, {"predicted_class": 0}, "a 0"),
    "positive": Pair(
        {"predicted_label": 0, "score": 0.25},
        {"predicted_label": 1, "score": 0.75},
        "0 1",
        (49151, 16384),
    ),
    "positive of each": Pair(
        {"predicted_label": 1, "score": [0.25, 0.75]},
        {"predicted_label": 0, "score": [0.75, 0.25]},
        "1 0",
        (16384, 49151),
    ),
    "vLLM": Pair(
        {"index": 0, "label": "a", "probs": [0.25, 0.75], "num_classes": 2}, {"label": "b"}, "a b"
    ),
    "two outputs": Pair(
        {"classes": 1, "scores": [0.25, 0.75]}, {"classes": 0, "scores": [0.75, 0.25]}, "1 0",
        (16384, 49151),
    ),
    "all classes": Pair(
        {"classes": ["a", "b"], "scores": [0.25, 0.75]}, {"classes": ["b", "a"], "scores": [0, 1]},
        "b a",
        (16384, 49151),
    ),
    "a map beside": Pair(
        {"output_label": "yes", "output_probability": {"yes": 0.75, "no": 0.25}}, {"label": "no"},
        "yes no", (49151,),
    ),
    "a map beside, classes": Pair(
        {"output_label": "yes", "output_probability": {"yes": 0.75, "no": 0.25}}, {"label": "no"},
        "yes no", (16384, 49151), Rule("*/*", classes=("no", "yes")),
    ),
    "alone": Pair({"score": 12}, {"prediction": "b"}, "12 b"),
    "alone, of a class": Pair({"cat": 0.9}, {"cat": "yes"}, "!shape !shape"),
    "alone, of many": Pair({"dense_1": [0.25, 0.75]}, {"dense_1": [3, 2]}, "1 0", (16384, 49151)),
    "Triton": Pair("0.250000:1:a:b", "-4.500000:7", "a:b 7"),
    "Triton, several": Pair(
        ["0.250000:1:cat", "0.750000:0:dog"], ["9.100000:2", "9.000000:1"], "dog 2"
    ),
    "no Triton": Pair("4:1", "a: b", "4:1 a: b"),
    "JSON text": Pair('{"label": "a", "score": 0.75}', ' {"no": 0.75, "yes": 0.25} ', "a no", (49151,)),
    "JSON text of nothing": Pair('{"a": "b"}', '{"a":', '!shape {"a":'),
    "Python text": Pair("{0: 0.25, 1: 0.75}", "{'a': 1.0, \"b\": 1e-05}", "1 a", (16384, 49151)),
    "Python text of nothing": Pair("{0: 0.25, 1: 'x'}", "{0: {}}", "{0: 0.25, 1: 'x'} {0: {}}"),
    "unreadable": Pair({"label": None, "score": 1}, {"a": [1], "b": {}}, "!shape !shape"),
    "empty label": Pair({"label": "", "score": 0.75}, {"": 1, "b": 0}, "(empty) (empty)", (49151,)),
}  # fmt: skip


def said(
    rows: PayloadRows | DeadLetter | Uncounted | None, rule: Rule, is_truth: bool = False
) -> list[Any]:
    """The label and the q of the probabilities of each row."""
    assert isinstance(rows, PayloadRows), rows
    row_rules = RowRules(rule.task, rule.output, rule.threshold)
    found = []
    for row in rows.rows:
        reading = (read_truth if is_truth else read_row)(row, row_rules)
        names = row.names if type(row) is NamedScores else rows.names
        answer, values = interpret(reading, rule.schema(names), rule.output, rule.labels, rule.task)
        label = answer.label if answer.reason is None else f"!{answer.reason}"
        width = answer.width or len(values) // 2
        q = [q for _, q in unpack_probabilities(values, width)] if len(values) == 2 * width else []
        found.append((label, tuple(q)))
    return found
