"""Answers by column, as TensorFlow Serving gives several outputs: an object of name to rows."""

from typing import Any

from processor.domain.events.payloads.forms import Choice, read_forms
from processor.domain.events.payloads.rows import UNREADABLE, PayloadRows, checked
from processor.domain.events.raw_event import DeadLetter


def are_columns(value: object) -> bool:
    """Return whether an object has columns of rows."""
    return type(value) is dict and bool(value) and all(type(one) is list for one in value.values())


def read_columns(
    columns: dict[str, Any], choice: Choice | None, is_truth: bool = False
) -> PayloadRows | DeadLetter:
    """Return the rows of the column that counts, or of all columns: a row is then an object.

    Without a ``choice`` the first column counts, and its rows stay as they are.
    """
    wanted = None if choice is None else choice.output_name
    name = wanted if wanted in columns else None
    if name is None and (choice is None or len(columns) == 1):
        name = next(iter(columns), None)
        if name is not None and wanted is not None and not is_truth:
            size = len(columns[name]) if type(columns[name]) is list else 1
            return checked([UNREADABLE] * size)
    if name is not None:
        column = columns[name]
        rest = None if choice is None else choice._replace(output_name=None)
        return read_forms(column if type(column) is list else [column], rest, is_truth)
    found = list(columns.values())
    if not are_columns(columns) or len({*map(len, found)}) > 1:
        return read_forms([columns], choice, is_truth)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*found, strict=True)]
    return read_forms(rows, choice, is_truth)
