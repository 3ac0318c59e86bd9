"""Protobuf messages of Seldon, TensorFlow and the Open Inference Protocol, in the forms that senders
write, and answers of the last in JSON that binary tensors follow."""

import json
import random
import struct
from typing import Any, NamedTuple

from processor.domain.events.payloads.protobuf import MESSAGES

#: The containers of a `SeldonMessage`, a `ModelInferResponse` and a `PredictResponse`, and of JSON that
#: binary tensors follow.
SELDON = ("tensor", "ndarray", "str_data", "json_data", "tftensor")
INFERENCE = ("typed", "raw", "pair")
TENSORFLOW, BINARY = "outputs", "binary"
#: The typed contents and the `struct` code of raw contents, by datatype.
_DATATYPES = {
    "FP32": ("fp32_contents", "f"), "FP64": ("fp64_contents", "d"), "INT64": ("int64_contents", "q"),
    "INT32": ("int_contents", "i"), "UINT8": ("uint_contents", "B"), "BOOL": ("bool_contents", "?"),
    "UINT64": ("uint64_contents", "Q"), "BYTES": ("bytes_contents", ""), "FP16": ("fp32_contents", "e"),
    "BF16": ("fp32_contents", "H"), "INT16": ("int_contents", "h"), "": ("fp64_contents", "d"),
}  # fmt: skip
#: The number of TensorFlow's datatype, the field with its values and the `struct` code of its content,
#: by the name in the Open Inference Protocol.
_TENSORS = {
    "FP32": (1, "float_val", "f"), "FP64": (2, "double_val", "d"), "INT32": (3, "int_val", "i"),
    "INT64": (9, "int64_val", "q"), "UINT8": (4, "int_val", "B"), "BOOL": (10, "bool_val", "?"),
    "UINT64": (23, "uint64_val", "Q"), "BYTES": (7, "string_val", ""), "FP16": (19, "half_val", "e"),
    "BF16": (14, "half_val", "H"), "INT16": (5, "int_val", "h"), "": (22, "uint32_val", "I"),
}  # fmt: skip
_LABELS = ("cat", "dog", "", "1", "0.9:1:cat", "x" * 300, "\u00e9")
_ODD = (float("nan"), float("inf"), -0.0, 1e300, 2.0**53, 5e-324, 1.0, 0.5)
REWARDS = (
    0.0, 1.0, -1.0, 0.5, 0.1, -0.0, 0.73, 1e-7, 2.5e-6, -3.5e-6, 131072.25, 1e6, 1000000.06, 2e6,
    float("nan"), float("inf"), 1e-40, 524288.75,
)  # fmt: skip


class MessageForm(NamedTuple):
    """What the messages of a sender are like. ``odd`` is the part of values that are odd."""

    container: str
    row: str
    width: int
    datatype: str
    odd: float
    has_names: bool


def form(rng: random.Random) -> MessageForm:
    """A form of messages."""
    return MessageForm(
        rng.choice((*SELDON, *INFERENCE, *[TENSORFLOW, BINARY] * 2)),
        rng.choice(("scores", "any", "probability", "integer", "text", "boolean", "bits")),
        rng.choice((2, 3, 3, 17)),
        rng.choice(list(_DATATYPES)),
        rng.choice((0, 0, 0, 0.02, 0.3)),
        rng.random() < 0.4,
    )


def _numbers(rng: random.Random, form: MessageForm) -> list[float]:
    """The values of a row."""
    if form.row == "scores":
        parts = [rng.expovariate(1) for _ in range(form.width)]
        found = [part / sum(parts) for part in parts]
    elif form.row == "any":
        found = [rng.gauss(0, 30) for _ in range(form.width)]
    elif form.row == "bits":
        found = [float(rng.randrange(2)) for _ in range(form.width)]
    elif form.row == "probability":
        found = [rng.random()]
    else:
        found = [float(rng.randrange(-3, 20))]
    if rng.random() < form.odd:
        found[rng.randrange(len(found))] = rng.choice(_ODD)
    return found


def _text(rng: random.Random, form: MessageForm) -> str:
    return rng.choice(_LABELS if rng.random() < form.odd else _LABELS[:2])


def _row(rng: random.Random, form: MessageForm) -> Any:
    """A row as plain values."""
    if form.row == "text":
        return _text(rng, form)
    if form.row == "boolean":
        return rng.random() < 0.5
    if rng.random() < form.odd / 4:
        return rng.choice(
            ([], None, [None], {"a": 0.1, "b": 0.9}, [0.5, True], [["x"]], ["x", "y"])
        )
    found = _numbers(rng, form)
    return found[0] if len(found) == 1 and rng.random() < 0.5 else found


def _put(value: Any, plain: Any) -> None:
    """Give a ``Value`` of protobuf a plain value."""
    if plain is None:
        value.null_value = 0
    elif isinstance(plain, bool):
        value.bool_value = plain
    elif isinstance(plain, float):
        value.number_value = plain
    elif isinstance(plain, str):
        value.string_value = plain
    elif isinstance(plain, dict):
        value.struct_value.SetInParent()
        for name, one in plain.items():
            _put(value.struct_value.fields[name], one)
    else:
        value.list_value.SetInParent()
        for one in plain:
            _put(value.list_value.values.add(), one)


def seldon(rng: random.Random, form: MessageForm, rows: int) -> Any:
    """A `SeldonMessage`."""
    message = MESSAGES["SeldonMessage"]()
    if rng.random() < 0.1:
        message.status.status = int(rng.random() < 0.3)
    if form.has_names and form.container in ("tensor", "ndarray", "tftensor"):
        message.data.names.extend(f"n{at}" for at in range(form.width))
    if form.container == "str_data":
        message.str_data = _text(rng, form)
    elif form.container == "tftensor":
        _put_tensor(rng, message.data.tftensor, form, rows)
    elif form.container == "tensor":
        found = [_numbers(rng, form) for _ in range(rows)]
        width = len(found[0])
        shape = rng.choice(
            ([rows, width], [rows, 1, width], [rows] if width == 1 else [rows, width])
        )
        message.data.tensor.shape.extend([*shape, 0] if rng.random() < form.odd / 4 else shape)
        message.data.tensor.values.extend(value for row in found for value in row)
    elif form.container == "json_data" and rows == 1 and rng.random() < 0.5:
        _put(message.json_data, _row(rng, form))
    else:
        is_json = form.container == "json_data"
        listed = message.json_data.list_value if is_json else message.data.ndarray
        listed.SetInParent()
        for _ in range(rows):
            _put(listed.values.add(), _row(rng, form))
    return message


def feedback(rng: random.Random, form: MessageForm, rows: int) -> bytes:
    """A `Feedback`, in some with a request and a response, which are not described."""
    message = MESSAGES["Feedback"]()
    if rng.random() < 0.7:
        message.reward = rng.choice(REWARDS) if rng.random() < 0.7 else rng.gauss(0, 1)
    if rng.random() < 0.8:
        message.truth.CopyFrom(seldon(rng, form, rows))
    skipped = b"\x0a\x02\x22\x00\x12\x02\x2a\x00" if rng.random() < 0.3 else b""
    return skipped + bytes(message.SerializeToString())


def _values(
    rng: random.Random, form: MessageForm, datatype: str, rows: int
) -> tuple[list[Any], int]:
    """The values of an output, and how many a row has."""
    if datatype == "BYTES":
        return [_text(rng, form).encode() for _ in range(rows)], 1
    if datatype == "BOOL":
        return [rng.random() < 0.5 for _ in range(rows)], 1
    is_float = datatype in ("FP32", "FP64", "FP16", "BF16", "")
    found = [_numbers(rng, form) for _ in range(rows)]
    values: list[Any] = [value for row in found for value in row]
    if not is_float:
        values = [int(abs(value) * 100) % 101 if abs(value) < 1e6 else 3 for value in values]
        if datatype in ("INT64", "UINT64") and rng.random() < form.odd:
            values[0] = rng.choice((2**53, 2**53 - 1, 2**53 + 1))
    return values, len(found[0])


def _add(
    rng: random.Random, message: Any, name: str, form: MessageForm, datatype: str, rows: int
) -> None:
    """Add an output."""
    field, code = _DATATYPES[datatype]
    values, width = _values(rng, form, datatype, rows)
    output = message.outputs.add(name=name, datatype=datatype)
    shapes = [[rows, width]] if width > 1 else [[rows], [rows, 1], []]
    output.shape.extend(rng.choice(shapes) if rng.random() < 0.3 else shapes[0])
    if rng.random() < 0.1:
        parameter = output.parameters.add(key="content_type")
        parameter.value.string_param = rng.choice(("np", "str", "hg_json", "base64"))
    if form.container != "raw":
        output.contents.__getattribute__(field).extend(values)
    elif datatype == "BYTES":
        parts = [len(text).to_bytes(4, "little") + text for text in values]
        message.raw_output_contents.append(b"".join(parts))
    elif datatype == "BF16":
        packed = struct.pack(f"<{len(values)}d", *values)
        message.raw_output_contents.append(packed[: 2 * len(values)])
    else:
        if code == "e":
            values = [max(-6e4, min(6e4, value)) for value in values]
        if code == "f":
            values = [value if abs(value) < 1e38 else 0.0 for value in values]
        message.raw_output_contents.append(struct.pack(f"<{len(values)}{code}", *values))


def inference(rng: random.Random, form: MessageForm, rows: int) -> bytes:
    """A `ModelInferResponse`, which names its model in a field that is not described."""
    message = MESSAGES["ModelInferResponse"](id="1")
    if form.container == "pair":
        label = form._replace(row="integer")
        datatype = "BYTES" if form.datatype == "BYTES" else "INT64"
        _add(rng, message, rng.choice(("predict", "classes")), label, datatype, rows)
        _add(rng, message, "predict_proba", form._replace(row="scores"), "FP64", rows)
    else:
        _add(rng, message, "o", form, form.datatype, rows)
        if rng.random() < 0.2:
            _add(rng, message, "proba", form, form.datatype, rows)
    if rng.random() < form.odd / 8:
        message.raw_output_contents.append(b"\x00\x00\x80\x3f")
    return b"\x0a\x01m" + bytes(message.SerializeToString())


def _put_tensor(rng: random.Random, tensor: Any, form: MessageForm, rows: int) -> None:
    """Fill a ``TensorProto``: its values stand in a list, which may omit repetitions, or packed."""
    number, field, code = _TENSORS[form.datatype]
    datatype = form.datatype or "UINT64"
    values, width = _values(rng, form, datatype, rows)
    tensor.dtype = number
    shapes = [[rows, width]] if width > 1 else [[rows, 1], [rows]]
    for size in rng.choice(shapes):
        tensor.tensor_shape.dim.add(size=size)
    if rng.random() < form.odd / 4:
        del tensor.tensor_shape.dim[:]
    if datatype in ("FP16", "BF16"):
        packed = struct.pack(f"<{len(values)}e", *[max(-6e4, min(6e4, one)) for one in values])
        values = list(struct.unpack(f"<{len(values)}H", packed))
        code = "H"
    if datatype == "FP32":
        values = [one if abs(one) < 1e38 else 0.0 for one in values]
    if datatype == "UINT64" and not form.datatype:
        values = [one % 2**32 for one in values]
    if form.datatype == "BYTES" or rng.random() < 0.5:
        if len(values) > 1 and values[-1] == values[-2] and rng.random() < 0.5:
            del values[-1]
        getattr(tensor, field).extend(values)
        if rng.random() < form.odd / 8:
            tensor.double_val.append(0.5)
    else:
        tensor.tensor_content = struct.pack(f"<{len(values)}{code}", *values)


def tensorflow(rng: random.Random, form: MessageForm, rows: int) -> bytes:
    """A `PredictResponse`, with the name and version of its model in a field that is not described."""
    message = MESSAGES["PredictResponse"]()
    for name in ("proba", "classes")[: 1 + (rng.random() < 0.1)]:
        output = message.outputs.add(key=name)
        _put_tensor(rng, output.value, form, rows)
    return bytes(message.SerializeToString()) + b"\x12\x03\x0a\x01m"


def binary(rng: random.Random, form: MessageForm, rows: int) -> tuple[bytes, int]:
    """JSON that binary tensors follow, and the length of the JSON."""
    message = MESSAGES["ModelInferResponse"]()
    form = form._replace(container="raw", datatype=form.datatype or "FP64")
    _add(rng, message, rng.choice(("predict", "proba")), form, form.datatype, rows)
    if rng.random() < 0.3:
        scores = form._replace(row="scores")
        _add(rng, message, "predict_proba", scores, "FP64", rows)
    outputs, tail = [], b""
    for output, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        size: object = len(raw)
        if rng.random() < form.odd / 4:
            size = rng.choice((len(raw) + 1, 0, -1, float(len(raw)), str(len(raw)), True, None))
        parameters: dict[str, object] = {"binary_data_size": size}
        if output.parameters:
            parameters["content_type"] = output.parameters[0].value.string_param
        described = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        outputs.append({**described, "parameters": parameters})
        tail += raw
    head = json.dumps({"model_name": "m", "outputs": outputs, "id": "1"}).encode()
    if rng.random() < form.odd / 4:
        head = rng.choice((b" " + head, head + b"\n", head[:-1], head.replace(b"m", b"\xff")))
    return head + tail, len(head)
