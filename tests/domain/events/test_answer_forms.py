"""The forms in which servers write one row (rules 4 and 5), in every container, as answer and truth."""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

import pytest
from google.protobuf import json_format

from processor.domain.events.attributes import BodyFormat
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.forms import Choice
from processor.domain.events.payloads.json_bodies import Judgement
from processor.domain.events.payloads.protobuf import MESSAGES
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import DeadLetter, Uncounted
from processor.domain.interpreter import interpret
from processor.domain.model_rules import Rule
from processor.domain.quantities import unpack_probabilities
from processor.domain.row_reader import RowRules, read_row, read_truth
from processor.domain.values import NamedScores

PROTOBUF = "application/protobuf"


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


def text_of(row: Any) -> str:
    return row if isinstance(row, str) else json.dumps(row)


def is_text(rows: list[Any]) -> bool:
    return all(isinstance(row, str) for row in rows)


def ndarray(rows: list[Any]) -> dict[str, Any]:
    return {"data": {"names": [], "ndarray": rows}}


def json_data(rows: list[Any]) -> dict[str, Any]:
    return {"jsonData": rows if len(rows) > 1 or isinstance(rows[0], list) else rows[0]}


def predictions(rows: list[Any]) -> dict[str, Any]:
    return {"predictions": rows}


def texts(rows: list[Any]) -> dict[str, Any]:
    """Each row as one text, but a list of texts as the elements of its row."""
    if any(isinstance(row, list) for row in rows):
        shape, data = [len(rows), len(rows[0])], [one for row in rows for one in row]
    else:
        shape, data = [len(rows), 1], [text_of(row) for row in rows]
    return {"outputs": [{"name": "o", "datatype": "BYTES", "shape": shape, "data": data}]}


def marked_texts(rows: list[Any]) -> dict[str, Any]:
    return {**texts(rows), "parameters": {"content_type": "hg_jsonlist"}}


def objects(rows: list[Any]) -> dict[str, Any]:
    shape = [len(rows), 1] if not isinstance(rows[0], list) else [len(rows), len(rows[0])]
    return {"outputs": [{"name": "o", "datatype": "BYTES", "shape": shape, "data": rows}]}


def packed(values: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(one.encode())) + one.encode() for one in values)


JSON = [ndarray, json_data, predictions, texts, marked_texts, objects]


def binary(rows: list[Any]) -> tuple[bytes, BodyFormat]:
    (output,) = texts(rows)["outputs"]
    data = packed(output.pop("data"))
    output["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"outputs": [output]}).encode()
    return head + data, BodyFormat("", "v2", str(len(head)).encode(), "")


def seldon(rows: list[Any]) -> tuple[bytes, BodyFormat]:
    message = json_format.ParseDict(
        {"data": {"ndarray": rows}}, MESSAGES["SeldonMessage"](), ignore_unknown_fields=True
    )
    return message.SerializeToString(), BodyFormat(PROTOBUF, "", None, "")


def inference(rows: list[Any]) -> tuple[bytes, BodyFormat]:
    (output,) = texts(rows)["outputs"]
    message = MESSAGES["ModelInferResponse"]()
    one = message.outputs.add(name="o", datatype="BYTES", shape=output["shape"])
    one.contents.bytes_contents.extend(text.encode() for text in output["data"])
    return message.SerializeToString(), BodyFormat(PROTOBUF, "v2", None, "")


def raw_inference(rows: list[Any]) -> tuple[bytes, BodyFormat]:
    (output,) = texts(rows)["outputs"]
    message = MESSAGES["ModelInferResponse"]()
    message.outputs.add(name="o", datatype="BYTES", shape=output["shape"])
    message.raw_output_contents.append(packed(output["data"]))
    return message.SerializeToString(), BodyFormat(PROTOBUF, "v2", None, "")


OTHERS = [binary, seldon, inference, raw_inference]


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


def check(form: Pair, found: list[Any], is_truth: bool) -> None:
    labels = " ".join(str(label) for label, _ in found)
    expected = form.labels
    assert expected == labels or (len(found) == 1 and expected.startswith(f"{labels} ")), found
    if form.rule.output_name is None and not is_truth:
        assert found[0][1] == form.probabilities


@pytest.mark.parametrize("several", [False, True], ids=["one row", "two rows"])
@pytest.mark.parametrize("container", [*JSON, *OTHERS], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", FORMS)
def test_an_answer(name: str, container: Any, several: bool) -> None:
    form = FORMS[name]
    rows = [form.first, form.second][: 1 + several]
    if container in OTHERS:
        body, body_format = container(rows)
    else:
        body, body_format = json.dumps(container(rows)).encode(), BodyFormat("", "", None, "")
    if container is marked_texts and not any(isinstance(row, dict) for row in rows):
        pytest.skip("only objects are marked")
    found = bodies.read_response(body, body_format, Choice.of(form.rule))
    check(form, said(found, form.rule), False)


@pytest.mark.parametrize("several", [False, True], ids=["one row", "two rows"])
@pytest.mark.parametrize("container", [*JSON, seldon], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", [name for name in FORMS if name != "no such key"])
def test_a_truth(name: str, container: Any, several: bool) -> None:
    """It is read by the same code."""
    form = FORMS[name]
    rows = [form.first, form.second][: 1 + several]
    if container is seldon:
        message = MESSAGES["Feedback"]()
        message.truth.ParseFromString(container(rows)[0])
        body, body_format = message.SerializeToString(), BodyFormat(PROTOBUF, "", None, "")
    else:
        body = json.dumps({"truth": container(rows)}).encode()
        body_format = BodyFormat("", "", None, "")
    if container is marked_texts and not any(isinstance(row, dict) for row in rows):
        pytest.skip("only objects are marked")
    found = bodies.read_feedback(body, body_format, Choice.of(form.rule))
    assert isinstance(found, Judgement), found
    check(form, said(found.truth, form.rule, True), True)
