"""Tensors of the Open Inference Protocol and TensorFlow, as JSON or bytes, to rows."""

import base64
import binascii
import struct
from collections.abc import Callable, Sequence
from typing import Any

from processor.domain.events.payloads.rows import (
    UNREADABLE,
    PayloadRows,
    checked,
    shaped,
    size_of,
)
from processor.domain.events.payloads.texts import text_of
from processor.domain.events.raw_event import DeadLetter

#: The `struct` codes of the datatypes, whose bytes are little-endian.
_CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b",
    "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
    "BF16": "H",
}  # fmt: skip
#: TensorFlow's numbers and names of these datatypes.
_TENSORFLOW = {
    1: ("DT_FLOAT", "FP32"), 2: ("DT_DOUBLE", "FP64"), 3: ("DT_INT32", "INT32"),
    4: ("DT_UINT8", "UINT8"), 5: ("DT_INT16", "INT16"), 6: ("DT_INT8", "INT8"),
    9: ("DT_INT64", "INT64"), 10: ("DT_BOOL", "BOOL"),
    14: ("DT_BFLOAT16", "BF16"), 17: ("DT_UINT16", "UINT16"),
    19: ("DT_HALF", "FP16"), 22: ("DT_UINT32", "UINT32"), 23: ("DT_UINT64", "UINT64"),
}  # fmt: skip
_DATATYPES: dict[object, str] = {
    key: name for number, (text, name) in _TENSORFLOW.items() for key in (number, text)
}
#: The most values of a TensorProto, which may give its last value once for all that follow.
_MAX_VALUES = 1 << 20


def choose(names: Sequence[str], wanted: str | None, is_truth: bool) -> int | None:
    """Return the position of the output that counts: the one that the models file names, or the first
    without such a name, as in the request logger.

    None if a response lacks the named output; a truth may name its only output freely.

    >>> choose(["label", "proba"], "proba", False), choose(["label", "proba"], None, False)
    (1, 0)
    """
    if wanted is None:
        return 0
    if wanted in names:
        return names.index(wanted)
    return 0 if is_truth else None


def unscorable(shape: Any) -> PayloadRows | DeadLetter:
    """Return as many rows without a label as a tensor of this shape has."""
    if not shape and isinstance(shape, list | None):
        shape = [1]
    if size_of(shape) is None:
        return DeadLetter("bad_shape", "a tensor's shape is a list of sizes, one at least")
    return checked([UNREADABLE] * min(shape[0], _MAX_VALUES))


def from_bytes(datatype: str, shape: Any, raw: bytes) -> PayloadRows | DeadLetter:
    """Return the rows of a tensor of this shape in the binary form of the Open Inference Protocol."""
    values = unpack(datatype, shape, raw)
    return values if isinstance(values, DeadLetter) else shaped(shape, values)


def unpack(datatype: str, shape: Any, raw: bytes) -> list[Any] | DeadLetter:
    """Return the values of a tensor in the binary form, flat; without a shape all that there are."""
    if datatype == "BYTES":
        texts = _texts(raw)
        return (
            DeadLetter("bad_shape", "an output of BYTES is cut short") if texts is None else texts
        )
    code = _CODES.get(datatype)
    if code is None:
        return DeadLetter("bad_shape", f"an output of datatype {datatype[:40]!r} can't be read")
    width = struct.calcsize(code)
    size = len(raw) // width if shape is None or shape == [] else size_of(shape)
    if size is None:
        return DeadLetter("bad_shape", "an output's shape is a list of sizes, one at least")
    if width * size != len(raw):
        return DeadLetter("bad_shape", f"{len(raw)} bytes are no {datatype} of shape {shape}")
    values = list(struct.unpack(f"<{size}{code}", raw))
    return [bfloat16(bits) for bits in values] if datatype == "BF16" else values


def _texts(raw: bytes) -> list[Any] | None:
    """Return the strings of a BYTES tensor, each of which follows its length in four bytes."""
    texts: list[Any] = []
    at = 0
    while at < len(raw):
        start = at + 4
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            return None
        texts.append(text_of(raw[start:at]))
    return texts


def tensor_proto(
    dtype: object, shape: list[int], content: bytes, values: list[Any], names: object = None
) -> PayloadRows | DeadLetter:
    """Return the rows of a TensorProto.

    Its values are packed in ``content``, or in a list that may omit repetitions of its last value;
    ``dtype`` is the number or the name of the datatype.
    """
    if content:
        if dtype not in _DATATYPES:
            return DeadLetter(
                "bad_shape", f"tensor_content of dtype {str(dtype)[:40]} can't be read"
            )
        rows = from_bytes(_DATATYPES[dtype], shape, content)
        return checked(rows.rows, names) if isinstance(rows, PayloadRows) else rows
    size = size_of(shape)
    if size is not None and len(values) < size and values:
        if size > _MAX_VALUES:
            return DeadLetter("too_large", f"tensor of {size} values, {_MAX_VALUES} are the most")
        values = values + values[-1:] * (size - len(values))
    return shaped(shape, values, names)


#: The fields with the values of a TensorProto in JSON, where 64-bit integers are strings.
_VALUES = (
    "floatVal", "doubleVal", "intVal", "int64Val", "boolVal", "uint32Val", "uint64Val", "stringVal",
    "halfVal",
)  # fmt: skip


def read_tensor_proto(tensor: object, names: object) -> PayloadRows | DeadLetter:
    """Return the rows of a TensorProto in protobuf's JSON form, in either spelling of its fields."""
    if not isinstance(tensor, dict):
        return DeadLetter("bad_shape", "tftensor is no object")
    fields = {_camel(name): value for name, value in tensor.items()}
    try:
        dims = fields.get("tensorShape", {}).get("dim", [])
        shape = [int(dim["size"]) for dim in dims]
        content = base64.b64decode(fields.get("tensorContent") or "", validate=True)
        found = [(name, fields[name]) for name in _VALUES if fields.get(name)]
        dtype = fields.get("dtype")
        values = [_value(name, value, dtype) for name, listed in found[:1] for value in listed]
        if not isinstance(dtype, int | str):
            raise ValueError("it has no dtype")
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        binascii.Error,
    ) as error:
        return DeadLetter("bad_shape", f"tftensor: {str(error)[:200]}")
    # Without dimensions it is a scalar, which is one row.
    return tensor_proto(dtype, shape or [1], content, values, names)


def half(bits: int) -> float:
    """Return the 16-bit float whose bits were sent as an integer."""
    value: float = struct.unpack("<e", struct.pack("<H", bits & 0xFFFF))[0]
    return value


def bfloat16(bits: int) -> float:
    """Return the bfloat16, the upper half of a 32-bit float, whose bits were sent as an integer.

    >>> bfloat16(0x3E80), bfloat16(0x3F40)
    (0.25, 0.75)
    """
    value: float = struct.unpack("<f", struct.pack("<I", (bits & 0xFFFF) << 16))[0]
    return value


def halves(dtype: object) -> Callable[[int], float]:
    """Return what reads the 16-bit floats of a TensorProto's datatype."""
    return bfloat16 if _DATATYPES.get(dtype) == "BF16" else half


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _value(name: str, value: Any, dtype: object) -> Any:
    if name == "stringVal":
        return text_of(base64.b64decode(value, validate=True))
    if name == "halfVal":
        return halves(dtype)(int(value))
    if isinstance(value, str):
        return float(value) if name in ("floatVal", "doubleVal") else int(value)
    return value
