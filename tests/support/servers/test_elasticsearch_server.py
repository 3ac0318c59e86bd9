"""Which Elasticsearch the tests stand on."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.servers import ServerError
from tests.support.servers.elasticsearch import (
    VERSIONS,
    GivenElastic,
    StartedElastic,
    elasticsearch_server,
    shared_server,
)


def test_given_addresses_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_TEST_ELASTICSEARCH", "http://one:9200/")
    with elasticsearch_server(VERSIONS[0]) as server:
        assert server.url == "http://one:9200"
    with pytest.raises(ServerError, match="names no server"), elasticsearch_server(VERSIONS[1]):
        pass


def test_docker_comes_before_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROCESSOR_TEST_ELASTICSEARCH", raising=False)
    monkeypatch.setattr("tests.support.servers.elasticsearch._docker_answers", lambda: True)
    monkeypatch.setattr(
        "tests.support.servers.elasticsearch._docker_elasticsearch",
        lambda version: nullcontext(GivenElastic(f"stand-in:{version}")),
    )
    with elasticsearch_server("8.19.0") as server:
        assert server.url == "stand-in:8.19.0"


@pytest.mark.integration
def test_it_never_runs_as_root() -> None:
    server = shared_server(VERSIONS[0])
    if not isinstance(server, StartedElastic):
        pytest.skip("not started here")
    status = Path(f"/proc/{server.pid}/status").read_text()
    (uid,) = {line.split()[1] for line in status.splitlines() if line.startswith("Uid:")}
    assert uid != "0"
    assert (server.folder / "data").owner() != "root"
