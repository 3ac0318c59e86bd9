"""Fixtures: archives of both kinds, and special Elasticsearch servers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.archive.sqlite.archive import SqliteArchive
from processor.settings import Settings
from tests.conftest import elastic_of
from tests.support.archives.harness import ArchiveHarness, ElasticsearchHarness, SqliteHarness
from tests.support.servers.elasticsearch import (
    VERSIONS,
    ElasticsearchServer,
    StartedElastic,
    secure_server,
)
from tests.support.servers.indices import Indices


@pytest.fixture(params=[*VERSIONS, "sqlite"])
async def archive_harness(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[ArchiveHarness]:
    """An empty archive of each kind, with methods to fill it."""
    if request.param == "sqlite":
        path = tmp_path / "events.sqlite"
        archive = await SqliteArchive.open(path)
        yield SqliteHarness(archive)
        await archive.close()
        return
    indices = Indices(elastic_of(request.param).url)
    elastic_archive = ElasticsearchArchive(indices.url, indices.pattern, Settings.from_env({}), 30)
    yield ElasticsearchHarness(elastic_archive, indices)
    await elastic_archive.close()
    indices.close()


@pytest.fixture(scope="session")
def secure_elastic() -> StartedElastic:
    """A server with HTTPS and authentication."""
    return secure_server()


@pytest.fixture
def own_elastic() -> Iterator[ElasticsearchServer]:
    """A server that a test can stop."""
    with ElasticsearchServer() as server:
        yield server
