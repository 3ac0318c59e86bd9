"""Outputs of the Open Inference Protocol, from JSON or protobuf, to rows (counting rule 5)."""

from itertools import chain
from typing import Any

import msgspec

from processor.domain.events.payloads.forms import (
    LABEL_OUTPUTS,
    PROBABILITY_OUTPUTS,
    Choice,
    bare,
    labelled,
    read_forms,
    read_named,
)
from processor.domain.events.payloads.rows import (
    PayloadRows,
    checked,
    is_plain,
    shaped,
    size_of,
)
from processor.domain.events.payloads.tensors import choose, unpack, unscorable
from processor.domain.events.payloads.texts import JSON_TYPES, marked
from processor.domain.events.raw_event import DeadLetter
from processor.domain.values import NamedScores

_NUMBERS = frozenset((int, float))
_MARKS = JSON_TYPES | {"base64"}


class Output(msgspec.Struct, frozen=True, gc=False):
    """One output of an answer. ``data`` are its values, flat or nested, or their bytes;
    ``content_type`` is what its parameters say of its texts, or those of the answer."""

    name: str
    datatype: str
    shape: Any
    content_type: object
    data: Any


def read_outputs(
    outputs: list[Output], choice: Choice | None, is_truth: bool = False
) -> PayloadRows | DeadLetter:
    """Return the rows of the output that counts: the one that the models file names, or the labels
    beside their probabilities, or the first.

    Without a ``choice`` the first counts, and its rows stay as they are.
    """
    if choice is None:
        return _values(outputs[0])
    wanted = choice.output_name
    if wanted is None:
        if len(outputs) > 1:
            found = _pair(outputs, choice)
            if found is None and choice.output == "scores":
                found = _classes(outputs)
            if found is not None:
                return found
        return _rows(outputs[0], choice, is_truth)
    position = choose([one.name for one in outputs], wanted, is_truth)
    if position is not None:
        rest = choice if is_truth else choice._replace(output_name=None)
        return _rows(outputs[position], rest, is_truth)
    if len(outputs) == 1 and size_of(outputs[0].shape or [1]) is not None:
        # The name may be that of a key in the rows of the only output.
        found = _values(outputs[0])
        if isinstance(found, PayloadRows):
            return checked([read_named(row, choice) for row in found.rows])
    return unscorable(outputs[0].shape)


def _rows(output: Output, choice: Choice, is_truth: bool) -> PayloadRows | DeadLetter:
    """Return the rows of one output as the values that they carry."""
    found = _values(output)
    if isinstance(found, DeadLetter):
        return found
    rows, data = found.rows, output.data
    if output.datatype != "BYTES" and (type(data) is bytes or type(data[0]) in _NUMBERS):
        # Numbers, which carry no other value.
        return found
    return found if is_plain(rows) else read_forms(rows, choice, is_truth)


def _values(output: Output) -> PayloadRows | DeadLetter:
    """Return the rows of one output.

    Where the shape is empty or missing there is a row for each value, and so where that of texts is
    not the shape of the data.
    """
    datatype, shape, data = output.datatype, output.shape, output.data
    is_text = datatype == "BYTES"
    if type(data) is bytes:
        unpacked = unpack(datatype, shape, data)
        if isinstance(unpacked, DeadLetter):
            return unpacked
        data = unpacked
    if type(data) is not list:
        return DeadLetter("bad_shape", "the data of an output is no list")
    mark = output.content_type
    if is_text and isinstance(mark, str) and mark in _MARKS:
        data = [marked(one, mark) for one in data]
    if shape is None or shape == []:
        return checked(data)
    rows = _shaped_or_nested(shape, data)
    if is_text and isinstance(rows, DeadLetter) and rows.reason == "bad_shape":
        return checked(data)
    return rows


def _shaped_or_nested(shape: Any, data: list[Any]) -> PayloadRows | DeadLetter:
    """Return the rows of an output's data, which is flat or nested like its shape."""
    if size_of(shape) is None:
        return DeadLetter("bad_shape", "an output's shape is a list of sizes, one at least")
    if len(shape) == 1 or not data or type(data[0]) is not list:
        return shaped(shape, data)
    level = data
    fits = len(data) == shape[0]
    for size in shape[1:]:
        fits = fits and all(type(part) is list and len(part) == size for part in level)
        if not fits:
            return DeadLetter("bad_shape", f"the data of an output is not of its shape {shape}")
        level = list(chain.from_iterable(level))
    return checked(data)


def _pair(outputs: list[Output], choice: Choice) -> PayloadRows | DeadLetter | None:
    """Return the rows of an output of labels beside one of probabilities, None if there is no pair."""
    by_name = {one.name: one for one in outputs}
    label = next((by_name[name] for name in LABEL_OUTPUTS if name in by_name), None)
    scores = next((by_name[name] for name in PROBABILITY_OUTPUTS if name in by_name), None)
    if label is None or scores is None:
        return None
    labels = _rows(label, choice, False)
    beside = _rows(scores, choice, False)
    if isinstance(labels, DeadLetter):
        return labels
    if isinstance(beside, DeadLetter) or len(beside.rows) != len(labels.rows):
        return labels
    # Servers write one label a row as a list of one, too: the shape [n, 1] for [n].
    rows = [
        labelled(bare(one), bare(found), choice, label.name == "classes")
        for one, found in zip(labels.rows, beside.rows, strict=True)
    ]
    return PayloadRows(rows, None)


def _classes(outputs: list[Output]) -> PayloadRows | None:
    """Return the rows of several outputs of one number a row each, one output for each class; None for
    any other outputs."""
    columns: list[list[float]] = []
    for one in outputs:
        found = _values(one)
        if isinstance(found, DeadLetter):
            return None
        column = [bare(row) for row in found.rows]
        if not {*map(type, column)} <= _NUMBERS or (columns and len(column) != len(columns[0])):
            return None
        columns.append(column)
    names = tuple([one.name for one in outputs])
    if len({*names}) != len(names):
        return None
    return PayloadRows([NamedScores(names, scores) for scores in zip(*columns, strict=True)], None)
