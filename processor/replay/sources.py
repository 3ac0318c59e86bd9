"""The sources of a replay: events files, tables, SQLite, Elasticsearch, Kafka, KServe's files.

The clients of Kafka, Elasticsearch and SQLite are imported by the source that needs them: importing
them all takes 0.7 s, evaluating a small file 0.05 s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from processor.domain.events.events_file import BadLine
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.errors import EventsFileError, SettingsError
from processor.replay.elasticsearch_source import DocumentSink, Resume, read_elasticsearch
from processor.replay.files import Block, CutOffError, file_size, read_blocks
from processor.replay.fold import ReplayFold
from processor.replay.journal import Journal
from processor.replay.kserve_source import read_folder
from processor.replay.progress import CommandProgress
from processor.replay.selection import Selection
from processor.replay.tables.columns import Columns
from processor.replay.tables.objects import ObjectLines
from processor.replay.tables.reading import Tables, open_text
from processor.replay.tables.rows import RowSink, Table
from processor.replay.tables.stored import FrameTable, ParquetTable, is_parquet
from processor.setting_values import HTTP
from processor.settings import Settings

if TYPE_CHECKING:
    from processor.replay.kafka_source import KafkaSource

#: A path or an address, or an object of the Python API.
Source = str | FrameTable | ObjectLines

_BATCH_BYTES = 8 << 20
_ELASTICSEARCH = (*HTTP, "elasticsearch:")
#: Bad inputs of a source that are reported one by one.
_MAX_REPORTED = 10


class Sink(DocumentSink, RowSink, Protocol):
    """Receives the events of all sources.

    ``read`` counts the events, including those that can't be decoded. ``damage`` gets one line of text
    for each source that is cut off, is damaged, or holds no events.
    """

    damage: list[str]

    def add_lines(self, block: bytes, first: int) -> list[BadLine]:
        """Add whole lines of an events file; ``first`` is the number of the first one. Returns the
        lines that are not events."""

    def add(self, events: Iterable[RawEvent]) -> None:
        """Add some events."""

    def add_bad(self, letter: DeadLetter) -> None:
        """Count an input that is not an event as a dead letter."""


@dataclass(frozen=True)
class Access:
    """How sources are read.

    ``index`` is the index pattern of an Elasticsearch source (default: that of ``settings``);
    ``strict`` raises an error at the first line that is not an event, and where a file is cut off;
    ``kafka`` holds aiokafka's connection options for the broker of ``settings``; ``columns`` maps the
    columns of tables to their meaning; ``has_task`` is whether the rules give models a task.
    """

    settings: Settings
    index: str = ""
    strict: bool = False
    kafka: Mapping[str, Any] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)
    has_task: bool = False


async def fold_sources(
    sources: Sequence[Source],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    journal: Journal | None = None,
) -> ReplayFold:
    """Fold all sources, one after another; the result does not depend on their order.

    With a ``journal`` the Elasticsearch source (`check_resumable`) is read from the positions that the
    journal has reached.
    """
    fold = ReplayFold(rules, selection)
    resume = None if journal is None else Resume(journal, fold, rules)
    has_task = any(rule.task for rule in rules.entries)
    await read_sources(sources, fold, replace(access, has_task=has_task), resume)
    return fold


def check_resumable(sources: Sequence[str]) -> None:
    """Raise `SettingsError` unless exactly one of the sources is Elasticsearch, the only kind of
    source that can be resumed."""
    if sum(source.startswith(_ELASTICSEARCH) for source in sources) != 1:
        raise SettingsError("--resume requires exactly one SOURCE in Elasticsearch: leave it out")


async def read_sources(
    sources: Sequence[Source], sink: Sink, access: Access, resume: Resume | None = None
) -> None:
    """Read all sources into ``sink``. ``resume`` holds the same fold as ``sink``, and the journal of
    an Elasticsearch source."""
    tables = Tables(access.columns, sink, access.has_task)
    for source in sources:
        if isinstance(source, FrameTable):
            await _read_table(source, tables, access.strict)
        elif isinstance(source, ObjectLines):
            await _read_text(source.name, source.blocks(), None, sink, access, tables)
        elif source.startswith("sqlite:"):
            await _read_sqlite(Path(source.removeprefix("sqlite:")), sink)
        elif source.startswith(_ELASTICSEARCH):
            await _read_elasticsearch(source, sink, access, resume)
        elif source.startswith("kafka:"):
            from processor.replay.kafka_source import KafkaSource

            topic = source.removeprefix("kafka:")
            await _read_kafka(KafkaSource(topic, access.settings.broker, access.kafka), sink)
        elif source.startswith("kserve:"):
            await _read_kserve(Path(source.removeprefix("kserve:")), sink, access.strict)
        elif is_parquet(source):
            await _read_table(ParquetTable(source), tables, access.strict)
        else:
            blocks, size = read_blocks(source), file_size(source)
            await _read_text(source, blocks, size, sink, access, tables)


async def _read_elasticsearch(
    source: str, sink: Sink, access: Access, resume: Resume | None
) -> None:
    from processor.archive.elasticsearch.archive import ElasticsearchArchive

    settings = access.settings
    url, pattern = _elasticsearch_url(source, settings), access.index or settings.index
    await read_elasticsearch(ElasticsearchArchive(url, pattern, settings), sink, resume)


def _elasticsearch_url(source: str, settings: Settings) -> str:
    if source.startswith(HTTP):
        return source
    if source != "elasticsearch:":
        raise SettingsError(
            "the source elasticsearch: takes no address: it is PROCESSOR_ARCHIVE; name a server as "
            "http(s)://host:port"
        )
    if not settings.elasticsearch:
        raise SettingsError(
            "the source elasticsearch: means PROCESSOR_ARCHIVE, which is "
            f"{settings.archive or 'not set'}: set it to http(s)://host:port"
        )
    return settings.archive


class _BadInputs:
    """Reports the first few inputs of a source (lines, rows, files) that are not events, and counts
    them all."""

    def __init__(self, progress: CommandProgress, name: str, strict: bool) -> None:
        self._progress = progress
        self._name = name
        self._strict = strict
        self._count = 0

    def add(self, detail: str, reason: str) -> None:
        """Report one input by the detail and the reason of its dead letter; `EventsFileError` with
        ``strict``."""
        if self._strict:
            raise EventsFileError(f"{self._name}: {detail}")
        self._count += 1
        if self._count <= _MAX_REPORTED:
            self._progress.report(f"{detail}; counted as dead letter {reason}")

    def end(self, read: int, unit: str) -> str:
        """Report the number of bad inputs if not all were named. Returns an error text if none of the
        ``read`` units (lines, files) was an event, else an empty one."""
        if self._count > _MAX_REPORTED:
            self._progress.report(f"{self._count:,} in all could not be read")
        if self._count and self._count == read:
            return f"{self._name} holds no events: none of its {read:,} {unit} is an event"
        return ""


async def _read_text(
    name: str,
    blocks: Iterator[Block],
    size: int | None,
    sink: Sink,
    access: Access,
    tables: Tables,
) -> None:
    """Read a text file: an events file, or a table."""
    before = sink.read
    with CommandProgress(f"reading {name}", size) as progress:
        bad_inputs = _BadInputs(progress, name, access.strict)
        table: Table | None = None
        try:
            table, blocks = open_text(name, blocks, access.columns)
            if table is not None:
                await tables.read(table, progress, bad_inputs.add)
                blocks = iter(())
            for block, first, consumed in blocks:
                for _, letter in sink.add_lines(block, first):
                    bad_inputs.add(letter.detail, letter.reason)
                await sink.wait_for_room()
                progress.update(consumed, sink.read - before)
        except CutOffError as error:
            if access.strict:
                raise
            sink.damage.append(f"{error}; the numbers are those of the events before")
        read = 0 if table is not None else sink.read - before
        if damage := bad_inputs.end(read, "lines"):
            sink.damage.append(damage)


async def _read_table(table: FrameTable | ParquetTable, tables: Tables, strict: bool) -> None:
    with CommandProgress(f"reading {table.name}", table.size) as progress:
        bad_inputs = _BadInputs(progress, table.name, strict)
        await tables.read(table, progress, bad_inputs.add)
        bad_inputs.end(
            0, "rows"
        )  # a table without a single readable row has raised an error before


async def _read_kserve(folder: Path, sink: Sink, strict: bool) -> None:
    before = sink.read
    with CommandProgress(f"reading {folder}", None) as progress:
        bad_inputs = _BadInputs(progress, str(folder), strict)
        others = 0
        for file in read_folder(folder):
            if isinstance(file, DeadLetter):
                sink.add_bad(file)
                bad_inputs.add(file.detail, file.reason)
            elif file is None:
                others += 1
            else:
                sink.add(file)
                await sink.wait_for_room()
            progress.update(0, sink.read - before)
        if damage := bad_inputs.end(sink.read - before, "files"):
            sink.damage.append(damage)
        if others:
            progress.report(f"WARNING: {others:,} files were not read: only *.json are")


async def _read_sqlite(path: Path, sink: Sink) -> None:
    from processor.archive.sqlite.archive import SqliteReader

    reader = await SqliteReader.open_read_only(path)
    try:
        last, position = await reader.last(), 0
        with CommandProgress(f"reading {path}", last) as progress:
            while position < last:
                rows = await reader.events(position, _BATCH_BYTES)
                if not rows:
                    break
                sink.add([event for _, event in rows])
                await sink.wait_for_room()
                position = rows[-1][0]
                progress.update(position, position)
    finally:
        await reader.close()


async def _read_kafka(source: "KafkaSource", sink: Sink) -> None:
    before = sink.read
    async with source:
        with CommandProgress(f"reading kafka:{source.topic}", source.total) as progress:
            async for events, position in source.events():
                sink.add(events)
                await sink.wait_for_room()
                progress.update(position, sink.read - before)
