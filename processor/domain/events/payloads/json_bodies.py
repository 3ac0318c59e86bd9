"""JSON bodies of Seldon, TensorFlow and the Open Inference Protocol to rows and rewards (counting
rules 3, 5, 7 and 10)."""

import json
import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TypeVar

import msgspec

from processor.domain.events.attributes import FAILED
from processor.domain.events.payloads.columns import are_columns, read_columns
from processor.domain.events.payloads.forms import (
    Choice,
    are_pairs,
    read_forms,
    read_pairs,
)
from processor.domain.events.payloads.inference import Output, read_outputs
from processor.domain.events.payloads.rows import UNREADABLE, PayloadRows, checked, shaped
from processor.domain.events.payloads.tensors import read_tensor_proto
from processor.domain.events.payloads.whole_bodies import is_failure, uncounted
from processor.domain.events.raw_event import DeadLetter, Uncounted
from processor.domain.statistics.counts import MICRO
from processor.domain.type_errors import type_error
from processor.domain.values import INTEGER_LIMIT

MAX_REWARD = 1_000_000
_NUMBERS = frozenset((int, float))
#: A number as a text, which is a number as JSON writes it, or with a plus sign or a bare point.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?")
_MILLIONTH = Decimal("0.000001")


class _Data(msgspec.Struct):
    """The member ``data`` of a Seldon message."""

    names: Any = None
    ndarray: Any = None
    tensor: Any = None
    tftensor: Any = None


class _Message(msgspec.Struct):
    """A message of any protocol: ``data`` to ``customData`` are Seldon's, ``outputs`` and ``parameters``
    the Open Inference Protocol's, the others TensorFlow's, whose ``outputs`` are by column. The native
    extension skips a member that its ``message`` does not name, so it has to name each of these."""

    data: _Data | None = None
    str_data: Any = msgspec.field(default=None, name="strData")
    json_data: Any = msgspec.field(default=msgspec.UNSET, name="jsonData")
    bin_data: Any = msgspec.field(default=None, name="binData")
    custom_data: Any = msgspec.field(default=None, name="customData")
    outputs: Any = None
    predictions: Any = None
    result: Any = None
    results: Any = None
    parameters: Any = None
    status: Any = None


class _Feedback(msgspec.Struct):
    """A feedback of Seldon's form; the truth may also be one value, or a list of one value a row."""

    reward: Any = None
    truth: _Message | list[Any] | str | int | float | bool | None = None


class Judgement(msgspec.Struct, frozen=True):
    """The content of a feedback: truth rows and a reward in millionths; either can be None."""

    truth: PayloadRows | None
    reward: int | None


T = TypeVar("T")
_message = msgspec.json.Decoder(_Message)
_feedback = msgspec.json.Decoder(_Feedback)


def read_response(
    body: bytes, choice: Choice | None, binary: bytes = b""
) -> PayloadRows | DeadLetter | Uncounted:
    """Return the rows of a response; a body without any data is a dead letter, unless it is an error or
    an explanation (counting rule 23).

    ``choice`` is what the models file says of the answer. Without one the first of several outputs
    counts, and its rows stay as they are written. ``binary`` is the data after the JSON in the binary
    form of the Open Inference Protocol.
    """
    message = _parse(_message, body)
    if isinstance(message, DeadLetter):
        return message if message.reason == "bad_json" else uncounted(body) or message
    if binary and not _is_inference(message.outputs):
        return DeadLetter("bad_json", f"{len(binary)} bytes after the JSON, which tells of none")
    if message.status is not None and is_failure(message.status):
        return Uncounted(FAILED)
    rows = _rows(message, choice, binary, False)
    if rows is None:
        rows = DeadLetter(
            "bad_shape",
            "the response has no ndarray, tensor, strData, jsonData, predictions or outputs",
        )
    return rows if isinstance(rows, PayloadRows) else uncounted(body) or rows


def read_feedback(body: bytes, choice: Choice | None) -> Judgement | DeadLetter:
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
        rows = _truth(feedback.truth, choice)
        if isinstance(rows, DeadLetter):
            return rows
        truth = rows
    return Judgement(truth, reward)


def _truth(
    truth: _Message | list[Any] | str | float, choice: Choice | None
) -> PayloadRows | DeadLetter | None:
    """Return the rows of a truth: those of a message, of a list, or the one that a plain value is."""
    if isinstance(truth, _Message):
        return _rows(truth, choice, b"", True)
    return read_forms(truth if isinstance(truth, list) else [truth], choice, True)


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
        return DeadLetter("bad_shape", type_error(error))
    except (ValueError, RecursionError) as error:
        return DeadLetter("bad_json", str(error)[:200])


def _rows(
    message: _Message, choice: Choice | None, binary: bytes, is_truth: bool
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
        rows, names = data.ndarray, data.names
        if len(rows) == 1:
            # The common case: a row of numbers or a text, which carries no other value.
            row = rows[0]
            if (type(row) is list and row and type(row[0]) in _NUMBERS) or (
                type(row) is str and ":" not in row
            ):
                return checked(rows, names) if names else PayloadRows(rows, None)
        return read_forms(rows, choice, is_truth, names)
    found = _containers(message)
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
            found_rows = read_tensor_proto(value, names)
            if isinstance(found_rows, DeadLetter):
                return found_rows
            return read_forms(found_rows.rows, choice, is_truth, names)
        case "outputs" if _is_inference(value):
            return _outputs(value, message.parameters, choice, binary, is_truth)
        case "outputs" if type(value) is dict and "b64" not in value:
            return read_columns(value, choice, is_truth)
        case "predictions" if are_columns(value):
            return read_columns(value, choice, is_truth)
        case "result" | "results" if choice is not None:
            value = [read_pairs(row) if are_pairs(row) else row for row in value]
        case "strData" if not isinstance(value, str):
            return DeadLetter("bad_shape", "strData is not a string")
        case "binData" | "customData":
            # Bytes in the caller's own format: one item without a label.
            value = UNREADABLE if choice is not None else None
    is_rows = type(value) is list and container != "strData"
    return read_forms(value if is_rows else [value], choice, is_truth)


def _containers(message: _Message) -> list[tuple[str, Any]]:
    """Return the members of a message that are its data, with their names."""
    data = message.data
    found: list[tuple[str, Any]] = []
    if data is not None:
        found = [("ndarray", data.ndarray), ("tensor", data.tensor), ("tftensor", data.tftensor)]
    found.append(("strData", message.str_data))
    found = [one for one in found if one[1] is not None]
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
    if found:
        return found
    # Names that senders use for other things too, so they are data only where there is no other.
    others = ("result", message.result), ("results", message.results)
    return [(name, value) for name, value in others if type(value) is list][:1]


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
    outputs: list[dict[str, Any]],
    parameters: object,
    choice: Choice | None,
    binary: bytes,
    is_truth: bool,
) -> PayloadRows | DeadLetter:
    """Return the rows of the outputs of an answer with these parameters."""
    content_type = parameters.get("content_type") if type(parameters) is dict else None
    found, at = [], 0
    for one in outputs:
        own, data = one.get("parameters"), one.get("data")
        marked = content_type
        if type(own) is dict:
            size = own.get("binary_data_size")
            if type(size) is int and size > 0:
                data = binary[at : at + size]
                at += size
            marked = own.get("content_type") or content_type
        shape = one.get("shape")
        found.append(Output(str(one.get("name")), str(one["datatype"]), shape, marked, data))
    if at != len(binary):
        return DeadLetter(
            "bad_shape", f"{len(binary)} bytes of binary data, the outputs tell of {at}"
        )
    return read_outputs(found, choice, is_truth)


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
