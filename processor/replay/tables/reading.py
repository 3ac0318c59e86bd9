"""Read tables into a sink, and tell tables from events files."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import EventsFileError, ProcessorError
from processor.replay.files import Block, read_blocks
from processor.replay.progress import CommandProgress
from processor.replay.tables.columns import (
    ColumnMap,
    Columns,
    example,
    guess_actual,
    is_standard,
    map_columns,
    unknown_columns,
)
from processor.replay.tables.rows import RowReader, RowSink, Table
from processor.replay.tables.stored import FrameTable, ParquetTable, is_parquet
from processor.replay.tables.text import CsvTable, JsonTable, delimiter_of, has_event

_CSV = (".csv", ".tsv")
_COMPRESSED = (".gz", ".zst", ".zstd")
#: Number of rows after which to wait until the sink has room.
_CHUNK = 5000

#: Reports a row that can't be decoded, by the detail and the reason of its dead letter.
ReportBadRow = Callable[[str, str], None]


class Tables:
    """Reads the tables of one command into ``sink``. Rows without an id are numbered across all tables,
    so that the first rows of two files are two requests. ``has_task`` is whether models have a task."""

    def __init__(self, columns: Columns, sink: RowSink, has_task: bool = False) -> None:
        self._columns = columns
        self._has_task = has_task
        self._sink = sink
        self._numbers = count(1)

    async def read(self, table: Table, progress: CommandProgress, report_bad: ReportBadRow) -> None:
        """Read a whole table. `EventsFileError` if its columns are unknown or none of its rows can be
        decoded; `SettingsError` if a column that the user has named is missing."""
        sink, before = self._sink, self._sink.read
        column_map = self._map_columns(table, progress)
        reader = RowReader(column_map, table.value, self._numbers)
        rows = decoded = 0
        for number, cells in table.rows(column_map):
            rows += 1
            if isinstance(cells, RawEvent):
                sink.add([cells])
                dead_letter = None
            else:
                row = cells if isinstance(cells, DeadLetter) else reader(cells)
                if isinstance(row, DeadLetter):
                    sink.add_bad(row)
                    dead_letter = row
                else:
                    dead_letter = sink.add_row(row)
            if dead_letter is None:
                decoded += 1
            else:
                detail = f"row {number} can't be read: {dead_letter.detail}"
                report_bad(detail, dead_letter.reason)
            if not rows % _CHUNK:
                await sink.wait_for_room()
                progress.update(table.consumed, sink.read - before)
        await sink.wait_for_room()
        progress.update(table.consumed, sink.read - before)
        if not decoded:
            raise _no_rows(table, column_map, rows)
        if reader.numbers and reader.labels and not self._has_task:
            option = 'task="regression"' if self._columns.renamed else "--task regression"
            progress.report(
                f"{reader.numbers:,} predictions are numbers, and {reader.labels:,} are whole or "
                f"between 0 and 1, which are taken for labels: if all are numbers, give {option}"
            )

    def _map_columns(self, table: Table, progress: CommandProgress) -> ColumnMap:
        names = table.names
        column_map = map_columns(names, self._columns, table.name)
        has_messages = isinstance(table, JsonTable) and table.has_messages
        if not column_map.has_content and not has_messages:
            raise unknown_columns(names, table.name, self._columns.renamed)
        if not column_map.has_truth:
            remedy = guess_actual(names, self._columns.renamed)
            if remedy:
                progress.report(f"no column is named actual, so nothing is judged: {remedy}")
        return column_map.with_standard() if isinstance(table, JsonTable) else column_map


def open_text(
    path: str, blocks: Iterable[Block], columns: Columns
) -> tuple[Table | None, Iterator[Block]]:
    """Open a text file as a table, recognised by its name (``.csv``, ``.tsv``) or its first lines.
    Returns None for an events file, together with all of its blocks."""
    others = iter(blocks)
    head = next(others, None)
    blocks = others if head is None else chain([head], others)
    if _is_csv(path):
        return CsvTable(path, blocks), blocks
    if head is None:
        return None, blocks
    if head.lines.lstrip()[:1] == b"{":
        return (None if has_event(head.lines) else JsonTable(path, blocks)), blocks
    if columns.is_given() or is_standard(_header(head.lines)):
        return CsvTable(path, blocks), blocks
    return None, blocks


def resolve(sources: Sequence[object], columns: Columns, deployment: str) -> tuple[Columns, str]:
    """Resolve the names that the user gives against the columns of the sources.

    Returns the columns, and the deployment to select, empty for all. If ``deployment`` is the name of a
    column, it is not selected; else it is the deployment of rows without one, and selected. One of
    several tables may lack a column that another one has.
    """
    names = {name for source in sources for name in names_of(source)}
    in_several = len(sources) > 1 and columns.named(names) <= names
    columns = replace(columns, deployment=deployment, in_several=in_several)
    return columns, "" if deployment in names else deployment


def names_of(source: object) -> Sequence[str]:
    """The columns of a source that is a DataFrame or the file of a table; of another source none."""
    if isinstance(source, FrameTable):
        return source.names
    try:
        if not isinstance(source, str) or not os.path.isfile(source):
            return ()
        if is_parquet(source):
            return ParquetTable(source).names
        table, _ = open_text(source, read_blocks(source), _ANY)
        return () if table is None else table.names
    except ProcessorError:
        return ()  # the same error is raised when the source is read


#: Opens every text file that is not an events file as a table.
_ANY = Columns(predicted="any")


def _is_csv(path: str) -> bool:
    name = path.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(_CSV)


def _header(block: bytes) -> Sequence[str]:
    line = block.partition(b"\n")[0].decode("utf-8", "replace").strip()
    return [name.strip().strip('"') for name in line.split(delimiter_of(line))]


def _no_rows(table: Table, column_map: ColumnMap, rows: int) -> EventsFileError:
    line = table.line(example(table.names, column_map))
    what = f"none of its {rows:,} rows could be read" if rows else "it has no rows"
    return EventsFileError(f"{table.name}: {what}; a valid one is, for example: {line}")
