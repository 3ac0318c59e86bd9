"""Read the rows of a table as predictions with their true labels."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from processor.domain.events.envelope import MAX_ID_BYTES
from processor.domain.events.payloads.json_bodies import micros
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_key import ModelKey
from processor.domain.values import Labelled
from processor.replay.tables.cells import read_name, read_time, to_body
from processor.replay.tables.columns import ID, ColumnMap

#: The id of a row without one is this prefix and the number of the row in hexadecimal. The join keeps a
#: UUID in 16 bytes; any other text takes nine times the memory (measured with a million rows: 70 MB and
#: 640 MB).
_ID_PREFIX = "00000000-0000-0000-0000-"
#: Maximum number of model keys that are cached.
_MAX_KEYS = 10_000


class RowSink(Protocol):
    """Receives the rows of tables. ``read`` counts them, including those that can't be decoded."""

    read: int

    def add_row(self, row: TableRow) -> DeadLetter | None:
        """Add one row. Returns the dead letter if the row can't be decoded."""

    def add(self, events: Sequence[RawEvent]) -> None:
        """Add some events."""

    def add_bad(self, dead_letter: DeadLetter) -> None:
        """Count an input that is not a row as a dead letter."""

    async def wait_for_room(self) -> None:
        """Wait until there is room for more."""


#: The number of a row in its source, and one of: its cells in the order of `ColumnMap.used`, a dead
#: letter if its cells can't be told apart, or an event.
Row = tuple[int, Sequence[Any] | DeadLetter | RawEvent]


class Table(Protocol):
    """A table that can be read once."""

    @property
    def name(self) -> str:
        """The name of the table in messages: its file."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its columns."""

    @property
    def consumed(self) -> int:
        """How much of the table has been read, in the unit of its progress: bytes or rows."""

    @property
    def value(self) -> Callable[[Any], object]:
        """The function that reads a cell with a label, a score or a reward."""

    def rows(self, column_map: ColumnMap) -> Iterator[Row]:
        """The rows with their cells of the columns ``column_map.used``."""

    def line(self, cells: Sequence[str]) -> str:
        """A row in the format of the table, for a message; ``cells`` has one for each of ``names``."""


class RowReader:
    """Reads the rows of one table, whose cells are in the order of `ColumnMap.used`.

    ``value`` reads a cell with a label, a score or a reward. ``row_numbers`` counts the rows of all
    tables that are read together, so that each row without an id is a request of its own.

    After reading, ``numbers`` is how many predictions are numbers for certain, and ``labels`` how many
    are whole numbers or between 0 and 1, which are taken for labels and probabilities.
    """

    def __init__(
        self, column_map: ColumnMap, value: Callable[[Any], object], row_numbers: Iterator[int]
    ) -> None:
        self._value = value
        self._row_numbers = row_numbers
        self._names = tuple(label for _, label in column_map.scores)
        self._deployment = column_map.deployment
        self._has_ids = column_map.columns[ID] is not None
        self._keys: dict[tuple[object, ...], ModelKey] = {}
        self.numbers = self.labels = 0

    def __call__(self, cells: Sequence[Any]) -> TableRow | DeadLetter:
        """Read one row. Returns a dead letter if a cell can't be read."""
        predicted, actual, reward, request_id_cell, time, feedback_time, *others = cells
        number = next(self._row_numbers)
        request_id = read_name(request_id_cell)
        if not request_id:
            if self._has_ids:
                return DeadLetter("no_id", "the row has no request id")
            request_id = f"{_ID_PREFIX}{number:012x}"
        elif len(request_id) * 4 > MAX_ID_BYTES and len(request_id.encode()) > MAX_ID_BYTES:
            return DeadLetter("bad_header", f"request id of {len(request_id.encode())} bytes")
        try:
            predicted_at = read_time(time)
            feedback_at = read_time(feedback_time)
        except (ValueError, OverflowError) as error:
            return DeadLetter("bad_time", str(error))
        # A row without a time has its number as time: the last of several rows with one id counts.
        predicted_at = number if predicted_at is None else predicted_at
        value = self._value
        reward_value, reward_micros = value(reward), None
        if reward_value is not None:
            reward_micros = micros(reward_value)
            if reward_micros is None:
                return DeadLetter(
                    "bad_reward", f"reward {str(reward_value)[:80]!r} is not a number up to 1e6"
                )
        answer = self._answer(value(predicted), others[4:])
        return TableRow(
            self._key(others[:4]),
            request_id,
            predicted_at,
            predicted_at if feedback_at is None else feedback_at,
            answer,
            _content(value(actual)),
            reward_micros,
        )

    def _answer(self, predicted: object, cells: Sequence[Any]) -> PayloadRows | bytes | None:
        """The prediction of a row: its label, number or list; its scores; or a label with its scores."""
        if not self._names:
            self._count(predicted)
            return _content(predicted)
        scores = [self._value(cell) for cell in cells]
        if all(score is None for score in scores):
            self._count(predicted)
            return _content(predicted)
        row = [math.nan if score is None else score for score in scores]
        names = self._names if len(row) > 1 else None
        if predicted is None:
            return PayloadRows([row], names)
        if names is None or not isinstance(predicted, str | int | float):
            return _content(predicted)
        return PayloadRows([Labelled(predicted, scores=tuple(row))], names)  # type: ignore[arg-type]

    def _count(self, predicted: object) -> None:
        """Count a prediction that is a number by what it is taken for."""
        if type(predicted) is float and not predicted.is_integer():
            if 0 < predicted < 1:
                self.labels += 1
            else:
                self.numbers += 1
        elif type(predicted) in (int, float):
            self.labels += 1

    def _key(self, cells: Sequence[Any]) -> ModelKey:
        names = tuple(cells)
        try:
            return self._keys[names]
        except (
            KeyError,
            TypeError,
        ):  # a cell with a list or an object is not hashable; its text is the name
            namespace, deployment, predictor, model = map(read_name, cells)
        key = ModelKey(namespace, deployment or self._deployment, predictor, model)
        if len(self._keys) < _MAX_KEYS and all(type(cell) is str or cell is None for cell in cells):
            self._keys[names] = key
        return key


def _content(value: object) -> PayloadRows | bytes | None:
    if value is None:
        return None
    return to_body(value) if isinstance(value, Mapping) else PayloadRows([value], None)
