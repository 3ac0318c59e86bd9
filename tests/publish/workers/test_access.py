"""The token of the metrics port, and the address that a worker announces."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.errors import SettingsError
from processor.publish.site import make_site
from processor.publish.workers.access import metrics_tls
from processor.publish.workers.address import own_address, parse_worker_url
from processor.settings import Settings
from tests.publish.served import Site
from tests.support.fakes import FakeCounts

PATHS = ("/", "/metrics", "/api/models", "/api/workers", "/api/worker/models", "/page.js", "/x")


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    settings = Settings.from_env({"PROCESSOR_METRICS_TOKEN": "s3cret"})
    site = Site(FakeCounts({}), settings=settings)
    async with TestClient(TestServer(make_site(site))) as client:
        yield client


def login(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_shown_without_the_token(client: TestClient[Any, Any], path: str) -> None:
    response = await client.get(path)
    assert response.status == 401
    schemes = response.headers.getall("WWW-Authenticate")
    assert schemes == ['Basic realm="any name, the token as password"', "Bearer"]
    body = await response.json()
    assert body == {"error": "a token is needed: PROCESSOR_METRICS_TOKEN"}


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_need_no_token(client: TestClient[Any, Any], path: str) -> None:
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        (login("anybody", "s3cret"), 200),
        (login("", "s3cret"), 200),
        ("Bearer s3cre", 401),
        ("Bearer s3crets", 401),
        ("s3cret", 401),
        ("Bearer", 401),
        ("Basic s3cret", 401),
        ("Basic !!!", 401),
        (login("s3cret", ""), 401),
        ("Digest s3cret", 401),
    ],
)
async def test_the_token(client: TestClient[Any, Any], header: str, status: int) -> None:
    response = await client.get("/api/models", headers={"Authorization": header})
    assert response.status == status


async def test_no_token_no_question() -> None:
    async with TestClient(TestServer(make_site(Site(FakeCounts({}))))) as client:
        assert (await client.get("/api/models")).status == 200


def test_plain_http_unless_there_is_a_certificate() -> None:
    assert metrics_tls(Settings()) == (None, None)


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"METRICS_CERT": "a.pem"}, "PROCESSOR_METRICS_CERT and PROCESSOR_METRICS_KEY go together"),
        ({"METRICS_CA": "a.pem"}, "PROCESSOR_METRICS_CA checks the certificates of other workers"),
        ({"ADVERTISED_ADDRESS": "http://a"}, "write host:port, or a host alone"),
        ({"ADVERTISED_ADDRESS": "a b"}, "write host:port, or a host alone"),
        ({"ADVERTISED_ADDRESS": "a:0"}, "'0' is not a port"),
        ({"ADVERTISED_ADDRESS": "a:b"}, "'b' is not a port"),
        ({"ADVERTISED_ADDRESS": ":9102"}, "write host:port, or a host alone"),
    ],
)
def test_wrong_settings(env: dict[str, str], error: str) -> None:
    with pytest.raises(SettingsError, match=error):
        Settings.from_env({f"PROCESSOR_{name}": value for name, value in env.items()})


def test_a_certificate_that_is_not_there() -> None:
    files = {"PROCESSOR_METRICS_CERT": "/no/cert.pem", "PROCESSOR_METRICS_KEY": "/no/key.pem"}
    with pytest.raises(
        SettingsError, match=r"PROCESSOR_METRICS_CERT='/no/cert\.pem' can't be read"
    ):
        metrics_tls(Settings.from_env(files))


@pytest.mark.parametrize(
    ("advertised", "location"),
    [
        ("10.0.0.7", "10.0.0.7:5"),
        ("10.0.0.7:80", "10.0.0.7:80"),
        ("fd00::1", "[fd00::1]:5"),
        ("[fd00::1]", "[fd00::1]:5"),
        ("[fd00::1]:80", "[fd00::1]:80"),
        ("pod-0.pods.ns.svc", "pod-0.pods.ns.svc:5"),
        ("", "127.0.0.1:5"),
    ],
)
def test_the_advertised_address(advertised: str, location: str) -> None:
    settings = Settings.from_env({"PROCESSOR_ADVERTISED_ADDRESS": advertised})
    address = own_address(settings.advertised_address, 5, "http", ("127.0.0.1:9092",))
    assert address.location == location
    assert parse_worker_url(address.url) == address
    again = own_address(settings.advertised_address, 5, "http", ("127.0.0.1:9092",))
    assert again.id != address.id


@pytest.mark.parametrize(
    "url",
    [
        "http://h:1/",
        "http://h/id",
        "ftp://h:1/id",
        "http://u@h:1/id",
        "http://h:1/a/b",
        "http://h:1/<b>",
        "http://h:1/id?x",
        "http://h:99999/id",
        "http://[::1/id",
        "h:1/id",
        "",
    ],
)
def test_what_is_no_announced_address(url: str) -> None:
    assert parse_worker_url(url) is None


def test_servers_that_have_no_route_leave_the_loopback_address() -> None:
    assert own_address(None, 1, "http", ("nowhere.invalid:1", "nonsense")).host == "127.0.0.1"
