"""Splitting JSON text without parsing its values, NaN and Infinity included: no digit is lost."""

import json
import re

import msgspec

from processor.domain.type_errors import type_error

_SPACE = re.compile(r"[ \t\r\n]*")
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_dict = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_lenient = json.JSONDecoder(parse_int=len, parse_float=len)  # only the extent matters


def is_json_type(content_type: str) -> bool:
    """Return whether a body of this content type is JSON; an empty content type counts as JSON.

    >>> is_json_type("application/cloudevents+json; charset=UTF-8"), is_json_type("text/plain")
    (True, False)
    """
    media_type = content_type.partition(";")[0].strip().lower()
    return not media_type or media_type.endswith(("/json", "+json"))


def elements(text: bytes) -> list[bytes]:
    """Return the elements of an array as they were written; ValueError if the text is not an array.

    >>> elements(b'[1.50, {"a": NaN}]')
    [b'1.50', b'{"a": NaN}']
    """
    try:
        return [bytes(raw) for raw in _decode_list(text)]
    except msgspec.ValidationError as error:
        raise ValueError(type_error(error)) from None
    except msgspec.DecodeError:
        # Python models send NaN and Infinity, which are not JSON.
        return [value for _, value in _split(text, "[]")]
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of an object, values as they were written; the last of equal names counts.

    ValueError if the text is not a JSON object.

    >>> members(b'{"a": [NaN], "b": 1.0}')
    {'a': b'[NaN]', 'b': b'1.0'}
    """
    try:
        return {name: bytes(raw) for name, raw in _decode_dict(text).items()}
    except msgspec.ValidationError as error:
        raise ValueError(type_error(error)) from None
    except msgspec.DecodeError:
        return dict(_split(text, "{}"))
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None


def first(text: bytes) -> tuple[bytes, bytes]:
    """Return the first JSON value and the bytes after it, which need not be text.

    ValueError if the bytes do not start with a JSON value.

    >>> first(b'{"a": 1}\\xff')
    (b'{"a": 1}', b'\\xff')
    """
    # Byte for byte: the tokens of JSON are ASCII, and other characters only stand in strings.
    _, end = _value(text.decode("latin-1"), 0)
    return text[:end], text[end:]


def _split(data: bytes, brackets: str) -> list[tuple[str, bytes]]:
    """Return the (name, value) pairs of an object, or those of an array with empty names."""
    text = data.decode()
    first, last = brackets[0], brackets[1]
    parts: list[tuple[str, bytes]] = []
    at = _token(text, 0, first)
    closed = text[at : at + 1] == last
    while not closed:
        name = ""
        if first == "{":
            key, at = _value(text, at)
            if not isinstance(key, str):
                raise ValueError(f"JSON has a name that is no string before character {at}")
            name, at = key, _token(text, at, ":")
        start = at
        _, end = _value(text, start)
        parts.append((name, text[start:end].encode()))
        at = _skip(text, end)
        closed = text[at : at + 1] == last
        at = at if closed else _token(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise ValueError(f"JSON goes on after its end at character {at + 1}")
    return parts


def _value(text: str, at: int) -> tuple[object, int]:
    try:
        return _lenient.raw_decode(text, at)
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None


def _token(text: str, at: int, token: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != token:
        raise ValueError(f"JSON lacks {token!r} at character {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
