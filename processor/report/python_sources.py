"""The sources of the Python API: what `evaluate` accepts, and a fold of it."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from processor.domain.model_rules import ModelRules
from processor.domain.values import Task
from processor.errors import SettingsError
from processor.replay.fold import ReplayFold
from processor.replay.progress import listener
from processor.replay.selection import Selection
from processor.replay.tables.columns import Columns
from processor.replay.tables.objects import ObjectLines
from processor.replay.tables.stored import FrameTable

if TYPE_CHECKING:
    from processor.replay.sources import Source
    from processor.settings import Settings

T = TypeVar("T")


def sources_of(source: Any) -> "list[Source]":
    """The argument of `evaluate` as a list of sources."""
    if isinstance(source, str | os.PathLike) or _is_frame(source):
        return [_source(source)]
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise SettingsError(
            f"source is {type(source).__name__}: give a path, an address, a DataFrame, an iterable of "
            "dicts, or a list of paths, addresses and DataFrames"
        )
    if isinstance(source, list | tuple) and source and not isinstance(source[0], Mapping):
        return [_source(each) for each in source]
    return [ObjectLines(source)]


def _source(source: Any) -> "Source":
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if _is_frame(source):
        return FrameTable(source)
    raise SettingsError(
        f"one of the sources is {type(source).__name__}: give paths, addresses and DataFrames"
    )


def _is_frame(source: object) -> bool:
    # Without pandas in memory there is no DataFrame, and importing it takes half a second.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


async def fold_of(
    sources: "list[Source]",
    models: str | os.PathLike[str] | Mapping[str, Any] | None,
    task: Task | None,
    selection: Selection,
    columns: Columns,
) -> tuple[ReplayFold, int, list[str]]:
    """The fold of all sources, the maturity of predictions in seconds, and the messages that a command
    would print to stderr."""
    # Here, so that importing this module stays cheap.
    from processor.replay.sources import Access, fold_sources
    from processor.settings import Settings

    settings = Settings.from_env()
    options = {}
    if any(isinstance(source, str) and source.startswith("kafka:") for source in sources):
        from processor.kafka.clients import kafka_options

        options = kafka_options(settings)
    messages: list[str] = []
    listener.set(messages.append)
    access = Access(settings, kafka=options, columns=columns)
    rules = _rules(models, settings).with_task(task)
    fold = await fold_sources(sources, rules, selection, access)
    return fold, settings.label_maturity, messages


def _rules(
    models: str | os.PathLike[str] | Mapping[str, Any] | None, settings: "Settings"
) -> ModelRules:
    from processor.models_file import read_models, read_models_file

    if isinstance(models, Mapping):
        return read_models(models, settings.custom_statistics)
    path = settings.models if models is None else Path(models)
    return read_models_file(path, settings.custom_statistics)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop; in another thread if this one has a running loop, as in a
    notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
