"""The size of the load, and a crew of workers on a fresh app."""

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.load import Load
from tests.faults.crew import Crew
from tests.faults.size import FULL, SMALL, Size
from tests.servers import Broker

# A client of the tests writes thousands of lines about a broker that a test has stopped.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return FULL if request.config.getoption("--full", default=False) else SMALL


@pytest.fixture(scope="session")
def load(size: Size) -> Load:
    return Load.of_events(size.events, models=20)


@pytest.fixture
async def crew(
    kafka: Broker, topic: Callable[..., str], app_id: str, load: Load, tmp_path: Path, size: Size
) -> AsyncIterator[Crew]:
    """Workers of one app on one source topic; all ended after the test, and their logs checked."""
    async with Crew(kafka.bootstrap, topic(), app_id, load, tmp_path, size) as crew:
        yield crew
    crew.check_logs()
