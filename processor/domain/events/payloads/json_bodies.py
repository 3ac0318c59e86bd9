"""JSON bodies of Seldon, TensorFlow and the Open Inference Protocol to rows and rewards (counting
rules 3, 5, 7 and 10)."""

import base64
import binascii
import json
import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TypeVar

import msgspec

from processor.domain.events.attributes import FAILED
from processor.domain.events.payloads.rows import PayloadRows, checked, shaped
from processor.domain.events.payloads.tensors import (
    choose,
    from_bytes,
    read_tensor_proto,
    shaped_or_nested,
    text_of,
    unscorable,
)
from processor.domain.events.payloads.whole_bodies import is_failure, uncounted
from processor.domain.events.raw_event import DeadLetter, Uncounted
from processor.domain.statistics.counts import MICRO
from processor.domain.values import INTEGER_LIMIT

MAX_REWARD = 1_000_000
#: A number as a text, which is a number as JSON writes it, or with a plus sign or a bare point.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?")
_MILLIONTH = Decimal("0.000001")


class _Data(msgspec.Struct):
    """The member ``data`` of a Seldon message; a list of names must be a list of strings."""

    names: list[str] | str | int | float | bool | dict[str, Any] | None = None
    ndarray: Any = None
    tensor: Any = None
    tftensor: Any = None


class _Message(msgspec.Struct):
    """A message of any protocol: ``data`` to ``customData`` are Seldon's, ``outputs`` the Open
    Inference Protocol's, ``predictions`` TensorFlow's, whose ``outputs`` are by column."""

    data: _Data | None = None
    str_data: Any = msgspec.field(default=None, name="strData")
    json_data: Any = msgspec.field(default=msgspec.UNSET, name="jsonData")
    bin_data: Any = msgspec.field(default=None, name="binData")
    custom_data: Any = msgspec.field(default=None, name="customData")
    outputs: Any = None
    predictions: Any = None
    status: Any = None


class _Feedback(msgspec.Struct):
    reward: Any = None
    truth: _Message | None = None


class Judgement(msgspec.Struct, frozen=True):
    """The content of a feedback: truth rows and a reward in millionths; either can be None."""

    truth: PayloadRows | None
    reward: int | None


T = TypeVar("T")
_message = msgspec.json.Decoder(_Message)
_feedback = msgspec.json.Decoder(_Feedback)


def read_response(
    body: bytes, output: str | None = None, binary: bytes = b""
) -> PayloadRows | DeadLetter | Uncounted:
    """Return the rows of a response; a body without any data is a dead letter, unless it is an error or
    an explanation (counting rule 23).

    ``output`` names the one of several outputs that counts; ``binary`` is the data after the JSON in
    the binary form of the Open Inference Protocol.
    """
    message = _parse(_message, body)
    if isinstance(message, DeadLetter):
        return message if message.reason == "bad_json" else uncounted(body) or message
    if binary and not _is_inference(message.outputs):
        return DeadLetter("bad_json", f"{len(binary)} bytes after the JSON, which tells of none")
    if message.status is not None and is_failure(message.status):
        return Uncounted(FAILED)
    rows = _rows(message, output, binary, False)
    if rows is None:
        rows = DeadLetter(
            "bad_shape",
            "the response has no ndarray, tensor, strData, jsonData, predictions or outputs",
        )
    return rows if isinstance(rows, PayloadRows) else uncounted(body) or rows


def read_feedback(body: bytes, output: str | None = None) -> Judgement | DeadLetter:
    """Return the truth and the reward of a feedback; a feedback with neither is valid."""
    feedback = _parse(_feedback, body)
    if isinstance(feedback, DeadLetter):
        return feedback
    reward = None
    if feedback.reward is not None:
        reward = micros(feedback.reward)
        if reward is None:
            return DeadLetter(
                "bad_reward", f"reward {str(feedback.reward)[:80]!r} is no number up to 1e6"
            )
    truth = None
    if feedback.truth is not None:
        rows = _rows(feedback.truth, output, b"", True)
        if isinstance(rows, DeadLetter):
            return rows
        truth = rows
    return Judgement(truth, reward)


def _parse(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T | DeadLetter:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # NaN and Infinity are not JSON, but Python models send them: the lenient parser reads them, and
    # numbers beyond 64 bits (1e999 becomes infinity).
    try:
        content = json.loads(body)
        # JSON can escape half of a character, which is not valid text.
        json.dumps(content, ensure_ascii=False).encode()
        found: T = msgspec.convert(content, decoder.type)
        return found
    except msgspec.ValidationError as error:
        return DeadLetter("bad_shape", str(error))
    except (ValueError, RecursionError) as error:
        return DeadLetter("bad_json", str(error)[:200])


def _rows(
    message: _Message, output: str | None, binary: bytes, is_truth: bool
) -> PayloadRows | DeadLetter | None:
    """Return the rows of a message, None if it has no data at all."""
    data = message.data
    if (
        data is not None
        and type(data.ndarray) is list
        and data.tensor is None
        and data.tftensor is None
        and message.str_data is None
        and message.json_data is msgspec.UNSET
        and message.bin_data is None
        and message.custom_data is None
        and message.outputs is None
        and message.predictions is None
    ):
        return checked(data.ndarray, data.names)
    found: list[tuple[str, Any]] = []
    if data is not None:
        found = [
            (name, value)
            for name in ("ndarray", "tensor", "tftensor")
            if (value := getattr(data, name)) is not None
        ]
    if message.str_data is not None:
        found.append(("strData", message.str_data))
    if message.json_data is not msgspec.UNSET:
        found.append(("jsonData", message.json_data))
    found += [
        (name, value)
        for name, value in (
            ("binData", message.bin_data),
            ("customData", message.custom_data),
            ("outputs", message.outputs),
            ("predictions", message.predictions),
        )
        if value is not None
    ]
    if not found:
        return None
    if len(found) > 1:
        return DeadLetter("two_containers", f"data in both {found[0][0]} and {found[1][0]}")
    container, value = found[0]
    names = data.names if data is not None else None
    match container:
        case "ndarray":
            return DeadLetter("bad_shape", "ndarray is not a list")
        case "tensor":
            return _tensor(value, names)
        case "tftensor":
            return read_tensor_proto(value, names)
        case "outputs" if _is_inference(value):
            return _outputs(value, output, binary, is_truth)
        case "outputs" | "predictions":
            return _tensorflow(value, output, is_truth)
        case "strData" if not isinstance(value, str):
            return DeadLetter("bad_shape", "strData is not a string")
        case "jsonData" if type(value) is list:
            return checked(value)
        case "binData" | "customData":
            # Bytes in the caller's own format: one item without a label.
            return PayloadRows([None], None)
    # A scalar, or an object or null, which has no label.
    return PayloadRows([value], None)


def _tensor(tensor: object, names: object) -> PayloadRows | DeadLetter:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    values = tensor.get("values") if isinstance(tensor, dict) else None
    if not isinstance(shape, list) or not isinstance(values, list):
        return DeadLetter("bad_shape", "tensor needs shape and values, both lists")
    # The JSON form of protobuf writes NaN and infinity as strings.
    values = [_SPECIAL.get(v, v) if type(v) is str else v for v in values]
    return shaped(shape, values, names)


_SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def _is_inference(outputs: object) -> bool:
    """Return whether outputs are the Open Inference Protocol's, not columns of TensorFlow's."""
    return (
        type(outputs) is list
        and bool(outputs)
        and all(type(one) is dict and "datatype" in one for one in outputs)
    )


def _outputs(
    outputs: list[dict[str, Any]], wanted: str | None, binary: bytes, is_truth: bool
) -> PayloadRows | DeadLetter:
    """Return the rows of the output that counts."""
    sizes = [_binary_size(one) for one in outputs]
    if sum(sizes) != len(binary):
        return DeadLetter(
            "bad_shape", f"{len(binary)} bytes of binary data, the outputs tell of {sum(sizes)}"
        )
    position = choose([str(one.get("name")) for one in outputs], wanted, is_truth)
    if position is None:
        return unscorable(outputs[0].get("shape"))
    chosen = outputs[position]
    if sizes[position]:
        start = sum(sizes[:position])
        raw = binary[start : start + sizes[position]]
        return from_bytes(str(chosen["datatype"]), chosen.get("shape"), raw)
    data = chosen.get("data")
    if type(data) is not list:
        return DeadLetter("bad_shape", "the data of an output is no list")
    return shaped_or_nested(chosen.get("shape"), data)


def _binary_size(output: dict[str, Any]) -> int:
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    return size if type(size) is int and size > 0 else 0


def _tensorflow(value: object, wanted: str | None, is_truth: bool) -> PayloadRows | DeadLetter:
    """Return the rows of ``predictions`` (by row) or ``outputs`` (by column).

    Several outputs are an object in each row, or an object of columns.
    """
    if type(value) is dict and "b64" not in value:
        names = list(value)
        position = choose(names, wanted, is_truth) if names else None
        column = value[names[position or 0]] if names else None
        if type(column) is not list:
            return PayloadRows([column if position is not None else None], None)
        return checked(column if position is not None else [None] * len(column))
    rows = value if type(value) is list else [value]
    if not any(type(row) is dict for row in rows):
        return checked(rows)
    return checked([_row(row, wanted, is_truth) for row in rows])


def _row(row: object, wanted: str | None, is_truth: bool) -> object:
    if type(row) is not dict:
        return row
    if row.keys() != {"b64"}:
        position = choose(list(row), wanted, is_truth) if row else None
        if position is None:
            return None
        row = row[list(row)[position]]
    if type(row) is dict and row.keys() == {"b64"} and isinstance(row["b64"], str):
        try:
            return text_of(base64.b64decode(row["b64"], validate=True))
        except (binascii.Error, ValueError):
            return None
    return row


def micros(reward: object) -> int | None:
    """Return a reward in millionths, rounded half to even; None if it is invalid (counting rule 7).

    >>> micros(True), micros(0.73), micros(0.0000025), micros("0.9"), micros(float("nan"))
    (1000000, 730000, 2, 900000, None)
    """
    if isinstance(reward, str):
        # The JSON form of protobuf, and some senders, write numbers as texts.
        number = Decimal(reward) if _NUMBER.fullmatch(reward) else None
        if number is None or not -MAX_REWARD <= number <= MAX_REWARD:
            return None
        # Rounded once, from the exact value: a product is rounded to the precision of the context.
        return int(number.quantize(_MILLIONTH, ROUND_HALF_EVEN).scaleb(6))
    if isinstance(reward, bool | int):
        return int(reward) * MICRO if abs(reward) <= MAX_REWARD else None
    if not isinstance(reward, float) or not abs(reward) <= MAX_REWARD:
        return None
    if reward.is_integer() and abs(reward) < INTEGER_LIMIT:
        return int(reward) * MICRO
    return int((Decimal(repr(reward)) * MICRO).to_integral_value(ROUND_HALF_EVEN))
