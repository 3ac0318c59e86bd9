"""Where a replay reads: events files, the SQLite archive, Elasticsearch."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from processor.archive.elasticsearch import ElasticsearchArchive, Shard
from processor.archive.sqlite import SqliteReader
from processor.domain.models import ModelRules
from processor.domain.results import Replay
from processor.errors import SettingsError
from processor.replay.files import file_size, read_events
from processor.replay.fold import ReplayFold, Selection
from processor.replay.progress import Progress
from processor.settings import Settings

_BATCH_BYTES = 8 << 20
#: A line of a file without ``ce-time`` has no time at all.
_NO_TIME = -1
#: Shards read at once: enough to keep a cluster busy, few enough to hold their pages in memory.
_SHARDS = 4
_HTTP = ("http://", "https://")


async def replay_sources(
    sources: Sequence[str],
    rules: ModelRules,
    selection: Selection,
    settings: Settings,
    index: str = "",
) -> Replay:
    """Fold all sources, one after another; the result does not depend on their order. ``index`` is
    the pattern of an Elasticsearch source (default: the setting)."""
    fold = ReplayFold(rules, selection)
    for source in sources:
        if source.startswith("sqlite:"):
            await _read_sqlite(Path(source.removeprefix("sqlite:")), fold)
        elif source.startswith((*_HTTP, "elasticsearch:")):
            url = _elasticsearch_url(source, settings)
            await _read_elasticsearch(
                ElasticsearchArchive(url, index or settings.index, settings), fold
            )
        elif source.startswith("kafka:"):
            raise SettingsError(
                f"source {source!r} can't be replayed: use an events file, sqlite:PATH, "
                "elasticsearch: or http(s)://host:port"
            )
        else:
            _read_file(source, fold)
    return fold.result()


def _elasticsearch_url(source: str, settings: Settings) -> str:
    if source.startswith(_HTTP):
        return source
    if source != "elasticsearch:":
        raise SettingsError(
            "the source elasticsearch: stands alone: it means PROCESSOR_ARCHIVE; name a server as "
            "http(s)://host:port"
        )
    if not settings.archive.startswith(_HTTP):
        raise SettingsError(
            "the source elasticsearch: means PROCESSOR_ARCHIVE, which is "
            f"{settings.archive or 'not set'}: set it to http(s)://host:port"
        )
    return settings.archive


def _read_file(path: str, fold: ReplayFold) -> None:
    consumed = fold.read
    with Progress(f"reading {path}", file_size(path)) as progress:
        for chunk in read_events(path, _NO_TIME):
            fold.add(chunk.events)
            progress.update(chunk.consumed, fold.read - consumed)


async def _read_sqlite(path: Path, fold: ReplayFold) -> None:
    reader = await SqliteReader.open_read_only(path)
    try:
        last, position = await reader.last(), 0
        with Progress(f"reading {path}", last) as progress:
            while position < last:
                rows = await reader.events(position, _BATCH_BYTES)
                if not rows:
                    break
                await asyncio.to_thread(fold.add, [event for _, event in rows])
                position = rows[-1][0]
                progress.update(position, position)
    finally:
        await reader.close()


async def _read_elasticsearch(archive: ElasticsearchArchive, fold: ReplayFold) -> None:
    try:
        await archive.check()
        shards = await archive.shards()
        left = [shard for shard in shards if shard.checkpoint >= 0]
        total = sum(shard.documents for shard in left)
        before = fold.read
        with Progress(f"reading {archive.pattern} of {archive.address}", total) as progress:

            async def read_shards() -> None:
                while left:
                    await read(left.pop())

            async def read(shard: Shard) -> None:
                async with aclosing(archive.pages(shard)) as pages:
                    async for page in pages:
                        fold.add_documents(page.documents)
                        done = fold.read - before
                        progress.update(done, done)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(_SHARDS, len(left))):
                        group.create_task(read_shards())
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
    finally:
        await archive.close()
