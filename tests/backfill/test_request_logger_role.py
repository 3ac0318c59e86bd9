"""The request logger waits for missing topics, and does not create them, on real Kafka."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

import processor.kafka.source_topics as source_topics
from processor.archive.elasticsearch.request_log import RequestLog, Written
from processor.backfill.request_logger import RequestLogger
from processor.domain.events.request_log import Logged
from processor.kafka.clients import Kafka, running
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.faults.cluster import until
from tests.support.servers import KafkaServer
from tests.support.servers.topics import create_topics


class _Log:
    """Counts the documents that are to be written."""

    def __init__(self) -> None:
        self.documents = 0

    async def prepare(self) -> None:
        pass

    async def write(self, events: Sequence[Logged]) -> Written:
        self.documents += len(events)
        return Written(len(events), 0)


@pytest.fixture
def creating_broker() -> Iterator[KafkaServer]:
    """A broker that creates each topic that a client asks for."""
    server = KafkaServer()
    server.settings["auto.create.topics.enable"] = "true"
    with server:
        yield server


async def _topics(bootstrap: str) -> set[str]:
    async with running(AIOKafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        return set(await admin.list_topics())


async def _send(bootstrap: str, topic: str) -> None:
    headers = [
        ("ce_type", b"io.seldon.serving.inference.response"),
        ("ce_requestid", b"r"),
        ("ce_inferenceservicename", b"m"),
    ]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(topic, b'{"data":{"ndarray":[1]}}', headers=headers)


@pytest.mark.integration
async def test_it_creates_no_topic_and_reads_each_one_that_appears(
    creating_broker: KafkaServer, app_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_topics, "EVERY", 0.3)
    bootstrap = creating_broker.bootstrap
    log, topics = _Log(), ("first", "second")
    kafka = Kafka(Settings(), (bootstrap,))
    source = source_topics.SourceTopics(kafka, topics)
    role = RequestLogger(kafka, source, app_id, cast(RequestLog, log), Telemetry())
    checks: list[int] = []
    check = source_topics.SourceTopics.check

    async def counted(source: source_topics.SourceTopics) -> None:
        checks.append(1)
        await check(source)

    monkeypatch.setattr(source_topics.SourceTopics, "check", counted)
    watching = asyncio.create_task(source.run())
    task = asyncio.create_task(role.run())
    try:
        await until(lambda: len(checks) >= 3, 60, "checks for the topics")
        assert not await _topics(bootstrap) & set(topics)
        await create_topics(bootstrap, ["second"], 1)
        await _send(bootstrap, "second")
        await until(lambda: log.documents == 1, 60, "the second topic's event")
        assert "first" not in await _topics(bootstrap)
        await create_topics(bootstrap, ["first"], 1)
        await _send(bootstrap, "first")
        await until(lambda: log.documents == 2, 60, "the first topic's event")
        assert not task.done()
    finally:
        task.cancel()
        watching.cancel()
        await asyncio.wait([task, watching])
