"""Tables read into a fold."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.errors import EventsFileError, ProcessorError
from processor.replay.files import Block, read_blocks
from processor.replay.progress import CommandProgress
from processor.replay.tables.columns import (
    Chosen,
    Columns,
    choose,
    example,
    guess_actual,
    is_standard,
    unknown_columns,
)
from processor.replay.tables.rows import RowReader, RowSink, Table
from processor.replay.tables.stored import FrameTable, ParquetTable, is_parquet
from processor.replay.tables.text import CsvTable, JsonTable, delimiter_of, has_event

_CSV = (".csv", ".tsv")
_COMPRESSED = (".gz", ".zst", ".zstd")
#: Rows between two looks at whether the sink has room.
_CHUNK = 5000

#: Tells of a row that can't be understood: the detail and the reason of its dead letter.
Tell = Callable[[str, str], None]


class Tables:
    """Reads the tables of one command into ``sink``. Rows without an id are numbered through all of
    them, so that the first rows of two files are two requests."""

    def __init__(self, columns: Columns, sink: RowSink) -> None:
        self._columns = columns
        self._sink = sink
        self._numbers = count(1)

    async def read(self, table: Table, progress: CommandProgress, notify: Tell) -> None:
        """Read a whole table. `EventsFileError` where its columns are unknown, or no row of it can be
        understood; `SettingsError` where a column that was named is missing."""
        sink, before = self._sink, self._sink.read
        chosen = self._choose(table, progress)
        reader = RowReader(chosen, table.value, self._numbers)
        rows = understood = 0
        for number, cells in table.rows(chosen):
            rows += 1
            if isinstance(cells, RawEvent):
                sink.add([cells])
                letter = None
            else:
                row = cells if isinstance(cells, DeadLetter) else reader(cells)
                if isinstance(row, DeadLetter):
                    sink.add_bad(row)
                    letter = row
                else:
                    letter = sink.add_row(row)
            if letter is None:
                understood += 1
            else:
                notify(f"row {number} can't be read: {letter.detail}", letter.reason)
            if not rows % _CHUNK:
                await sink.settle()
                progress.update(table.consumed, sink.read - before)
        await sink.settle()
        progress.update(table.consumed, sink.read - before)
        if not understood:
            raise _nothing(table, chosen, rows)

    def _choose(self, table: Table, progress: CommandProgress) -> Chosen:
        names = table.names
        chosen = choose(names, self._columns, table.name)
        has_messages = isinstance(table, JsonTable) and table.has_messages
        if not chosen.has_content and not has_messages:
            raise unknown_columns(names, table.name, self._columns.renamed)
        if not chosen.has_truth:
            remedy = guess_actual(names, self._columns.renamed)
            if remedy:
                progress.report(f"no column is named actual, so nothing is judged: {remedy}")
        return chosen.with_standard() if isinstance(table, JsonTable) else chosen


def open_text(
    path: str, blocks: Iterable[Block], columns: Columns
) -> tuple[Table | None, Iterator[Block]]:
    """The table that a text file is, by its name (``.csv``, ``.tsv``) or its first lines; for an events
    file None, and the blocks."""
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
    """What the user's names mean for these sources. One of several tables may lack a column that
    another has. A deployment is the column that has this name, and no choice of one deployment; else
    the name of rows that name none, and the choice."""
    names = {name for source in sources for name in names_of(source)}
    in_several = len(sources) > 1 and columns.named(names) <= names
    columns = replace(columns, deployment=deployment, in_several=in_several)
    return columns, "" if deployment in names else deployment


def names_of(source: object) -> Sequence[str]:
    """The columns of a source that is a DataFrame or a file with a table; else none."""
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
        return ()  # whoever reads it says what is wrong


#: Takes every text file that is no events file as a table.
_ANY = Columns(predicted="any")


def _is_csv(path: str) -> bool:
    name = path.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(_CSV)


def _header(block: bytes) -> Sequence[str]:
    line = block.partition(b"\n")[0].decode("utf-8", "replace").strip()
    return [name.strip().strip('"') for name in line.split(delimiter_of(line))]


def _nothing(table: Table, chosen: Chosen, rows: int) -> EventsFileError:
    line = table.line(example(table.names, chosen))
    what = f"none of its {rows:,} rows could be read" if rows else "it has no rows"
    return EventsFileError(f"{table.name}: {what}; a valid one is, for example: {line}")
