"""Outputs of TensorFlow and the Open Inference Protocol, and which of several counts."""

from typing import Any

import pytest

from tests.support.events.one_event import label


def output(name: str = "o", datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, **more}


PREDICT = output("predict", "INT64", shape=[2], data=[2, 0])
PROBA = output("proba", "FP64", shape=[2, 2], data=[0.1, 0.9, 0.8, 0.2])


def named(name: str | None) -> dict[str, Any]:
    return {"models": [{"match": "*/*", **({"output_name": name} if name else {})}]}


@pytest.mark.parametrize(
    ("body", "name", "labels"),
    [
        ({"outputs": [PREDICT, PROBA]}, None, "2 0"),  # the first
        ({"outputs": [PREDICT, PROBA]}, "predict", "2 0"),
        ({"outputs": [PREDICT, PROBA]}, "proba", "1 0"),
        ({"outputs": [PREDICT, PROBA]}, "label", "!shape !shape"),
        ({"outputs": [PROBA]}, "label", "!shape !shape"),
        ({"predictions": [{"class": "a", "p": 0.9}, {"class": "b", "p": 0.8}]}, None, "a b"),
        ({"predictions": [{"class": "a", "p": 0.9}, {"class": "b", "p": 0.8}]}, "p", "1 1"),
        ({"predictions": [{"class": "a"}, {"p": 0.8}, {}]}, "p", "!shape 1 !shape"),
        ({"predictions": [[0.1, 0.9]]}, "p", "1"),  # one without a name: nothing to choose
        ({"outputs": {"class": ["a", "b"], "p": [0.9, 0.8]}}, None, "a b"),
        ({"outputs": {"class": ["a", "b"], "p": [0.9, 0.8]}}, "p", "1 1"),
        ({"outputs": {"class": ["a", "b"], "p": [0.9, 0.8]}}, "q", "!shape !shape"),
        ({"outputs": {"class": "a"}}, None, "a"),
        ({"outputs": {}}, None, "!shape"),
    ],
)
def test_which_of_several_outputs_counts(body: object, name: str | None, labels: str) -> None:
    assert label(body, file=named(name)) == labels


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        ({"predictions": ["a", 1, True]}, "a 1 1"),
        ({"predictions": [{"b64": "Y2F0"}, {"b64": "/w=="}, {"b64": "?"}]}, "cat !shape !shape"),
        ({"predictions": [{"b64": 1}]}, "!shape"),
        ({"predictions": [{"label": {"b64": "Y2F0"}}]}, "cat"),
        ({"predictions": 3}, "3"),
        ({"predictions": "cat"}, "cat"),
        ({"predictions": []}, "!bad_shape"),
        ({"outputs": [1, 0]}, "1 0"),  # columns of the only output
        ({"outputs": []}, "!bad_shape"),
        ({"predictions": [1], "outputs": [1]}, "!two_containers"),
        ({"predictions": [1], "data": {"ndarray": [1]}}, "!two_containers"),
        ({"predictions": None, "outputs": None}, "!bad_shape"),
        ({"customData": {"@type": "x"}}, "!shape"),
    ],
)  # fmt: skip
def test_tensorflow(body: object, labels: str) -> None:
    assert label(body) == labels


@pytest.mark.parametrize(
    ("one", "labels"),
    [
        (output(shape=[2, 2], data=[0.1, 0.9, 0.8, 0.2]), "1 0"),
        (output(shape=[2, 2], data=[[0.1, 0.9], [0.8, 0.2]]), "1 0"),
        (output(shape=[1, 1, 2], data=[[[0.1, 0.9]]]), "1"),
        (output(shape=[1, 1, 2], data=[0.1, 0.9]), "1"),
        (output(shape=[1, 2, 2], data=[1, 2, 3, 4]), "!shape"),
        (output(shape=[3], data=[0.1, 0.7, 2]), "0 1 2"),  # three rows of one number
        (output(shape=[2], datatype="BYTES", data=["cat", None]), "cat !shape"),
        (output(shape=[2, 2], data=[[0.1], [0.9, 0.8, 0.2]]), "!bad_shape"),
        (output(shape=[2, 2], data=[[0.1, 0.9]]), "!bad_shape"),
        (output(shape=[2, 2], data=[[0.1, 0.9], 5]), "!bad_shape"),
        (output(shape=[2, 2], data=[0.1, 0.9]), "!bad_shape"),
        (output(shape=[2], data=[[0.1], [0.9]]), "0 1"),  # as good as flat
        (output(shape=[], data=[1]), "1"),
        (output(shape=[0], data=[]), "!bad_shape"),
        (output(shape=[-1], data=[1]), "!bad_shape"),
        (output(shape="2", data=[1]), "!bad_shape"),
        (output(shape=[2**62] * 64, data=[1]), "!bad_shape"),
        (output(shape=[1] * 1000, data=[1]), "!bad_shape"),
        (output(shape=[1], data={"0": 1}), "!bad_shape"),
        (output(shape=[1]), "!bad_shape"),
        (output(data=[1]), "1"),
        (output(shape=[20_001], data=[1] * 20_001), "!too_large"),
        (output(shape=[1], parameters={"binary_data_size": 4}), "!bad_shape"),
    ],
)
def test_inference(one: object, labels: str) -> None:
    assert label({"model_name": "m", "outputs": [one]}) == labels


@pytest.mark.parametrize("size", [20_001, 2**62])
def test_an_output_that_is_not_there_is_bounded_too(size: int) -> None:
    one = output(shape=[size], data=[1])
    assert label({"outputs": [one]}, file=named("other")) == "!too_large"


@pytest.mark.parametrize(
    ("tensor", "labels"),
    [
        ({"dtype": "DT_INT64", "tensorShape": {"dim": [{"size": "2"}]}, "int64Val": ["3", "4"]}, "3 4"),
        ({"dtype": "DT_STRING", "tensorShape": {"dim": [{"size": "1"}]}, "stringVal": ["Y2F0"]}, "cat"),
        ({"dtype": "DT_BOOL", "tensorShape": {"dim": [{"size": 1}]}, "boolVal": [True]}, "1"),
        ({"dtype": "DT_HALF", "tensorShape": {"dim": [{"size": 1}]}, "halfVal": [15360]}, "1"),
        ({"dtype": 2, "tensor_shape": {"dim": [{"size": 1}]}, "double_val": ["NaN"]}, "!no_maximum"),
        # The last value stands for all that follow.
        ({"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": 3}]}, "intVal": [1, 2]}, "1 2 2"),
        ({"dtype": "DT_INT32", "tensorShape": {}, "intVal": [5]}, "5"),
        ({"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": 2**40}]}, "intVal": [1]}, "!too_large"),
        ({"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": -1}]}, "intVal": [1]}, "!bad_shape"),
        ({"dtype": "DT_INT32", "tensorShape": {"dim": [{"size": "x"}]}, "intVal": [1]}, "!bad_shape"),
        ({"dtype": "DT_INT32", "tensorShape": {"dim": [{}]}, "intVal": [1]}, "!bad_shape"),
        ({"dtype": "DT_INT32", "tensorShape": 5, "intVal": [1]}, "!bad_shape"),
        ({"dtype": "DT_INT32", "intVal": 5}, "!bad_shape"),
        ({"dtype": "DT_RESOURCE", "tensorContent": "AAAA"}, "!bad_shape"),
        ({"dtype": "DT_FLOAT", "tensorContent": "AAA="}, "!bad_shape"),
        ({"dtype": "DT_FLOAT", "tensorContent": "?"}, "!bad_shape"),
        ({"intVal": [1]}, "!bad_shape"),
        ({"dtype": "DT_INT32"}, "!bad_shape"),
        ([1], "!bad_shape"),
    ],
)  # fmt: skip
def test_tftensor(tensor: object, labels: str) -> None:
    assert label({"data": {"tftensor": tensor}}) == labels
