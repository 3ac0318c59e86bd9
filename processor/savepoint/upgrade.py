"""A start on the log of an older schema: it moves the state of the app to a log of its own."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from processor.domain.log.observations import SCHEMA_VERSION
from processor.errors import SavepointError
from processor.kafka.clients import Kafka, running
from processor.kafka.topics import Topics, find_log, loaded_savepoint
from processor.replay.progress import listener
from processor.savepoint.commands import load_savepoint, save_savepoint
from processor.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between looks at what another worker does.
_POLL = 1.0


async def upgraded(settings: Settings, kafka: Kafka, report: Callable[[str], None]) -> Settings:
    """The settings with which to run: with ``PROCESSOR_UPGRADE=auto``, and an app whose log has an older
    schema, those of the app that continues it, which has the schema's number behind its name.

    One worker saves and loads; the others wait for it. ``report`` is called with the reason for a wait.
    `ProcessorError` if the state can't be saved or loaded.
    """
    if settings.upgrade != "auto" or not await _exists(kafka, settings):
        return settings
    old = await find_log(kafka, settings)
    if old.schema >= SCHEMA_VERSION:
        return settings
    new = replace(settings, app_id=f"{settings.app_id}-schema{SCHEMA_VERSION}")
    listener.set(logger.info)  # in place of progress bars
    path = settings.data / f"upgrade-{new.app_id}.savepoint"
    while not await _is_loaded(kafka, new):
        if await _members(kafka, settings.app_id):
            report(
                f"workers of the app {settings.app_id} with schema {old.schema} still run: stop them"
            )
        else:
            report(f"the log has schema {old.schema}: its state moves to the app {new.app_id}")
            await _move(settings, new, path)
        await asyncio.sleep(_POLL)
    return new


async def _move(old: Settings, new: Settings, path: Path) -> None:
    """Save and load, unless another worker is loading. A savepoint whose load ended early is loaded
    again, since only the same one can go on."""
    if not await asyncio.to_thread(path.exists):
        saved = await save_savepoint(old, str(path))
        logger.info("upgrade: saved %d requests of the app %s", saved.requests, old.app_id)
    try:
        loaded = await load_savepoint(new, str(path), without_source=False)
    except SavepointError as error:
        logger.info("upgrade: %s; waiting for the worker that loads", error)
        return
    logger.info("upgrade: loaded %d requests into the app %s", loaded.requests, new.app_id)


async def _exists(kafka: Kafka, settings: Settings) -> bool:
    return bool(await kafka.partitions((Topics.of(settings.app_id).control,)))


async def _is_loaded(kafka: Kafka, settings: Settings) -> bool:
    return await _exists(kafka, settings) and await loaded_savepoint(kafka, settings) is not None


async def _members(kafka: Kafka, group: str) -> int:
    """The number of members of a consumer group."""
    async with running(kafka.admin()) as admin:
        answers = await admin.describe_consumer_groups([group])
    return sum(len(found[5]) for answer in answers for found in answer.groups)
