"""The command ``processor check``: tests each thing that the service needs."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.sqlite.archive import SqliteReader
from processor.domain.native import use_native
from processor.embedded.broker import EmbeddedBroker
from processor.errors import ProcessorError
from processor.ingress.tls import ingress_tls
from processor.kafka.clients import FAULTS, Kafka, running
from processor.kafka.topics import Topics, specs
from processor.models_file import read_models_file
from processor.settings import Settings


class Finding(NamedTuple):
    """One line of the output: ``subject`` is the thing that was tested."""

    subject: str
    ok: bool
    detail: str


async def check(settings: Settings) -> AsyncIterator[Finding]:
    """Test settings, models file, ingress, broker, topics and archive; yields findings as they come.

    It changes nothing, and reports errors as findings.
    """
    yield Finding("settings", True, "valid")
    yield Finding(
        "native extension", True, "in use" if use_native else f"{_why_not(settings)}: slower"
    )
    try:
        read_models_file(settings.models, settings.custom_statistics)
        yield Finding("models file", True, str(settings.models or "none"))
    except ProcessorError as error:
        yield Finding("models file", False, str(error))
    try:
        yield Finding("ingress", True, _ingress_security(settings))
    except ProcessorError as error:
        yield Finding("ingress", False, str(error))
    if settings.embedded:
        async for finding in _check_embedded(settings):
            yield finding
        return
    kafka = Kafka(settings, settings.broker)
    try:
        async for finding in _check_kafka(kafka, settings):
            yield finding
    except FAULTS as error:
        yield Finding("broker", False, str(await kafka.explain(error)))
    if settings.elasticsearch:
        archive = ElasticsearchArchive(settings.archive, settings.index, settings)
        try:
            yield Finding("archive", True, await archive.check())
        except ProcessorError as error:
            yield Finding("archive", False, str(error))
        finally:
            await archive.close()
    else:
        yield Finding("archive", True, "none")


def _why_not(settings: Settings) -> str:
    return "switched off" if settings.compiled == "off" else "not installed"


def _ingress_security(settings: Settings) -> str:
    if ingress_tls(settings) is None:
        return "plain HTTP"
    return "TLS, callers need a certificate" if settings.ingress_ca else "TLS"


async def _check_embedded(settings: Settings) -> AsyncIterator[Finding]:
    broker = EmbeddedBroker()
    try:
        await broker.start()
        yield Finding("broker", True, "embedded, starts and answers")
    except ProcessorError as error:
        yield Finding("broker", False, str(error))
    finally:
        await broker.stop()
    path = settings.data / "events.sqlite"
    if settings.archive.startswith("sqlite:"):
        path = type(path)(settings.archive.removeprefix("sqlite:"))
    if not path.exists():
        yield Finding("archive", True, f"{path} will be created at the first start")
        return
    try:
        reader = await SqliteReader.open_read_only(path)
        try:
            yield Finding("archive", True, f"{path} contains {await reader.count()} events")
        finally:
            await reader.close()
    except ProcessorError as error:
        yield Finding("archive", False, str(error))


async def _check_kafka(kafka: Kafka, settings: Settings) -> AsyncIterator[Finding]:
    async with running(kafka.admin()) as admin:
        brokers = (await admin.describe_cluster())["brokers"]
        servers = ", ".join(kafka.servers)
        yield Finding("broker", True, f"{servers} answers, {len(brokers)} in the cluster")
        found = {
            topic["topic"]: len(topic["partitions"])
            for topic in await admin.describe_topics(list(await admin.list_topics()))
        }
    for name in settings.topics:
        if name in found:
            yield Finding(f"topic {name}", True, f"{found[name]} partitions")
        else:
            yield Finding(
                f"topic {name}", False, "does not exist: create it, or correct PROCESSOR_TOPICS"
            )
    for spec in specs(settings, Topics.of(settings.app_id)):
        partitions = found.get(spec.name)
        if partitions is None:
            yield Finding(f"topic {spec.name}", True, "will be created at the first start")
        else:
            yield Finding(
                f"topic {spec.name}",
                partitions == spec.partitions,
                f"{partitions} partitions"
                + ("" if partitions == spec.partitions else f", not {spec.partitions}"),
            )
