"""Rows of a table as predictions with their truth."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from processor.domain.events.envelope import MAX_ID_BYTES
from processor.domain.events.payloads.json_bodies import micros
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_key import ModelKey
from processor.replay.tables.cells import read_name, read_time, to_body
from processor.replay.tables.columns import ID, Chosen

#: Before the number of a row without an id, in hexadecimal: the join keeps a UUID in 16 bytes, and
#: takes nine times the memory for any other text (with a million rows 70 MB and 640 MB, measured).
_ROW = "00000000-0000-0000-0000-"
#: Models whose names are remembered.
_KEYS = 10_000


class RowSink(Protocol):
    """What takes rows of tables. ``read`` counts them, with those that can't be understood."""

    read: int

    def add_row(self, row: TableRow) -> DeadLetter | None:
        """Take one row; the dead letter where it can't be understood."""

    def add(self, events: Sequence[RawEvent]) -> None:
        """Take some events."""

    def add_bad(self, letter: DeadLetter) -> None:
        """Count what is no row at all."""

    async def settle(self) -> None:
        """Wait until there is room for more."""


#: A row's number in its source, and its cells in the order of `Chosen.used`; or why it has none; or an
#: event.
Row = tuple[int, Sequence[Any] | DeadLetter | RawEvent]


class Table(Protocol):
    """A table that can be read once."""

    @property
    def name(self) -> str:
        """Its file, for messages."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its columns."""

    @property
    def consumed(self) -> int:
        """How much of it is read, in the unit of its progress: bytes or rows."""

    @property
    def value(self) -> Callable[[Any], object]:
        """Reads a cell that is a label, a score or a reward."""

    def rows(self, chosen: Chosen) -> Iterator[Row]:
        """Its rows, with the cells of the chosen columns."""

    def line(self, cells: Sequence[str]) -> str:
        """A row as it is written, for people; a cell for each of ``names``."""


class RowReader:
    """Reads the cells of one table, row by row, in the order of `Chosen.used`.

    ``value`` reads a cell of a label, a score or a reward; ``numbers`` counts the rows of all tables
    that are read together, so that rows without an id are different requests.
    """

    def __init__(
        self, chosen: Chosen, value: Callable[[Any], object], numbers: Iterator[int]
    ) -> None:
        self._value = value
        self._numbers = numbers
        self._names = tuple(label for _, label in chosen.scores)
        self._deployment = chosen.deployment
        self._has_ids = chosen.columns[ID] is not None
        self._keys: dict[tuple[object, ...], ModelKey] = {}

    def __call__(self, cells: Sequence[Any]) -> TableRow | DeadLetter:
        """What a row holds; the dead letter where it can't be understood."""
        predicted, actual, reward, name, time, feedback_time, *others = cells
        place = next(self._numbers)
        request_id = read_name(name)
        if not request_id:
            if self._has_ids:
                return DeadLetter("no_id", "the row has no request id")
            request_id = f"{_ROW}{place:012x}"
        elif len(request_id) * 4 > MAX_ID_BYTES and len(request_id.encode()) > MAX_ID_BYTES:
            return DeadLetter("bad_header", f"request id of {len(request_id.encode())} bytes")
        try:
            made = read_time(time)
            judged = read_time(feedback_time)
        except (ValueError, OverflowError) as error:
            return DeadLetter("bad_time", str(error))
        # Without a time a row's place stands in: the last of several rows of one id counts.
        made = place if made is None else made
        value = self._value
        worth, amount = value(reward), None
        if worth is not None:
            amount = micros(worth)
            if amount is None:
                return DeadLetter(
                    "bad_reward", f"reward {str(worth)[:80]!r} is no number up to 1e6"
                )
        answer = _content(value(predicted))
        if answer is None and self._names:
            answer = self._scores([value(cell) for cell in others[4:]])
        return TableRow(
            self._key(others[:4]),
            request_id,
            made,
            made if judged is None else judged,
            answer,
            _content(value(actual)),
            amount,
        )

    def _scores(self, scores: list[object]) -> PayloadRows | None:
        if all(score is None for score in scores):
            return None
        row = [math.nan if score is None else score for score in scores]
        return PayloadRows([row], self._names if len(row) > 1 else None)

    def _key(self, cells: Sequence[Any]) -> ModelKey:
        names = tuple(cells)
        try:
            return self._keys[names]
        except (KeyError, TypeError):  # a list or an object is no name, but has a text
            namespace, deployment, predictor, model = map(read_name, cells)
        key = ModelKey(namespace, deployment or self._deployment, predictor, model)
        if len(self._keys) < _KEYS and all(type(cell) is str or cell is None for cell in cells):
            self._keys[names] = key
        return key


def _content(value: object) -> PayloadRows | bytes | None:
    if value is None:
        return None
    return to_body(value) if isinstance(value, Mapping) else PayloadRows([value], None)
