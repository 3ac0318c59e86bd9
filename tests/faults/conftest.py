"""The size of the load, and a crew of workers on a fresh app."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

from bench.support.load import Event, Expected, Load
from tests.support.faults.cluster import WorkerCluster
from tests.support.faults.outcomes import OUTCOMES, Outcome, table
from tests.support.faults.size import FULL, SMALL, Size
from tests.support.servers import Broker, KafkaServer
from tests.support.servers.topics import create_topics

# A client of the tests writes thousands of lines about a broker that a test has stopped.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full", default=False):
        for item in items:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return FULL if request.config.getoption("--full", default=False) else SMALL


class KeptLoad(Load):
    """Its events are made once: that takes a second, and each test sends the same."""

    @cached_property
    def _made(self) -> list[Event]:
        return list(super().events())

    @cached_property
    def _counted(self) -> Expected:
        return super().expected()

    def events(self) -> Iterator[Event]:
        return iter(self._made)

    def expected(self) -> Expected:
        return self._counted


@pytest.fixture(scope="session")
def load(size: Size) -> Load:
    return KeptLoad.of_events(size.events, models=20)


@pytest.fixture
def full(size: Size) -> None:
    """For what takes too long in every run of the tests."""
    if size is not FULL:
        pytest.skip("at full size only: make chaos")


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """What this test's fault does; a row of the table."""
    outcome = Outcome(request.node.name.removeprefix("test_").replace("_", " "))
    OUTCOMES.append(outcome)
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OUTCOMES and terminalreporter.config.getoption("--full", default=False):
        terminalreporter.section("faults")
        for line in table(OUTCOMES):
            terminalreporter.line(line)


@pytest.fixture
async def worker_cluster(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    load: Load,
    tmp_path: Path,
    size: Size,
    outcome: Outcome,
) -> AsyncIterator[WorkerCluster]:
    """Workers of one app on one source topic; all ended after the test, and their logs checked."""
    async with WorkerCluster(
        kafka.bootstrap, topic(), app_id, load, tmp_path, size, outcome
    ) as worker_cluster:
        yield worker_cluster
    worker_cluster.check_logs()


@pytest.fixture
async def own_worker_cluster(
    app_id: str, load: Load, size: Size, tmp_path: Path, outcome: Outcome
) -> AsyncIterator[WorkerCluster]:
    """A crew on a broker that may be stopped."""
    with KafkaServer() as server:
        await create_topics(server.bootstrap, ["source"], 8)
        async with WorkerCluster(
            server.bootstrap, "source", app_id, load, tmp_path, size, outcome
        ) as worker_cluster:
            worker_cluster.server = server
            yield worker_cluster
        worker_cluster.check_logs()
