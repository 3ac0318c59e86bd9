"""An app on a fresh topic with an archive in Elasticsearch: what a test of the two begins with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch

from tests.support.faults.cluster import Worker
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import Elastic
from tests.support.workers import (
    DATA,
    Get,
    Start,
    archive_settings,
    bootstrapped,
    counted,
    metric,
    models,
    produce,
)


@dataclass(frozen=True)
class ArchiveApp:
    """The source topic, the servers and the workers of one app; all its workers share its id."""

    kafka: Broker
    source: str
    app_id: str
    elastic: Elastic
    client: AsyncElasticsearch
    get: Get
    _start: Start

    def start(self, **more: str) -> Worker:
        """Start a worker with these settings beside the app's own, which they may replace."""
        settings = archive_settings(self.kafka, self.source, self.app_id, self.elastic)
        return self._start(**settings | more)

    async def produce(self, path: Path = DATA / "events.ndjson") -> None:
        await produce(self.kafka.bootstrap, self.source, path)

    async def bootstrapped(self, worker: Worker) -> None:
        await bootstrapped(self.get, worker)

    async def counted(self, worker: Worker, **wanted: int) -> None:
        """Wait until the first model has these numbers."""
        await counted(self.get, worker, **wanted)

    async def metric(self, worker: Worker, name: str, value: float) -> None:
        """Wait until a metric has this value."""
        await metric(self.get, worker, name, value)

    async def model(self, worker: Worker) -> dict[str, Any]:
        """The only model that there is."""
        (found,) = await models(self.get, worker)
        return found


@pytest.fixture
def app(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    elastic: Elastic,
    client: AsyncElasticsearch,
    get: Get,
    start: Start,
) -> ArchiveApp:
    return ArchiveApp(kafka, topic(partitions=8), app_id, elastic, client, get, start)
