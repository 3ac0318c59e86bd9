"""Where a replay reads: events files and the SQLite archive."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from processor.archive.sqlite import SqliteReader
from processor.domain.models import ModelRules
from processor.domain.results import Replay
from processor.errors import SettingsError
from processor.replay.files import file_size, read_events
from processor.replay.fold import ReplayFold, Selection
from processor.replay.progress import Progress

_BATCH_BYTES = 8 << 20
#: A line of a file without ``ce-time`` has no time at all.
_NO_TIME = -1


async def replay_sources(sources: Sequence[str], rules: ModelRules, selection: Selection) -> Replay:
    """Fold all sources, one after another; the result does not depend on their order."""
    fold = ReplayFold(rules, selection)
    for source in sources:
        if source.startswith("sqlite:"):
            await _read_sqlite(Path(source.removeprefix("sqlite:")), fold)
        elif source.startswith(("http://", "https://", "kafka:", "elasticsearch:")):
            raise SettingsError(
                f"source {source!r} can't be replayed: use an events file or sqlite:PATH"
            )
        else:
            _read_file(source, fold)
    return fold.result()


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
                rows = await reader.scan(position, _BATCH_BYTES)
                if not rows:
                    break
                await asyncio.to_thread(fold.add, [event for _, event in rows])
                position = rows[-1][0]
                progress.update(position, position)
    finally:
        await reader.close()
