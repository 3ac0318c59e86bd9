"""Real Elasticsearch servers for tests."""

from collections.abc import Iterator

import pytest

from tests.servers import ServerError
from tests.servers.elasticsearch import (
    VERSIONS,
    Elastic,
    ElasticsearchServer,
    secure_server,
    shared_server,
)
from tests.servers.indices import Indices


@pytest.fixture(scope="session", params=VERSIONS)
def elastic(request: pytest.FixtureRequest) -> Elastic:
    """A server of each version for the whole session."""
    try:
        return shared_server(request.param)
    except ServerError as error:
        if "names no server" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture
def indices(elastic: Elastic) -> Iterator[Indices]:
    """Fresh indices on each server."""
    made = Indices(elastic.url)
    yield made
    made.close()


@pytest.fixture(scope="session")
def secure_elastic() -> ElasticsearchServer:
    """A server that speaks HTTPS and wants credentials."""
    return secure_server()


@pytest.fixture
def own_elastic() -> Iterator[ElasticsearchServer]:
    """A server that a test can stop."""
    with ElasticsearchServer() as server:
        yield server
