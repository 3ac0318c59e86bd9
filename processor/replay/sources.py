"""Where a replay reads: events files, tables, SQLite, Elasticsearch, Kafka, KServe's files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.sqlite.archive import SqliteReader
from processor.domain.events.events_file import BadLine
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.errors import EventsFileError, SettingsError
from processor.replay.elasticsearch_source import DocumentSink, Resume, read_elasticsearch
from processor.replay.files import Block, CutOffError, file_size, read_blocks
from processor.replay.fold import ReplayFold, Selection
from processor.replay.journal import Journal
from processor.replay.kafka_source import KafkaSource
from processor.replay.kserve_source import read_folder
from processor.replay.progress import CommandProgress
from processor.replay.tables.columns import Columns
from processor.replay.tables.objects import ObjectLines
from processor.replay.tables.reading import Tables, open_text
from processor.replay.tables.rows import RowSink, Table
from processor.replay.tables.stored import FrameTable, ParquetTable, is_parquet
from processor.settings import HTTP, Settings

#: A path or an address; or an object of the Python API.
Source = str | FrameTable | ObjectLines

_BATCH_BYTES = 8 << 20
_ELASTICSEARCH = (*HTTP, "elasticsearch:")
#: Bad lines of a file that are named one by one.
_MAX_NAMES = 10


class Sink(DocumentSink, RowSink, Protocol):
    """What takes the events that are read. ``read`` counts them, with those that can't be understood;
    ``damage`` gets a line for each source that is cut off, damaged, or no source of events."""

    damage: list[str]

    def add_lines(self, block: bytes, first: int) -> list[BadLine]:
        """Take whole lines of an events file, the ``first``-th on; those that are no events."""

    def add(self, events: Iterable[RawEvent]) -> None:
        """Take some events."""

    def add_bad(self, letter: DeadLetter) -> None:
        """Count what is no event at all."""


@dataclass(frozen=True)
class Access:
    """How sources are read. ``index`` is the pattern of an Elasticsearch source (default: the
    setting); ``strict`` stops at the first line that is no event, and where a file is cut off;
    ``kafka`` are aiokafka's options for the connection to the broker of the settings; ``columns``
    says which columns of tables hold what."""

    settings: Settings
    index: str = ""
    strict: bool = False
    kafka: Mapping[str, Any] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)


async def fold_sources(
    sources: Sequence[Source],
    rules: ModelRules,
    selection: Selection,
    access: Access,
    journal: Journal | None = None,
) -> ReplayFold:
    """Fold all sources, one after another; the result does not depend on their order. With a
    ``journal`` the Elasticsearch among them (`check_resumable`) is read on from there."""
    fold = ReplayFold(rules, selection)
    resume = None if journal is None else Resume(journal, fold, rules)
    await read_sources(sources, fold, access, resume)
    return fold


def check_resumable(sources: Sequence[str]) -> None:
    """`SettingsError` unless there is one Elasticsearch among the sources: all others are read anew."""
    if sum(source.startswith(_ELASTICSEARCH) for source in sources) != 1:
        raise SettingsError(
            "--resume is for a SOURCE in Elasticsearch, and for one alone: leave it out"
        )


async def read_sources(
    sources: Sequence[Source], sink: Sink, access: Access, resume: Resume | None = None
) -> None:
    """Give everything that the sources hold to ``sink``, whose fold ``resume`` has too."""
    tables = Tables(access.columns, sink)
    for source in sources:
        if isinstance(source, FrameTable):
            await _read_table(source, tables, access.strict)
        elif isinstance(source, ObjectLines):
            await _read_text(source.name, source.blocks(), None, sink, access, tables)
        elif source.startswith("sqlite:"):
            await _read_sqlite(Path(source.removeprefix("sqlite:")), sink)
        elif source.startswith(_ELASTICSEARCH):
            settings = access.settings
            url = _elasticsearch_url(source, settings)
            pattern = access.index or settings.index
            archive = ElasticsearchArchive(url, pattern, settings)
            await read_elasticsearch(archive, sink, resume)
        elif source.startswith("kafka:"):
            topic = source.removeprefix("kafka:")
            await _read_kafka(KafkaSource(topic, access.settings.broker, access.kafka), sink)
        elif source.startswith("kserve:"):
            await _read_kserve(Path(source.removeprefix("kserve:")), sink, access.strict)
        elif is_parquet(source):
            await _read_table(ParquetTable(source), tables, access.strict)
        else:
            blocks, size = read_blocks(source), file_size(source)
            await _read_text(source, blocks, size, sink, access, tables)


def _elasticsearch_url(source: str, settings: Settings) -> str:
    if source.startswith(HTTP):
        return source
    if source != "elasticsearch:":
        raise SettingsError(
            "the source elasticsearch: stands alone: it means PROCESSOR_ARCHIVE; name a server as "
            "http(s)://host:port"
        )
    if not settings.elasticsearch:
        raise SettingsError(
            "the source elasticsearch: means PROCESSOR_ARCHIVE, which is "
            f"{settings.archive or 'not set'}: set it to http(s)://host:port"
        )
    return settings.archive


class _Troubles:
    """What of a source is no event: named, the first few at least, and counted."""

    def __init__(self, progress: CommandProgress, name: str, strict: bool) -> None:
        self._progress = progress
        self._name = name
        self._strict = strict
        self._count = 0

    def notify(self, detail: str, reason: str) -> None:
        """`EventsFileError` with ``strict``."""
        if self._strict:
            raise EventsFileError(f"{self._name}: {detail}")
        self._count += 1
        if self._count <= _MAX_NAMES:
            self._progress.report(f"{detail}; counted as dead letter {reason}")

    def end(self, read: int, unit: str) -> str:
        """Say how many there were, if not all were named; why the source is none of events, if none
        of the ``read`` units (lines, files) was understood."""
        if self._count > _MAX_NAMES:
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
    """An events file, or a table."""
    before = sink.read
    with CommandProgress(f"reading {name}", size) as progress:
        troubles = _Troubles(progress, name, access.strict)
        table: Table | None = None
        try:
            table, blocks = open_text(name, blocks, access.columns)
            if table is not None:
                await tables.read(table, progress, troubles.notify)
                blocks = iter(())
            for block, first, consumed in blocks:
                for _, letter in sink.add_lines(block, first):
                    troubles.notify(letter.detail, letter.reason)
                await sink.settle()
                progress.update(consumed, sink.read - before)
        except CutOffError as error:
            if access.strict:
                raise
            sink.damage.append(f"{error}; the numbers are of what stands before that")
        read = 0 if table is not None else sink.read - before
        if damage := troubles.end(read, "lines"):
            sink.damage.append(damage)


async def _read_table(table: FrameTable | ParquetTable, tables: Tables, strict: bool) -> None:
    with CommandProgress(f"reading {table.name}", table.size) as progress:
        troubles = _Troubles(progress, table.name, strict)
        await tables.read(table, progress, troubles.notify)
        troubles.end(0, "rows")  # a table without a row that can be read has failed before


async def _read_kserve(folder: Path, sink: Sink, strict: bool) -> None:
    before = sink.read
    with CommandProgress(f"reading {folder}", None) as progress:
        troubles = _Troubles(progress, str(folder), strict)
        others = 0
        for file in read_folder(folder):
            if isinstance(file, DeadLetter):
                sink.add_bad(file)
                troubles.notify(file.detail, file.reason)
            elif file is None:
                others += 1
            else:
                sink.add(file)
                await sink.settle()
            progress.update(0, sink.read - before)
        if damage := troubles.end(sink.read - before, "files"):
            sink.damage.append(damage)
        if others:
            progress.report(f"WARNING: {others:,} files were not read: only *.json are")


async def _read_sqlite(path: Path, sink: Sink) -> None:
    reader = await SqliteReader.open_read_only(path)
    try:
        last, position = await reader.last(), 0
        with CommandProgress(f"reading {path}", last) as progress:
            while position < last:
                rows = await reader.events(position, _BATCH_BYTES)
                if not rows:
                    break
                sink.add([event for _, event in rows])
                await sink.settle()
                position = rows[-1][0]
                progress.update(position, position)
    finally:
        await reader.close()


async def _read_kafka(source: KafkaSource, sink: Sink) -> None:
    before = sink.read
    async with source:
        with CommandProgress(f"reading kafka:{source.topic}", source.total) as progress:
            async for events, position in source.events():
                sink.add(events)
                await sink.settle()
                progress.update(position, sink.read - before)
