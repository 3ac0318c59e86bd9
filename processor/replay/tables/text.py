"""Tables in text files: CSV and JSON lines.

CSV is read by the standard library, in blocks, as all text files are: it takes quoted line breaks, needs
no second package, and decides on no column's type by its first rows.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from processor.domain.events import raw_json
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import EventsFileError
from processor.replay.files import Block
from processor.replay.tables.cells import plain, read_text
from processor.replay.tables.columns import DEPLOYMENT, ID, PREDICTED, Chosen
from processor.replay.tables.rows import Row

_DELIMITERS = ",;\t|"
#: A longer cell is no label but another kind of file; the csv module's own limit is less.
_LONGEST_CELL = 1 << 24
#: A request of the Open Inference Protocol: it is counted as read, and nothing else.
_REQUEST = RawEvent((("ce_type", b"org.kubeflow.serving.inference.request"),), b"{}", 0)

_decode_row = msgspec.json.Decoder(dict[str, Any]).decode


class CsvTable:
    """A CSV file, as its blocks. The delimiter is that of ``, ; | tab`` which its header has most of.

    `EventsFileError` for a file that is empty, or is not UTF-8.
    """

    value = staticmethod(read_text)

    def __init__(self, path: str, blocks: Iterable[Block]) -> None:
        self.name = path
        self.consumed = 0
        lines = self._lines(blocks)
        header = next(lines, "")
        self._delimiter = delimiter_of(header)
        csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
        self._reader = csv.reader(_before(header, lines), delimiter=self._delimiter)
        self.names = [name.strip() for name in next(self._reader, [])]
        if not self.names:
            raise EventsFileError(f"{path} is empty: a table begins with the names of its columns")

    def rows(self, chosen: Chosen) -> Iterator[Row]:
        """See `Table`."""
        width = len(self.names)
        places = [None if name is None else self.names.index(name) for name in chosen.used]
        reader = self._reader
        try:
            for row in reader:
                if len(row) == width:
                    yield (
                        reader.line_num,
                        [None if place is None else row[place] for place in places],
                    )
                elif row:
                    detail = f"the row has {len(row)} cells, the header has {width}"
                    yield reader.line_num, DeadLetter("bad_shape", detail)
        except csv.Error as error:
            raise EventsFileError(
                f"{self.name}, line {reader.line_num} can't be read as CSV: {error}"
            ) from None

    def line(self, cells: Sequence[str]) -> str:
        """See `Table`."""
        return self._delimiter.join(cells)

    def _lines(self, blocks: Iterable[Block]) -> Iterator[str]:
        for block, first, consumed in blocks:
            self.consumed = consumed
            try:
                text = block.decode()
            except UnicodeDecodeError as error:
                line = first + block.count(b"\n", 0, error.start)
                raise EventsFileError(
                    f"{self.name}, line {line} is not UTF-8: save the file as UTF-8 (CSV)"
                ) from None
            yield from io.StringIO(text, newline="")


class JsonTable:
    """A file of JSON objects, one a line: flat rows, or requests and responses of the Open Inference
    Protocol. Its columns are the keys in the first block."""

    value = staticmethod(plain)

    def __init__(self, path: str, blocks: Iterable[Block]) -> None:
        self.name = path
        self.consumed = 0
        self._blocks = iter(blocks)
        self._head = next(self._blocks)
        self.has_messages = False
        names: dict[str, None] = {}
        for line in self._head.lines.split(b"\n"):
            row = _parse(line)
            if isinstance(row, dict):
                names.update(dict.fromkeys(row))
                self.has_messages = self.has_messages or _is_message(row)
        self.names = list(names)

    def rows(self, chosen: Chosen) -> Iterator[Row]:
        """See `Table`."""
        for block, first, consumed in _before(self._head, self._blocks):
            self.consumed = consumed
            for number, line in enumerate(block.split(b"\n"), first):
                if not line or line.isspace():
                    continue
                row = _parse(line)
                if isinstance(row, DeadLetter):
                    yield number, row
                elif _is_message(row):
                    yield number, _message(row, chosen)
                else:
                    yield number, [None if name is None else row.get(name) for name in chosen.used]

    def line(self, cells: Sequence[str]) -> str:
        """See `Table`."""
        return json.dumps(dict(zip(self.names, cells, strict=True)), ensure_ascii=False)


def delimiter_of(header: str) -> str:
    r"""The delimiter that a header has most of.

    >>> delimiter_of("id;y_pred;y_true"), delimiter_of("y_pred")
    (';', ',')
    """
    return max(_DELIMITERS, key=header.count)


def has_event(block: bytes) -> bool:
    """Whether one of these lines is a line of an events file."""
    if b'"headers"' not in block:
        return False
    for line in block.split(b"\n"):
        try:
            if "headers" in raw_json.members(line):
                return True
        except ValueError:
            continue
    return False


def _is_message(row: dict[str, Any]) -> bool:
    """Whether a row is a message of the Open Inference Protocol: it has lists of tensors."""
    return any(
        isinstance(tensors := row.get(key), list) and all(isinstance(one, dict) for one in tensors)
        for key in ("outputs", "inputs")
    )


def _message(row: dict[str, Any], chosen: Chosen) -> Sequence[Any] | RawEvent:
    """The cells of a request or a response: what is no column of its own, its body says."""
    cells = [None if name is None else row.get(name) for name in chosen.used]
    if "outputs" in row and cells[PREDICTED] is None:
        cells[PREDICTED] = row
    elif cells[PREDICTED] is None and all(cell is None for cell in cells[: PREDICTED + 3]):
        return _REQUEST
    cells[ID] = cells[ID] or row.get("id")
    cells[DEPLOYMENT] = cells[DEPLOYMENT] or row.get("model_name")
    return cells


def _parse(line: bytes) -> dict[str, Any] | DeadLetter:
    try:
        return _decode_row(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Python writes NaN and Infinity, which are no JSON.
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return DeadLetter("bad_json", str(error)[:200])
    return row if isinstance(row, dict) else DeadLetter("bad_shape", "the line is no object")


def _before(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others
