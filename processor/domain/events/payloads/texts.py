"""Values that are written as text: JSON, base64, and the text of a Python dict of numbers."""

import base64
import binascii
import json
import re
from typing import Any

import msgspec

from processor.domain.events.payloads.rows import UNREADABLE, label_text

#: Longer texts are not looked into; the classes and scores of the largest models are far shorter.
_MAX_CHARACTERS = 1 << 20
#: The values of ``content_type`` whose texts are JSON, whatever they hold.
JSON_TYPES = frozenset({"hg_json", "hg_jsonlist", "hg_conversation", "pd_json"})

_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+|inf|nan)"
#: One entry of the text of a dict: a number or a text without an escape, and a number.
_ENTRY = re.compile(
    rf"""\s*(?:(-?[0-9]{{1,40}}(?:\.[0-9]+)?)|'([^'\\]*)'|"([^"\\]*)")\s*:\s*({_NUMBER})\s*([,}}])"""
)


def object_of(text: str) -> dict[Any, Any] | None:
    """Return the object that a text holds, as JSON or as the text of a Python dict with numbers as
    values; None for any other text.

    >>> object_of('{"label": "cat"}'), object_of("{0: 0.25, 'b': 1e-05}"), object_of("a: b")
    ({'label': 'cat'}, {'0': 0.25, 'b': 1e-05}, None)
    """
    text = text.strip()
    if text[:1] != "{" or text[-1:] != "}" or len(text) > _MAX_CHARACTERS:
        return None
    try:
        found = _json(text)
    except ValueError:
        return _dict(text)
    return found if type(found) is dict else None


def value_of(text: str) -> Any:
    """Return the JSON value of a text that is marked as JSON; a text that is none stays a text."""
    try:
        return _json(text) if len(text) <= _MAX_CHARACTERS else UNREADABLE
    except ValueError:
        return text


def _json(text: str) -> Any:
    """Return the value of JSON, which may have NaN and infinity as Python writes them."""
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("too deep") from None
    except (msgspec.DecodeError, UnicodeError):
        pass
    try:
        found = json.loads(text)
        # JSON can escape half of a character, which is not valid text.
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("too deep") from None
    return found


def _dict(text: str) -> dict[str, float] | None:
    found: dict[str, float] = {}
    at = 1
    while entry := _ENTRY.match(text, at):
        number, single, double, value, end = entry.groups()
        key = (double if single is None else single) or ""
        if number:
            key = label_text(float(number) if "." in number else int(number)) or ""
        if key in found:
            return None
        found[key] = float(value)
        at = entry.end()
        if end == "}":
            return found if at == len(text) else None
    return None


def from_base64(text: object) -> Any:
    """Return the text that was sent as base64; `UNREADABLE` if it is none.

    >>> from_base64("Y2F0"), from_base64("?")
    ('cat', ())
    """
    if not isinstance(text, str):
        return UNREADABLE
    try:
        return text_of(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return UNREADABLE


def text_of(raw: bytes) -> Any:
    """Return a label that was sent as bytes, `UNREADABLE` if it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return UNREADABLE


def marked(text: Any, content_type: str) -> Any:
    """Return what a text holds that is marked as base64 or JSON by its content type."""
    if type(text) is list:
        return [marked(one, content_type) for one in text]
    if type(text) is not str:
        return text
    if content_type == "base64":
        return from_base64(text)
    return value_of(text) if content_type in JSON_TYPES else text
