"""The metrics port over real HTTP."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.statistics.counts import Counts
from processor.domain.values import PROBABILITY, SCORES
from processor.publish.cooperative import yielding
from processor.publish.interfaces import Problem, WorkerView
from processor.publish.site import make_site
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.fakes import (
    EXPERIMENT,
    NOW,
    WINDOWS,
    FakeCounts,
    FakeHealth,
    many_classes,
)
from tests.support.scrape_parser import parse_openmetrics
from tests.support.valued_counts import probable_counts, probable_items

Client = TestClient[Any, Any]

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(duplicates=4, late=1)


@pytest.fixture
async def client(
    counts_source: FakeCounts, health: FakeHealth, telemetry: Telemetry
) -> AsyncIterator[Client]:
    site = make_site(WorkerView(counts_source, health, telemetry, Settings(), lambda: NOW))
    async with TestClient(TestServer(site)) as client:
        yield client


async def body(client: Client, path: str, status: int = 200) -> Any:
    response = await client.get(path)
    assert response.status == status
    assert response.content_type == "application/json"
    return await response.json()


async def test_metrics_as_text(client: Client, counts_source: FakeCounts) -> None:
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await response.text()
    names = {family.name for family in parse_text(text)}
    assert {"model_judged", "processor_events", "processor_build_info"} <= names
    assert "# EOF" not in text
    assert counts_source.asked_at == NOW


async def test_metrics_as_openmetrics(client: Client) -> None:
    response = await client.get("/metrics", headers={"Accept": PROMETHEUS})
    assert response.headers["Content-Type"].startswith(
        "application/openmetrics-text; version=1.0.0"
    )
    text = await response.text()
    assert text.endswith("# EOF\n")
    families = {family.name: family.type for family in parse_openmetrics(text)}
    assert families["model_accuracy_ratio"] == "gauge"
    assert families["processor_events"] == "counter"
    assert families["processor_build"] == "info"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/plain"),
        ("application/openmetrics-text; version=nonsense", "application/openmetrics-text"),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", "text/plain"),
        ("application/openmetrics-text;q=0", "text/plain"),
    ],
)
async def test_metrics_negotiates(client: Client, accept: str, kind: str) -> None:
    response = await client.get("/metrics", headers={"Accept": accept})
    assert response.content_type == kind


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("gzip;q=0, br", None)])
async def test_metrics_is_compressed_when_that_is_accepted(
    client: Client, accepted: str, encoding: str | None
) -> None:
    async with ClientSession(auto_decompress=False) as session:
        url = client.make_url("/metrics")
        async with session.get(url, headers={"Accept-Encoding": accepted}) as response:
            assert response.headers.get("Content-Encoding") == encoding
            assert "Accept-Encoding" in response.headers["Vary"]
            data = await response.read()
    text = gzip.decompress(data) if encoding else data
    assert b"model_judged{" in text


async def test_head_has_no_body(client: Client) -> None:
    for path in ("/", "/metrics", "/api/models", "/health", "/ready"):
        response = await client.head(path)
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_but_get_and_head(client: Client, method: str) -> None:
    for path in ("/", "/metrics", "/api/models", "/health", "/ready"):
        response = await client.request(method, path)
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", ["/", "/metrics", "/page.js", "/nothing", "/api/models?by=x"])
async def test_every_answer_has_security_headers(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_models_of_one_window_and_basis(client: Client) -> None:
    answer = await body(client, "/api/models?window=5m&by=request")
    assert list(answer) == ["from", "to", "by", "models", "events"]
    assert answer["from"] == "2026-11-20T08:59:00Z"
    assert answer["to"] == "2026-11-20T09:03:59.5Z"
    assert answer["by"] == "request"
    experiment, unjudged = answer["models"]
    assert tuple(experiment[name] for name in ModelKey._fields) == EXPERIMENT
    assert experiment["accuracy"] == 46 / 63
    assert experiment["confusion"][0] == {"actual": "t:0", "predicted": "t:0", "count": 13}
    assert unjudged["accuracy"] is None
    assert unjudged["classes"] == {}
    assert answer["events"]["duplicates"] == 4
    assert answer["events"]["late"] == 1


async def test_models_of_all_time_have_no_start(client: Client) -> None:
    answer = await body(client, "/api/models?window=all&by=feedback")
    assert answer["from"] is None
    assert answer["models"][0]["predictions"] is None


async def test_models_of_all_windows(client: Client) -> None:
    answer = await body(client, "/api/models")
    assert list(answer) == ["at", "windows"]
    assert answer["at"] == "2026-11-20T09:03:59.5Z"
    assert tuple(answer["windows"]) == WINDOWS
    for window in answer["windows"].values():
        assert list(window) == ["request", "feedback"]
        assert [model["deployment"] for model in window["request"]["models"]] == [
            "sklearn",
            "churn",
        ]
    one = await body(client, "/api/models?window=1h&by=feedback")
    assert answer["windows"]["1h"]["feedback"]["models"] == one["models"]


async def test_models_of_one_window_on_both_bases(client: Client) -> None:
    answer = await body(client, "/api/models?window=1h")
    assert {window: list(bases) for window, bases in answer["windows"].items()} == {
        "1h": ["request", "feedback"]
    }


@pytest.mark.parametrize(
    ("query", "parameter", "value", "choices"),
    [
        ("window=2h&by=request", "window", "2h", list(WINDOWS)),
        ("window=all&by=Request", "by", "Request", ["request", "feedback"]),
        ("window=", "window", "", list(WINDOWS)),
    ],
)
async def test_wrong_choice_is_a_400_that_names_it(
    client: Client, query: str, parameter: str, value: str, choices: list[str]
) -> None:
    answer = await body(client, f"/api/models?{query}", 400)
    assert answer["parameter"] == parameter
    assert answer["value"] == value
    assert answer["choices"] == choices
    assert all(choice in answer["error"] for choice in choices)


@pytest.mark.parametrize("mode", [PROBABILITY, SCORES])
async def test_models_have_the_threshold_of_the_models_file_if_one_decides(mode: int) -> None:
    counted = probable_counts(probable_items(2, 50), ("no", "yes"), mode)
    counts = FakeCounts({EXPERIMENT: counted})
    rules = ModelRules([Rule("*/*", threshold=0.8)])
    view = WorkerView(counts, FakeHealth(), Telemetry(), Settings(), lambda: NOW, rules=rules)
    async with TestClient(TestServer(make_site(view))) as client:
        async with client.get("/api/models?window=all&by=request") as answer:
            (model,) = (await answer.json())["models"]
        names = dict(zip(ModelKey._fields, EXPERIMENT, strict=True))
        async with client.get("/api/page", params={"window": "all", **names}) as answer:
            detail = (await answer.json())["detail"]
    current = [each for each in detail["panels"]["thresholds"] if each["current"]]
    if mode == SCORES:
        assert model["threshold"] is None
        assert detail["result"].get("threshold") is None
        assert current == []
    else:
        assert model["threshold"] == detail["result"]["threshold"] == 0.8
        (one,) = current
        assert one["scores"]["threshold"] >= 0.8


async def test_models_are_capped(client: Client, counts_source: FakeCounts) -> None:
    counts_source.models[EXPERIMENT] = many_classes(100)
    answer = await body(client, "/api/models?window=all&by=request")
    assert len(answer["models"][0]["classes"]) == 64
    assert answer["models"][0]["confusion"][-1]["actual"] == "other"


async def test_models_with_a_name_that_is_not_unicode(
    client: Client, counts_source: FakeCounts
) -> None:
    counts_source.models = {EXPERIMENT._replace(model="\udcff"): Counts(predictions=1)}
    answer = await body(client, "/api/models?window=all&by=request")
    assert answer["models"][0]["model"] == "\udcff"
    assert (await client.get("/metrics")).status == 200


async def test_health(client: Client, health: FakeHealth) -> None:
    assert await body(client, "/health") == {"alive": True, "reason": "", "problems": []}
    health.is_alive = False
    problem = Problem("disk", "the disk is full", "2026-11-20T09:00:00Z", "make room", True)
    health.open_problems = (problem,)
    assert await body(client, "/health", 503) == {
        "alive": False,
        "reason": "no progress for 60 s",
        "problems": [
            {
                "cause": "disk",
                "what": "the disk is full",
                "since": "2026-11-20T09:00:00Z",
                "remedy": "make room",
                "unready": True,
            }
        ],
    }


async def test_ready(client: Client, health: FakeHealth) -> None:
    assert await body(client, "/ready") == {
        "ready": True,
        "reason": "",
        "bootstrap": {
            "complete": True,
            "documents": 1200,
            "total": None,
            "rate": 0.0,
            "seconds_left": None,
        },
        "partitions": {"observations": [0, 3], "deltas": [1]},
        "lag": 7,
        "complete": True,
        "problems": [],
    }
    health.is_ready = False
    assert (await body(client, "/ready", 503))["reason"] == "the broker does not answer"
    assert (await body(client, "/ready?wait=bootstrap", 503))["reason"] == (
        "the broker does not answer"
    )


async def test_ready_can_wait_for_the_bootstrap(client: Client, health: FakeHealth) -> None:
    health.bootstrapped = False
    assert (await body(client, "/ready"))["ready"] is True
    waiting = await body(client, "/ready?wait=bootstrap", 503)
    assert waiting["ready"] is False
    assert waiting["reason"]
    health.bootstrapped = True
    assert (await body(client, "/ready?wait=bootstrap"))["ready"] is True
    assert (await body(client, "/ready?wait=x", 400))["choices"] == ["bootstrap", "complete"]
    health.complete = False
    assert (await body(client, "/ready?wait=bootstrap"))["complete"] is False
    assert "not counted yet" in (await body(client, "/ready?wait=complete", 503))["reason"]


async def test_page_is_complete_and_needs_nothing_from_outside(client: Client) -> None:
    response = await client.get("/")
    assert response.content_type == "text/html"
    page = await response.text()
    assert "{{" not in page
    assert 'data-windows="5m 1h 24h 7d all"' in page
    assert 'data-bases="request feedback"' in page
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    local = [link for link in links if not link.startswith("data:")]
    assert {"page.css", "page.js", "metrics"} <= set(local)
    for link in local:
        assert (await client.get(f"/{link}")).status == 200
    web = files("processor.publish") / "web"
    scripts = [file.name for file in web.iterdir() if file.is_file()]
    for folder in ("late", "work"):
        scripts += [f"{folder}/{file.name}" for file in (web / folder).iterdir()]
    scripts.remove("page.html")
    assert {"page.css", "page.js", "format.js", "late/card.js"} <= set(scripts)
    for name in scripts:
        response = await client.get(f"/{name}")
        assert response.status == 200
        # A name, not an address: nothing is asked of it.
        text = (await response.text()).replace('"http://www.w3.org/2000/svg"', "")
        assert "http://" not in text
        assert "https://" not in text
        # Labels are anybody's text: nothing that makes markup or code of it.
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page)


async def test_a_long_answer_lets_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    items = [item async for item in yielding(range(50), time_slice=0.0)]
    task.cancel()
    assert items == list(range(50))
    assert turns >= 49


async def test_a_worker_without_models(client: Client, counts_source: FakeCounts) -> None:
    counts_source.models.clear()
    assert (await body(client, "/api/models?window=all&by=request"))["models"] == []
    text = await (await client.get("/metrics")).text()
    assert not re.search("^model_", text, re.MULTILINE)
    assert (await body(client, "/api/models"))["windows"]["all"]["feedback"] == {"models": []}


async def test_an_address_that_is_not_there_is_answered_with_those_that_are(client: Client) -> None:
    found = await body(client, "/api/model", 404)
    assert found["error"].startswith("there is no GET /api/model: GET /, /metrics, /api/models, ")
    assert {"/health", "/ready"} <= set(found["routes"])
    response = await client.post("/metrics")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert "there is no POST /metrics" in (await response.json())["error"]
