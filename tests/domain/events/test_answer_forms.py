"""The forms in which servers write one row (rules 4 and 5), in every container, as answer and truth."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from google.protobuf import json_format

from processor.domain.events.attributes import BodyFormat
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.forms import Choice
from processor.domain.events.payloads.json_bodies import Judgement
from processor.domain.events.payloads.protobuf import MESSAGES
from tests.support.events.answer_rows import FORMS, Pair, said

PROTOBUF = "application/protobuf"


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
