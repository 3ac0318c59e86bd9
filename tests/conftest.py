"""Fixtures for tests with a real broker."""

import asyncio
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.demo import Demo, running_demo
from tests.support.servers import Broker, ServerError, kafka_server
from tests.support.servers.elasticsearch import VERSIONS, Elastic, shared_server
from tests.support.servers.indices import Indices
from tests.support.servers.topics import create_topics

# `bench` is no part of the installed package, and a bare `pytest` doesn't look beside `tests`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="tests of loads at full size (make chaos): long"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """One real broker for the whole session; see `tests.support.servers.kafka_server`."""
    with kafka_server() as broker:
        yield broker


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """A running demo whose numbers have settled; tests only look at it."""
    with running_demo() as demo:
        yield demo


@pytest.fixture
def app_id() -> str:
    """A name that no other test has, for PROCESSOR_APP_ID and consumer groups."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(kafka: Broker) -> Callable[..., str]:
    """`topic(partitions=8)` makes a fresh source topic and returns its name."""

    def make(partitions: int = 8) -> str:
        name = f"source-{uuid.uuid4().hex[:12]}"
        # In a thread, since an async test already runs a loop in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, create_topics(kafka.bootstrap, [name], partitions)).result(60)
        return name

    return make


def elastic_of(version: str) -> Elastic:
    """A server of this version, one for the whole session."""
    try:
        return shared_server(version)
    except ServerError as error:
        if "names no server" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session", params=VERSIONS)
def elastic(request: pytest.FixtureRequest) -> Elastic:
    """A server of each version."""
    return elastic_of(request.param)


@pytest.fixture
def indices(elastic: Elastic) -> Iterator[Indices]:
    """Fresh indices on each server."""
    made = Indices(elastic.url)
    yield made
    made.close()
