"""Read the cells of a table as labels, numbers, scores and times.

A label must not depend on the format of its table: the integer 1, the float 1.0 of a column with gaps
and the text "1" of a CSV file are the same label.
"""

import ast
import math
import re
from calendar import timegm
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from processor.domain.timestamps import SECOND, TimeParser, format_time

#: A number in the syntax of JSON; "007" and "1e" are texts.
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None, "nan": None, "null": None, "true": True, "false": False,
}  # fmt: skip
#: Maximum length of a cell that can be a number or one of these words.
_MAX_LENGTH = 400
#: The unit of a time given as a number, by its size: the least number, and the unit in nanoseconds. As
#: seconds the numbers of all units but the last would be after the year 5138.
_UNITS = ((10**17, 1), (10**14, 1000), (10**11, 1_000_000), (0, SECOND))
_LAST_NS = 2**63

_parse_time = TimeParser()


class Nanoseconds(int):
    """A cell of a column of times, in nanoseconds since 1970; its unit is not guessed by its size."""


@lru_cache(maxsize=8192)
def read_text(cell: str | None) -> object:
    """The value of a cell of a CSV file: a number in the syntax of JSON, true or false in any case, a
    list in the syntax of JSON or Python, else a text; None for an empty cell, NaN or null.

    >>> [read_text(cell) for cell in ("cat", "1", "0.25", "007", "True", "NaN", "")]
    ['cat', 1, 0.25, '007', True, None, None]
    >>> read_text('["cat", "dog"]'), read_text("['cat']"), read_text("[]"), read_text("[cat")
    (['cat', 'dog'], ['cat'], [], '[cat')
    """
    if cell is None:
        return cell
    text = cell.strip()
    if text[:1] == "[" and text[-1:] == "]":
        return _read_list(text, cell)
    if len(cell) > _MAX_LENGTH:
        return cell
    number = _NUMBER.fullmatch(text)
    if number is not None:
        return float(number[0]) if number[1] or number[2] else int(number[0])
    return _WORDS.get(text.lower(), cell)


def _read_list(text: str, cell: str) -> object:
    """A list of texts or numbers, as JSON or as pandas writes a column of lists; the cell itself if it
    is neither."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return cell
    items = found if isinstance(found, list) else [None]
    return found if all(isinstance(item, str | int | float) for item in items) else cell


def plain(cell: Any) -> object:
    """The value of a cell of a DataFrame, a Parquet file or a JSON line as a type of JSON: None for
    None, NaN, NaT and NA; a date or a cell of another type as its text.

    >>> plain(float("nan")), plain(date(2026, 11, 20)), plain(Decimal("1.0")), plain((1, 2.5))
    (None, '2026-11-20', 1.0, [1, 2.5])
    """
    kind = type(cell)
    if kind is str or kind is int or kind is bool or cell is None:
        return cell
    if kind is float:
        return None if math.isnan(cell) else cell
    if kind in (list, tuple):
        # A gap among scores makes the row not scorable; it is not a missing row.
        return [math.nan if (value := plain(item)) is None else value for item in cell]
    if isinstance(cell, Mapping):
        return cell
    if kind in (set, frozenset):
        return sorted(map(str, cell))
    if isinstance(cell, Decimal):
        return None if cell.is_nan() else float(cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if hasattr(cell, "tolist"):  # a scalar or an array of numpy
        return plain(cell.tolist())
    text = format_time(cell) if kind is Nanoseconds else str(cell)
    return None if text in ("<NA>", "NaT") else text


def read_name(cell: object) -> str:
    """An identifier or a name as text, empty for an empty cell. The float 17.0 of a column with gaps is
    "17".

    >>> read_name(17.0), read_name(None), read_name("a")
    ('17', '', 'a')
    """
    value = cell if type(cell) is str else plain(cell)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def read_time(cell: Any) -> int | None:
    """The time of a cell in nanoseconds since 1970; None for an empty cell.

    A time without a zone is in UTC, a date is its midnight, a number is in seconds since 1970 or, if it
    is too large for that, in ms, µs or ns. ValueError for any other cell, and for a time that is not
    between 1970 and 2261.

    >>> read_time("2026-11-20 09:03:59"), read_time("1970-01-02"), read_time(1.5)
    (1795165439000000000, 86400000000000, 1500000000)
    >>> read_time("yesterday")
    Traceback (most recent call last):
    ValueError: 'yesterday' is not a time such as 2026-11-20T09:03:59Z
    """
    if type(cell) is not str:
        if cell is None:
            return None
        if type(cell) is Nanoseconds:
            return _checked(int(cell), cell)
        # NaT is a datetime that does not equal itself.
        if isinstance(cell, datetime) and cell == cell:
            return _checked(_of_datetime(cell), cell)
        if isinstance(cell, date) and cell == cell:
            return _checked(_of_datetime(datetime(cell.year, cell.month, cell.day)), cell)
        value = plain(cell)
        if isinstance(value, str):
            return read_time(value)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return _of_number(value)
        raise ValueError(f"{str(value)[:60]!r} is not a time such as 2026-11-20T09:03:59Z")
    text = cell.strip()
    zoned = text[-1:] in ("Z", "z") or (text[-6:-5] in ("+", "-") and text[-3:-2] == ":")
    time = _parse_time((text if zoned else text + "Z").encode("utf-8", "replace"))
    if time is not None:
        return time
    number = read_text(text)
    if number is None or (isinstance(number, int | float) and not isinstance(number, bool)):
        return _of_number(number)
    try:
        return _checked(_of_datetime(datetime.fromisoformat(text)), text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not a time such as 2026-11-20T09:03:59Z") from None


def _of_datetime(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    # The datetime of pandas has nanoseconds below its microseconds.
    finest: int = getattr(time, "nanosecond", 0)
    return timegm(time.utctimetuple()) * SECOND + time.microsecond * 1000 + finest


def _of_number(number: int | float | None) -> int | None:
    if number is None:
        return None
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is not a time such as 2026-11-20T09:03:59Z")
    unit = next(unit for least, unit in _UNITS if abs(number) >= least)
    exact = number * unit if isinstance(number, int) else int(Decimal(repr(number)) * unit)
    return _checked(exact, number)


def _checked(time: int, cell: object) -> int:
    if not 0 <= time < _LAST_NS:
        raise ValueError(f"{str(cell)[:60]!r} is not between 1970 and 2261")
    return time


def to_body(message: object) -> bytes:
    """The body of an event with a JSON message from a cell; NaN is written as null."""
    return msgspec.json.encode(message)
