"""Fixtures for tests with a real broker."""

import asyncio
import gc
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.demo import Demo, running_demo
from tests.support.servers import Broker, ServerError, kafka_address
from tests.support.servers.elasticsearch import VERSIONS, Elastic, shared_server
from tests.support.servers.indices import Indices
from tests.support.servers.process import forbid_servers
from tests.support.servers.shared import Address, SharedThings, ask_at, hold, shared
from tests.support.servers.topics import create_topics

# `bench` is no part of the installed package, and a bare `pytest` doesn't look beside `tests`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

#: Folders and fixtures behind which there is a server, a program that comes with one, or a service.
_FOLDERS = {"faults", "integration"}
_SERVERS = {
    "demo",
    *("kafka", "own_kafka", "making_broker", "secure", "cluster", "network", "own_crew"),
    *("elastic", "secure_elastic", "own_elastic", "shelf", "prometheus", "promtool"),
}

#: Markers of tests that cost much, the longest first.
_COSTLY = ("long", "integration")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="large loads and many examples (make chaos): long"
    )
    parser.addoption(
        "--quick", action="store_true", help="no long tests, none with servers (make test-quick)"
    )


#: Examples of each property test: enough to find what a change breaks, and with --full what is rare.
_EXAMPLES, _FULL_EXAMPLES = 60, 1000

_THINGS = pytest.StashKey[SharedThings]()


def pytest_configure(config: pytest.Config) -> None:
    examples = _FULL_EXAMPLES if config.getoption("--full") else _EXAMPLES
    # No limits of time: how long an example takes depends on what else the machine does.
    unhurried = [HealthCheck.too_slow]
    settings.register_profile(
        "tests", max_examples=examples, deadline=None, suppress_health_check=unhurried
    )
    settings.load_profile("tests")
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    if config.getoption("--quick"):
        forbid_servers()
    if told is not None:
        ask_at(Address(*told["shared"]))
    else:
        config.stash[_THINGS] = SharedThings()
        hold(config.stash[_THINGS])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist is about to start a worker."""
    node.workerinput["shared"] = tuple(node.config.stash[_THINGS].serve())


def pytest_unconfigure(config: pytest.Config) -> None:
    if _THINGS in config.stash:
        config.stash[_THINGS].close()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without the garbage collector: a million objects are made, and all are kept."""
    gc.disable()
    try:
        return (yield)
    finally:
        # Else each of the tests' own collections would look at them again.
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long tests first: else one worker of pytest-xdist would end long after the others."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        folders = item.nodeid.partition("::")[0].split("/")
        if _SERVERS & fixtures or _FOLDERS & set(folders):
            item.add_marker(pytest.mark.integration)
        full = item.get_closest_marker("full")
        if full and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason=f"with --full only: {full.args[0]}"))
    items.sort(key=_rank)
    if config.getoption("--quick"):
        quick = [item for item in items if _rank(item) == len(_COSTLY)]
        config.hook.pytest_deselected(items=items[: len(items) - len(quick)])
        items[:] = quick


def _rank(item: pytest.Item) -> int:
    return next((n for n, name in enumerate(_COSTLY) if item.get_closest_marker(name)), 2)


@pytest.fixture(scope="session")
def kafka() -> Broker:
    """One real broker for the whole run; see `tests.support.servers.kafka_server`."""
    return shared(kafka_address)


@pytest.fixture(scope="session")
def demo() -> Demo:
    """A running demo whose numbers have settled; tests only look at it."""
    return shared(running_demo)


@pytest.fixture
def promtool() -> str:
    """The program that checks what Prometheus is given."""
    path = shutil.which("promtool")
    if path is None:
        pytest.fail("promtool is not on PATH: install the package 'prometheus'")
    return path


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
    """A server of this version, one for the whole run."""
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
