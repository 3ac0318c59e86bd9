"""The document of all routes, against the two ports."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
import schemathesis
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.support.generated_requests import GeneratedRequests
from processor.ingress.http import ingress_port, make_ingress
from processor.openapi import document
from processor.publish.interfaces import WorkerView
from processor.publish.site import make_site, metrics_port
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.support.fake_sink import NOW, FakeSink
from tests.support.fakes import EXPERIMENT, FakeCounts, FakeHealth, experiment_counts

SETTINGS = Settings()


def apps(telemetry: Telemetry) -> dict[str, web.Application]:
    """The applications of both ports, by name."""
    sink = FakeSink()
    sink.decodes = True
    view = WorkerView(
        FakeCounts({EXPERIMENT: experiment_counts()}), FakeHealth(), telemetry, SETTINGS
    )
    return {
        "ingress": make_ingress(
            sink,
            SETTINGS,
            lambda: NOW,
            telemetry=telemetry,
            other_ports=(metrics_port(SETTINGS),),
        ),
        "metrics": make_site(view, (ingress_port(SETTINGS),)),
    }


@contextmanager
def served(app: web.Application) -> Iterator[str]:
    """Serve an application in a thread of its own; yields its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = TestServer(app)
    try:
        asyncio.run_coroutine_threadsafe(server.start_server(), loop).result(60)
        yield str(server.make_url("/"))
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@pytest.mark.parametrize("port", ["ingress", "metrics"])
def test_the_document_has_the_routes_that_the_ports_answer(port: str) -> None:
    found = apps(Telemetry())
    answered = {
        (route.method, route.resource.canonical)
        for route in found[port].router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    paths = msgspec.json.decode(document([ingress_port(SETTINGS), metrics_port(SETTINGS)]))["paths"]
    described = {
        (method.upper(), path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if port in operation["tags"]
    }
    assert answered == described


def test_the_document_is_openapi() -> None:
    described = document([ingress_port(SETTINGS), metrics_port(SETTINGS)])
    schemathesis.openapi.from_dict(msgspec.json.decode(described)).validate()


def test_the_document_has_the_ports_of_the_settings() -> None:
    settings = Settings(ingress_port=18443, ingress_cert=Path("cert.pem"), metrics_port=0)
    found = msgspec.json.decode(document([ingress_port(settings), metrics_port(settings)]))
    servers = [(each["url"], each["variables"]["port"]["default"]) for each in found["servers"]]
    # A free port is chosen later: the default stands for it.
    assert servers == [("https://{host}:{port}", "18443"), ("http://{host}:{port}", "9102")]


def test_both_ports_have_the_same_document() -> None:
    found = set()
    for app in apps(Telemetry()).values():
        with served(app) as url, urlopen(f"{url}openapi.json", timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("application/json")
            found.add(answer.read())
    assert len(found) == 1


def test_generated_requests_get_the_answers_that_the_document_names() -> None:
    telemetry = Telemetry()
    for port, app in apps(telemetry).items():
        with served(app) as url:
            answers = GeneratedRequests(url).send(port, 200)
        assert not answers.failures, "\n".join(answers.failures[:5])
        assert sum(answers.by_path.values()) >= 50, answers.by_path
        if port == "ingress":
            counted = telemetry.ingress_requests
            counted["/openapi.json", "200"] -= 1  # the document itself
            assert +counted == answers.by_path
