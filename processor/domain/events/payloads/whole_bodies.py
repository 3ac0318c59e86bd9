"""JSON bodies taken as a whole: answers that are no predictions, and the members that name a request."""

import json
from typing import Any

import msgspec

from processor.domain.events.attributes import EXPLANATION, FAILED
from processor.domain.events.raw_event import Uncounted

#: The members of a message that hold its data, and those of its member ``data``.
_CONTAINERS = (
    "strData",
    "jsonData",
    "binData",
    "customData",
    "outputs",
    "predictions",
    "results",
    "result",
)
_DATA_CONTAINERS = ("ndarray", "tensor", "tftensor")
_first = json.JSONDecoder().raw_decode


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body begins with, empty if there is none.

    Binary data may follow it, and it may hold NaN.

    >>> read_object(b'{"id": "a"}\\xff'), read_object(b"[1]")
    ({'id': 'a'}, {})
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            content, _ = _first(body.decode("utf-8", "surrogateescape").lstrip())
        except (ValueError, RecursionError):
            return {}
    return content if isinstance(content, dict) else {}


def is_failure(status: object) -> bool:
    """Return whether Seldon's ``status`` is that of a failure: by its text, or its number as the Python
    wrapper writes it.

    >>> is_failure({"status": "FAILURE", "code": -1}), is_failure({"status": 1}), is_failure({})
    (True, True, False)
    """
    flag = status.get("status") if isinstance(status, dict) else status
    return flag == "FAILURE" or (type(flag) is int and flag == 1)


def uncounted(body: bytes) -> Uncounted | None:
    """Return the kind of an answer without data that is an error or an explanation, None for any other
    (counting rule 23).

    >>> uncounted(b'{"error": "no model"}'), uncounted(b'{"explanations": []}')
    (Uncounted(kind='failed'), Uncounted(kind='explanation'))
    >>> uncounted(b'{"error": "late", "predictions": [1]}')
    """
    content = read_object(body)
    if is_failure(content.get("status")):
        return Uncounted(FAILED)
    if _has_data(content):
        return None
    if content.get("error") not in (None, False):
        return Uncounted(FAILED)
    data, meta = content.get("data"), content.get("meta")
    if content.get("explanations") is not None or (
        # Alibi's explainers: an anchor, or any other explanation by what its meta says.
        isinstance(data, dict)
        and (data.get("anchor") is not None or (isinstance(meta, dict) and "explanations" in meta))
    ):
        return Uncounted(EXPLANATION)
    return None


def _has_data(content: dict[str, Any]) -> bool:
    data = content.get("data")
    found = [content.get(name) for name in _CONTAINERS]
    if isinstance(data, dict):
        found += [data.get(name) for name in _DATA_CONTAINERS]
    else:
        found.append(data)
    return any(value is not None and value != [] and value != {} for value in found)
