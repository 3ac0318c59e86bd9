"""Results that are stored in Elasticsearch."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from tests.support.reports.command import output_of, processor
from tests.support.reports.traffic import HOSTILE, traffic, write
from tests.support.servers import ServerError
from tests.support.servers.elasticsearch import (
    USER,
    VERSIONS,
    secure_server,
    shared_server,
)

# All results are in one index, so these tests must not run at the same time.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("stored results")]

PERIOD = ("--from", "2026-03-01T01:00:00Z", "--to", "2026-03-01T04:00:00.000000001Z")


def _url(version: str) -> str:
    try:
        return shared_server(version).url
    except ServerError as error:
        if "names no server" in str(error):
            pytest.skip(str(error))
        raise


@contextmanager
def _without_results(url: str) -> Iterator[str]:
    """Remove the results of other tests before, and those of this one after."""
    client = Elasticsearch(url, request_timeout=60)

    def clear() -> None:
        for index in client.indices.get(index="model-metrics-*"):
            client.indices.delete(index=index)
        client.options(ignore_status=404).indices.delete_index_template(name="model-metrics")

    clear()
    yield url
    clear()
    client.close()


@pytest.fixture(params=VERSIONS)
def each_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with _without_results(_url(request.param)) as url:
        yield url


@pytest.fixture
def url() -> Iterator[str]:
    with _without_results(_url(VERSIONS[0])) as url:
        yield url


def listed(url: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        output_of("report", "--stored", "--format", "json", *options, archive=url)
    )["results"]
    return found


@pytest.mark.long
def test_results_are_kept_once_by_model_period_and_basis(tmp_path: Path, each_url: str) -> None:
    url = each_url
    assert "no results stored" in output_of("report", "--stored", archive=url)
    assert listed(url) == []
    # Labels that would be field names, or empty, in an index of their own fields.
    path = write(tmp_path / "a.ndjson", traffic(150, 5, (*HOSTILE, ".", "a.b.c"), shadow=0.4))
    replays = {}
    for by in ("request", "feedback"):
        for period in ((), PERIOD):
            options = ("--by", by, *period)
            replay = json.loads(output_of("replay", path, *options, "--store", archive=url))
            replays[by, replay["from"]] = replay
    results = listed(url)
    assert len(results) == 8
    for result in results:
        replay = replays[result["by"], result["from"]]
        assert result["to"] == replay["to"]
        assert result["models"][0] in replay["models"]
    assert [each["models"][0]["predictor"] for each in results] == ["default"] * 4 + ["shadow"] * 4

    # Stored again with other numbers, a result replaces the first one.
    more = write(tmp_path / "b.ndjson", traffic(80, 5, ("x", "y")))
    output_of("report", more, "--store", archive=url)
    (changed,) = [
        each
        for each in listed(url, "--by", "request")
        if each["from"] is None and each["models"][0]["predictor"] == "default"
    ]
    assert changed["models"] == json.loads(output_of("replay", more))["models"]
    client = Elasticsearch(url)
    assert client.count(index="model-metrics-*")["count"] == 8
    assert len({each["stored_at"] for each in listed(url)}) == 5

    mapping = client.indices.get_mapping(index="model-metrics-*")
    client.close()
    (properties,) = [each["mappings"]["properties"] for each in mapping.values()]
    assert properties["from"]["type"] == "date_nanos"
    assert properties["accuracy"]["type"] == "double"
    assert "properties" not in properties["classes"]


def test_stored_results_are_chosen_and_shown(tmp_path: Path, url: str) -> None:
    events = list(traffic(120, 5, ("x", "y"), shadow=1.0))
    for each in events:
        if int(each["headers"]["ce-requestid"][1:]) % 2:
            each["headers"]["ce-inferenceservicename"] = "one"
        else:
            each["headers"]["ce-inferenceservicename"] = "two"
    path = write(tmp_path / "events.ndjson", events)
    output_of("report", path, "--store", archive=url)
    output_of("report", path, *PERIOD, "--store", archive=url)
    assert len(listed(url)) == 8
    assert len(listed(url, "--deployment", "one")) == 4
    assert len(listed(url, "--deployment", "one", *PERIOD)) == 2
    ran = processor("report", "--stored", "--namespace", "shoq", archive=url)
    assert ran.returncode == 1
    assert "no model matches --namespace shoq: did you mean shop/one or shop/two?" in ran.stderr
    assert listed(url, "--by", "feedback") == []
    command = ("report", "--stored", "--deployment", "two")
    text = output_of(*command, archive=url)
    assert len(text.splitlines()) == 5
    assert "shop/two/default/clf" in text
    rows = list(csv.DictReader(io.StringIO(output_of(*command, "--format", "csv", archive=url))))
    assert {row["deployment"] for row in rows} == {"two"}
    assert {row["from"] for row in rows} == {"", PERIOD[1]}
    page = output_of(*command, "--format", "html", archive=url)
    assert page.count("<article") == 4
    assert page.rstrip().endswith("</html>")
    ran = processor(*command, "--format", "openmetrics", archive=url)
    assert ran.returncode == 2
    assert "stored results have no openmetrics" in ran.stderr


def test_a_single_result_is_shown_whole(tmp_path: Path, url: str) -> None:
    path = write(tmp_path / "a.ndjson", traffic(60, 5, ("x", "y")))
    whole = output_of("report", path, "--as-of", "2026-03-02T00:00:00Z", "--store", archive=url)
    stored = output_of("report", "--stored", archive=url)
    assert "as known on 2026-03-02T00:00:00Z" in stored
    assert stored.split("\n", 1)[1].rstrip() in whole


def test_foreign_documents_are_named(url: str) -> None:
    client = Elasticsearch(url)
    client.index(index="model-metrics-v1", id="x1", document={"hello": 1}, refresh=True)
    client.close()
    ran = processor("report", "--stored", archive=url)
    assert ran.returncode == 1
    assert "document 'x1' of 'model-metrics-v1' is not a result" in ran.stderr


def test_errors_say_what_to_set(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ndjson", traffic(5, 5, ("x", "y")))
    for arguments in (("report", "--stored"), ("replay", path, "--store")):
        ran = processor(*arguments)
        assert ran.returncode == 2
        assert "PROCESSOR_ARCHIVE, which is not set" in ran.stderr
    server = secure_server()
    settings = {"archive": server.url, "es_ca": str(server.ca), "es_user": USER}
    ran = processor("replay", path, "--store", **settings, es_password="not-the-pass")
    assert ran.returncode == 1
    assert "refuses the credentials (401)" in ran.stderr.splitlines()[-1]
    assert "not-the-pass" not in ran.stderr
