"""Where a service keeps its dead letters: a topic, or the archive of the embedded mode."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from processor.archive.sqlite.archive import SqliteReader
from processor.dead_letters.archive import ArchivedDeadLetters
from processor.dead_letters.topic import DeadLetterTopic
from processor.domain.events.decoder import Decoder
from processor.errors import SettingsError
from processor.kafka.clients import FAULTS, Kafka, explain
from processor.models_file import read_models_file
from processor.settings import Settings
from processor.telemetry import Telemetry

DeadLetters: TypeAlias = DeadLetterTopic | ArchivedDeadLetters


def open_dead_letters(settings: Settings) -> AbstractAsyncContextManager[DeadLetters]:
    """Open the dead letters of the service with these settings."""
    return _in_archive(settings) if settings.embedded else _on_kafka(settings)


@asynccontextmanager
async def _on_kafka(settings: Settings) -> AsyncIterator[DeadLetters]:
    kafka = Kafka(settings, settings.broker)
    try:
        yield DeadLetterTopic(kafka, settings)
    except FAULTS as error:
        raise explain(error, kafka.servers) from None


@asynccontextmanager
async def _in_archive(settings: Settings) -> AsyncIterator[DeadLetters]:
    path = settings.data / "events.sqlite"
    if settings.archive.startswith("sqlite:"):
        path = Path(settings.archive.removeprefix("sqlite:"))
    if not path.exists():
        raise SettingsError(
            f"there is neither a broker nor an archive {path}: set PROCESSOR_BROKER to "
            "kafka://host:port, or PROCESSOR_DATA to the folder of the embedded service"
        )
    reader = await SqliteReader.open_read_only(path)
    try:
        rules = read_models_file(settings.models, settings.custom_statistics)
        decoder = Decoder(rules, Telemetry())
        yield ArchivedDeadLetters(reader, decoder)
    finally:
        await reader.close()
