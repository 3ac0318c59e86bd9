"""Answers of several outputs, and outputs whose form servers differ in (rule 5)."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.events.attributes import BodyFormat
from processor.domain.events.common_case import row_key
from processor.domain.events.payloads import bodies, protobuf
from processor.domain.events.payloads.forms import FIRST, Choice
from processor.domain.events.payloads.json_bodies import Judgement, read_feedback, read_response
from processor.domain.events.payloads.protobuf import MESSAGES
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import DeadLetter
from processor.domain.model_rules import Rule
from processor.domain.row_reader import read_row, read_truth
from tests.support.events.answer_rows import FORMS, said

PLAIN = Rule("*/*")
SCORES = Rule("*/*", output="scores")


def output(name: str, datatype: str, shape: Any, data: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data, **more}


def labels_of(body: Any, rule: Rule = PLAIN) -> str:
    """The labels of an answer, which as a truth says the same."""
    text = json.dumps(body).encode()
    found = read_response(text, Choice.of(rule))
    if isinstance(found, DeadLetter):
        return f"!{found.reason}"
    judged = read_feedback(b'{"truth":%b}' % text, Choice.of(rule))
    assert isinstance(judged, Judgement)
    if rule.output_name != "other":  # a truth may name its only output freely
        assert judged.truth == found
    return " ".join(str(label) for label, _ in said(found, rule))


def protobuf_of(body: dict[str, Any]) -> bytes:
    """A ModelInferResponse of the same content."""
    message = MESSAGES["ModelInferResponse"]()
    for one in body["outputs"]:
        shape = one["shape"] or []
        added = message.outputs.add(name=one["name"], datatype=one["datatype"], shape=shape)
        mark = one.get("parameters", body.get("parameters", {})).get("content_type")
        if mark:
            added.parameters.add(key="content_type").value.string_param = mark
        if one["datatype"] == "BYTES":
            texts = [x if isinstance(x, str) else json.dumps(x) for x in one["data"]]
            added.contents.bytes_contents.extend(text.encode() for text in texts)
        elif one["datatype"] == "INT64":
            added.contents.int64_contents.extend(one["data"])
        else:
            added.contents.fp64_contents.extend(one["data"])
    packed: bytes = message.SerializeToString()
    return packed


PREDICT = output("predict", "INT64", [2], [1, 0])
PROBA = output("predict_proba", "FP64", [2, 2], [0.25, 0.75, 0.75, 0.25])
LABEL = output("output_label", "BYTES", [2], ["yes", "no"])
ZIPMAP = output(
    "output_probability", "BYTES", [2], [{"no": 0.25, "yes": 0.75}, {"no": 0.75, "yes": 0.25}]
)
BY_CLASS = [
    output("proba_no", "FP64", [2], [0.25, 0.75]),
    output("proba_yes", "FP64", [2, 1], [0.75, 0.25]),
]


@pytest.mark.parametrize(
    ("outputs", "rule", "labels", "probabilities"),
    [
        ([PREDICT, PROBA], PLAIN, "1 0", (16384, 49151)),
        ([PROBA, PREDICT], PLAIN, "1 0", (16384, 49151)),
        ([output("predict", "INT64", [2, 1], [1, 0]), PROBA], PLAIN, "1 0", (16384, 49151)),
        ([PROBA, PREDICT], Rule("*/*", output_name="predict"), "1 0", ()),
        ([PREDICT, PROBA], Rule("*/*", output_name="predict_proba"), "1 0", (16384, 49151)),
        ([PREDICT, PROBA], Rule("*/*", output_name="other"), "!shape !shape", ()),
        ([PREDICT, PROBA], Rule("*/*", classes=("no", "yes")), "yes no", (16384, 49151)),
        ([LABEL, ZIPMAP], PLAIN, "yes no", (49151,)),
        ([ZIPMAP, LABEL], PLAIN, "yes no", (49151,)),
        ([ZIPMAP, LABEL], Rule("*/*", classes=("no", "yes")), "yes no", (16384, 49151)),
        ([ZIPMAP, LABEL], Rule("*/*", classes=("yes", "no")), "yes no", (49151, 16384)),
        ([PROBA, LABEL], Rule("*/*", classes=("no", "yes")), "yes no", (16384, 49151)),
        ([PREDICT, output("scores", "FP64", [2], [0.25, 0.75])], PLAIN, "1 0", ()),
        ([PREDICT, output("scores", "FP64", [1, 2], [0.25, 0.75])], PLAIN, "1 0", ()),
        (BY_CLASS, SCORES, "proba_yes proba_no", (16384, 49151)),
        (BY_CLASS, PLAIN, "0 1", (49151, 16384)),  # the first output, as a probability
        (BY_CLASS, Rule("*/*", output_name="proba_yes"), "1 0", (16384, 49151)),
        ([PREDICT, LABEL], PLAIN, "1 0", ()),  # the first
        ([LABEL, PREDICT], SCORES, "!shape !shape", ()),
        ([ZIPMAP], Rule("*/*", output_name="yes"), "1 0", (16384, 49151)),
        ([ZIPMAP], Rule("*/*", output_name="other"), "!shape !shape", ()),
    ],
)
def test_several_outputs(
    outputs: list[Any], rule: Rule, labels: str, probabilities: tuple[int, ...]
) -> None:
    """In JSON and in protobuf."""
    body = {"outputs": outputs}
    assert labels_of(body, rule) == labels
    choice = Choice.of(rule)
    for found in (
        read_response(json.dumps(body).encode(), choice),
        protobuf.read_response(protobuf_of(body), "v2", choice),
    ):
        rows = said(found, rule)
        assert " ".join(str(label) for label, _ in rows) == labels
        assert rows[0][1] == probabilities


@pytest.mark.parametrize(
    ("one", "labels"),
    [
        (output("o", "BYTES", [], ["a"]), "a"),
        (output("o", "BYTES", None, ["a", "b"]), "a b"),
        (output("o", "FP64", [], [0.25, 0.75]), "0 1"),
        (output("o", "INT64", [], [1]), "1"),
        (output("o", "BYTES", [5, 1], ["a", "b"]), "a b"),
        (output("o", "BYTES", [1], ["a", "b"]), "a b"),
        (output("o", "BYTES", [2, 2], ["9.5:0:a", "9.0:1:b", "1.0:0:a", "2.0:1:b"]), "a b"),
        (output("o", "BYTES", [1], ["Y2F0"], parameters={"content_type": "base64"}), "cat"),
        (output("o", "BYTES", [1], ["?"], parameters={"content_type": "base64"}), "!shape"),
        (output("o", "BYTES", [1], ["Y2F0"], parameters={"content_type": "str"}), "Y2F0"),
        (output("o", "BYTES", [1], ['"cat"'], parameters={"content_type": "pd_json"}), "cat"),
        (output("o", "BYTES", [1], ["1"], parameters={"content_type": "hg_json"}), "1"),
        (output("o", "BYTES", [1], ["cat"], parameters={"content_type": "hg_json"}), "cat"),
    ],
)
def test_one_output(one: dict[str, Any], labels: str) -> None:
    """Its shape and its marks, in JSON and in protobuf; a truth too."""
    assert labels_of({"outputs": [one]}) == labels
    found = protobuf.read_response(protobuf_of({"outputs": [one]}), "v2", FIRST)
    assert " ".join(str(label) for label, _ in said(found, PLAIN)) == labels


def test_the_mark_of_the_answer_is_that_of_its_outputs() -> None:
    body = {
        "outputs": [output("o", "BYTES", [1], ["Y2F0"])],
        "parameters": {"content_type": "base64"},
    }
    assert labels_of(body) == "cat"
    body["outputs"][0]["parameters"] = {"content_type": "str"}  # type: ignore[index]
    assert labels_of(body) == "Y2F0"
    assert labels_of({"outputs": [output("o", "FP64", [1], [0.75])], "parameters": []}) == "1"


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP16", struct.pack("<4e", 0.25, 0.75, 0.75, 0.25)),
        ("BF16", bytes.fromhex("803e403f403f803e")),
    ],
)
@pytest.mark.parametrize("shape", [[2, 2], [1, 4], [4], [], None])
def test_half_floats(datatype: str, data: bytes, shape: list[int] | None) -> None:
    expected: Any = [[0.25, 0.75], [0.75, 0.25]] if shape == [2, 2] else [0.25, 0.75, 0.75, 0.25]
    if shape == [1, 4]:
        expected = [expected]
    one = output("o", datatype, shape, None, parameters={"binary_data_size": len(data)})
    body = json.dumps({"outputs": [one]}).encode() + data
    found = bodies.read_response(body, BodyFormat("", "v2", None, ""), FIRST)
    message = MESSAGES["ModelInferResponse"]()
    message.outputs.add(name="o", datatype=datatype, shape=shape or [])
    message.raw_output_contents.append(data)
    packed = protobuf.read_response(message.SerializeToString(), "v2", FIRST)
    assert found == packed == PayloadRows(expected, None)


@pytest.mark.parametrize(
    ("body", "rule", "labels"),
    [
        ({"result": [[["cat", 0.75], ["dog", 0.25]], [["cat", 0], ["dog", 1]]]}, PLAIN, "cat dog"),
        ({"results": [[["cat", 0.75], ["dog", 0.25]]]}, PLAIN, "cat"),
        ({"result": [[["cat", 7], ["dog", 2]]]}, PLAIN, "!shape"),
        ({"result": [[["cat", 7], ["dog", 2]]]}, SCORES, "cat"),
        ({"result": [[["", 0.25], ["", 0.75]]]}, PLAIN, "1"),
        ({"result": [[["a", 0.25], ["a", 0.75]]]}, PLAIN, "!shape"),
        ({"result": [[["cat", 0.75]]]}, PLAIN, "cat"),
        ({"result": [1, 0.75]}, PLAIN, "1 1"),
        ({"result": "cat"}, PLAIN, "!bad_shape"),
        ({"outputs": {"classes": [1, 0], "scores": [[0.25, 0.75], [1, 0]]}}, PLAIN, "1 0"),
        ({"outputs": {"scores": [[0.25, 0.75]]}}, PLAIN, "1"),
        ({"outputs": {"no": [[0.25], [0.75]], "yes": [[0.75], [0.25]]}}, PLAIN, "!shape !shape"),
        ({"outputs": {"no": [0.25, 0.75], "yes": [0.75, 0.25]}}, PLAIN, "yes no"),
        ({"outputs": {"a": ["x", "y"], "b": [[1], [0]]}}, PLAIN, "!shape !shape"),
        ({"outputs": {"a": ["x", "y"], "b": [[1]]}}, PLAIN, "!shape"),
        ({"outputs": {"a": ["x", "y"], "b": [[1]]}}, Rule("*/*", output_name="a"), "x y"),
        ({"predictions": {"no": 0.25, "yes": 0.75}}, PLAIN, "yes"),
        ({"predictions": {"label": ["a", "b"], "score": [0.5, 0.75]}}, PLAIN, "a b"),
        ({"predictions": {"predicted_label": 1, "score": [0.1, 0.7, 0.2]}}, PLAIN, "1"),
        ({"predictions": ["a", {"label": "b"}, 1, [0.25, 0.75]]}, PLAIN, "a b 1 1"),
        ({"predictions": [{"a": [0.25, 0.75], "b": [0.75, 0.25]}]}, PLAIN, "!shape"),
        ({"data": {"names": [0, 1.0], "ndarray": [[0.25, 0.75]]}}, PLAIN, "1"),
        ({"data": {"names": [False, True], "ndarray": [[0.75, 0.25]]}}, PLAIN, "0"),
        ({"data": {"names": [7, 8], "ndarray": [[0.25, 0.75]]}}, PLAIN, "8"),
        ({"data": {"names": [7, None], "ndarray": [[0.25, 0.75]]}}, PLAIN, "1"),
        ({"data": {"names": ["", "a"], "ndarray": [[0.75, 0.25]]}}, PLAIN, "(empty)"),
        ({"data": {"names": "ab", "ndarray": [[0.75, 0.25]]}}, PLAIN, "!bad_shape"),
        ({"strData": '{"label": "a"}'}, PLAIN, "a"),
        ({"data": {"tftensor": {"dtype": "DT_STRING", "tensorShape": {}, "stringVal":
          ["eyJsYWJlbCI6ICJhIn0="]}}}, PLAIN, "a"),
        ({"data": {"tftensor": {"dtype": 14, "tensorShape": {"dim": [{"size": 1}, {"size": 2}]},
          "halfVal": [0x3E80, 0x3F40]}}}, PLAIN, "1"),
    ],
)  # fmt: skip
def test_tensorflow_and_seldon(body: Any, rule: Rule, labels: str) -> None:
    assert labels_of(body, rule) == labels


def test_tensorflow_in_protobuf() -> None:
    """Several outputs of a PredictResponse are read like columns of JSON."""
    message = MESSAGES["PredictResponse"]()
    for name, dtype in ("scores", 1), ("classes", 7):
        message.outputs.add(key=name).value.dtype = dtype
    scores, classes = (one.value for one in message.outputs)
    for size in (1, 2):
        scores.tensor_shape.dim.add(size=size)
    classes.tensor_shape.dim.add(size=1)
    scores.float_val.extend([0.25, 0.75])
    classes.string_val.append(b"b")
    found = protobuf.read_response(message.SerializeToString(), "tensorflow", FIRST)
    assert said(found, PLAIN) == [("b", (16384, 49151))]


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ({"data": {"ndarray": [None, 1]}}, ["withdrawn", 1]),
        ({"jsonData": None}, ["withdrawn"]),
        ({"predictions": [[None], {"label": None}, {}]}, ["withdrawn", "shape", "shape"]),
        ({"binData": "AAAA"}, ["shape"]),
        ({"outputs": [output("o", "BYTES", [2], [None, "a"])]}, ["withdrawn", "a"]),
    ],
)
def test_only_a_null_takes_a_label_back(truth: Any, expected: list[Any]) -> None:
    """Rule 9."""
    found = read_feedback(json.dumps({"truth": truth}).encode(), FIRST)
    assert isinstance(found, Judgement)
    assert found.truth is not None
    assert [read_truth(row).value for row in found.truth.rows] == expected


def test_without_a_choice_rows_stay_as_they_are_written() -> None:
    body = {"predictions": [{"label": "a"}, "0.25:1:b", [1, 2]]}
    assert read_response(json.dumps(body).encode(), None) == PayloadRows(body["predictions"], None)
    found = read_response(json.dumps({"outputs": [PROBA, PREDICT]}).encode(), None)
    assert found == PayloadRows([[0.25, 0.75], [0.75, 0.25]], None)


def test_rows_of_other_meaning_have_other_keys() -> None:
    """What was decoded once is used again only for a row that says the same."""
    rows = [form.first for form in FORMS.values()] + [form.second for form in FORMS.values()]
    written = {json.dumps(row) for row in rows if not isinstance(row, str)}
    assert len({row_key(row) for row in rows if not isinstance(row, str)}) == len(written)


def test_names_of_rows_are_bounded() -> None:
    row = {f"{i:060}": 0.0 for i in range(19_000)}
    found = read_response(json.dumps({"predictions": [row]}).encode(), FIRST)
    assert isinstance(found, DeadLetter)
    assert found.reason == "too_large"


keys = st.sampled_from(
    ["label", "class", "predicted_label", "score", "scores", "classes", "b64", "a", "value", ""]
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["0.5:1:a", "{0: 0.5}", '{"label": {"b64": 1}}', "Y2F0", 10**400, '{"a": 1e999}'])
)  # fmt: skip
trees = st.recursive(
    leaves | st.sampled_from([form.first for form in FORMS.values()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
marks = st.none() | st.sampled_from(["base64", "hg_json", "str"]) | trees
tensors = st.fixed_dictionaries(
    {"name": keys | trees, "datatype": st.sampled_from(["BYTES", "FP64", "BF16", 1])},
    optional={
        "shape": trees | st.lists(st.integers(0, 3), max_size=3),
        "data": trees | st.lists(trees, max_size=4),
        "parameters": trees | st.fixed_dictionaries({"content_type": marks}),
    },
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "outputs": st.lists(tensors, max_size=3) | trees,
        "parameters": st.fixed_dictionaries({"content_type": marks}),
    },
) | st.dictionaries(
    st.sampled_from(["predictions", "result", "results", "outputs", "jsonData", "strData"]),
    trees,
    max_size=2,
)  # fmt: skip
choices = st.builds(
    Choice,
    st.none() | keys,
    st.sampled_from([None, "scores", "label"]),
    st.sampled_from([None, ("a", "b")]),
)


@given(messages, choices | st.none())
def test_no_body_raises(message: Any, choice: Choice | None) -> None:
    body = json.dumps(message).encode()
    found = read_response(body, choice)
    judged = read_feedback(b'{"truth":%b}' % body, choice)
    if isinstance(found, PayloadRows):
        for row in found.rows:
            read_row(row)
    if isinstance(judged, Judgement) and judged.truth is not None:
        for row in judged.truth.rows:
            read_truth(row)


@given(st.sampled_from(sorted(MESSAGES)), st.binary(max_size=60), choices)
def test_no_message_raises(name: str, body: bytes, choice: Choice) -> None:
    for protocol in ("v2", "tensorflow", ""):
        protobuf.read_response(body, protocol, choice)
    protobuf.read_feedback(body, choice)
