"""Bodies of Seldon messages to rows and rewards (counting rules 3, 5, 7 and 10)."""

import json
import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, TypeVar

import msgspec

from processor.domain.counts import MICRO
from processor.domain.events import DeadLetter
from processor.domain.labels import INTEGER_LIMIT

#: More rows than this in one message would not fit in a record of the log.
MAX_ROWS = 20_000
MAX_NAMES = 1 << 20
MAX_REWARD = 1_000_000


class _Data(msgspec.Struct):
    """``data`` of a Seldon message; unknown keys are skipped by the parser."""

    names: Any = None
    ndarray: Any = None
    tensor: Any = None
    tftensor: Any = None


class _Message(msgspec.Struct, rename="camel"):
    data: _Data | None = None
    str_data: Any = None
    json_data: Any = msgspec.UNSET
    bin_data: Any = None


class _Feedback(msgspec.Struct):
    reward: Any = None
    truth: _Message | None = None


class Rows(msgspec.Struct, frozen=True):
    """Rows of a message, one per item, and the names of the columns where it has any."""

    rows: list[Any]
    names: tuple[str, ...] | None


class Judgement(msgspec.Struct, frozen=True):
    """What a feedback says: truth rows and a reward in millionths; either can be absent."""

    truth: Rows | None
    reward: int | None


T = TypeVar("T")
_message = msgspec.json.Decoder(_Message)
_feedback = msgspec.json.Decoder(_Feedback)


def read_response(body: bytes) -> Rows | DeadLetter:
    """Rows of a response; a body without any data is a dead letter."""
    message = _parse(_message, body)
    if isinstance(message, DeadLetter):
        return message
    rows = _rows(message)
    if rows is None:
        return DeadLetter("bad_shape", "the response has no ndarray, tensor, strData or jsonData")
    return rows


def read_feedback(body: bytes) -> Judgement | DeadLetter:
    """What a feedback says; neither truth nor reward is no error: it says nothing."""
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
        rows = _rows(feedback.truth)
        if isinstance(rows, DeadLetter):
            return rows
        truth = rows
    return Judgement(truth, reward)


def _parse(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T | DeadLetter:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # NaN and Infinity are no JSON, but Python models send them: the lenient parser reads them, and
    # numbers beyond 64 bits (1e999 is infinity to it).
    try:
        content = json.loads(body)
        # Half a character that JSON can escape and no text can hold.
        json.dumps(content, ensure_ascii=False).encode()
        return msgspec.convert(content, decoder.type)
    except msgspec.ValidationError as error:
        return DeadLetter("bad_shape", str(error))
    except (ValueError, RecursionError) as error:
        return DeadLetter("bad_json", str(error)[:200])


def _rows(message: _Message) -> Rows | DeadLetter | None:
    """None where the message has no data at all."""
    data = message.data
    if (
        data is not None
        and type(data.ndarray) is list
        and data.tensor is None
        and data.tftensor is None
        and message.str_data is None
        and message.json_data is msgspec.UNSET
        and message.bin_data is None
    ):
        return _checked(data.ndarray, data.names)
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
    if message.bin_data is not None:
        found.append(("binData", message.bin_data))
    if not found:
        return None
    if len(found) > 1:
        return DeadLetter("two_containers", f"data in both {found[0][0]} and {found[1][0]}")
    container, value = found[0]
    names = data.names if data is not None else None
    if container == "ndarray":
        return DeadLetter("bad_shape", "ndarray is not a list")
    if container == "tensor":
        return _tensor(value, names)
    if container == "tftensor":
        return DeadLetter("bad_shape", "tftensor can't be read")
    if container == "strData" and not isinstance(value, str):
        return DeadLetter("bad_shape", "strData is not a string")
    if container == "jsonData" and type(value) is list:
        return _checked(value, names)
    # An object, null or bytes: one item without a label.
    return Rows([None if container == "binData" else value], None)


def _tensor(tensor: object, names: object) -> Rows | DeadLetter:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    values = tensor.get("values") if isinstance(tensor, dict) else None
    if not (
        isinstance(shape, list)
        and shape
        and all(type(size) is int and size >= 0 for size in shape)
        and isinstance(values, list)
    ):
        return DeadLetter("bad_shape", "tensor needs shape and values, both lists")
    if math.prod(shape) != len(values):
        return DeadLetter("bad_shape", f"tensor of shape {shape} has {len(values)} values")
    # Protobuf's JSON writes these as strings.
    values = [_SPECIAL.get(v, v) if type(v) is str else v for v in values]
    return _checked(_reshape(values, shape[1:]), names)


def _reshape(values: list[Any], sizes: list[int]) -> list[Any]:
    """Nested lists of a flat one; ``sizes`` are those of the dimensions after the first.

    >>> _reshape([1, 2, 3, 4], [1, 2])
    [[[1, 2]], [[3, 4]]]
    """
    for size in reversed(sizes):
        values = [values[i : i + size] for i in range(0, len(values), size)] if size else []
    return values


_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _checked(rows: list[Any], names: object) -> Rows | DeadLetter:
    if not rows:
        return DeadLetter("bad_shape", "no rows")
    if len(rows) > MAX_ROWS:
        return DeadLetter("too_large", f"{len(rows)} rows, {MAX_ROWS} are the most")
    if not names:
        return Rows(rows, None)
    if type(names) is not list or {*map(type, names)} != {str}:
        return DeadLetter("bad_shape", "names is not a list of strings")
    if len(names) > MAX_ROWS or sum(map(len, names)) > MAX_NAMES:
        return DeadLetter("too_large", f"names of more than {MAX_NAMES} characters")
    return Rows(rows, tuple(names))


def micros(reward: object) -> int | None:
    """A reward in millionths, half to even; None if it is none (counting rule 7).

    >>> micros(True), micros(0.73), micros(0.0000025), micros("1"), micros(float("nan"))
    (1000000, 730000, 2, None, None)
    """
    if isinstance(reward, bool | int):
        return int(reward) * MICRO if abs(reward) <= MAX_REWARD else None
    if not isinstance(reward, float) or not abs(reward) <= MAX_REWARD:
        return None
    if reward.is_integer() and abs(reward) < INTEGER_LIMIT:
        return int(reward) * MICRO
    return int((Decimal(repr(reward)) * MICRO).to_integral_value(ROUND_HALF_EVEN))
