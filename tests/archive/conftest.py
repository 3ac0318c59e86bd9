"""Archives of both kinds, and Elasticsearch servers of special kinds."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from processor.archive.elasticsearch import ElasticsearchArchive
from processor.archive.sqlite import SqliteArchive
from processor.settings import Settings
from tests.archive.shelves import ElasticsearchShelf, Shelf, SqliteShelf
from tests.conftest import elastic_of
from tests.servers.elasticsearch import VERSIONS, ElasticsearchServer, secure_server
from tests.servers.indices import Indices


@pytest.fixture(params=[*VERSIONS, "sqlite"])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    """An empty archive of each kind, with a way to fill it."""
    if request.param == "sqlite":
        path = tmp_path / "events.sqlite"
        archive = await SqliteArchive.open(path)
        yield SqliteShelf(archive)
        await archive.close()
        return
    indices = Indices(elastic_of(request.param).url)
    held = ElasticsearchArchive(indices.url, indices.pattern, Settings.from_env({}), 30)
    yield ElasticsearchShelf(held, indices)
    await held.close()
    indices.close()


@pytest.fixture(scope="session")
def secure_elastic() -> ElasticsearchServer:
    """A server that speaks HTTPS and wants credentials."""
    return secure_server()


@pytest.fixture
def own_elastic() -> Iterator[ElasticsearchServer]:
    """A server that a test can stop."""
    with ElasticsearchServer() as server:
        yield server
