"""Every request at the ingress port is counted: by route and status, and by reason if it is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor.errors import ArchiveError
from processor.ingress.event_sink import Overloaded
from processor.ingress.http import INGRESS, make_ingress
from processor.setting_values import Secret
from processor.settings import Settings
from processor.telemetry import REFUSALS, Telemetry
from tests.support.fake_sink import BATCH, BINARY, NOW, FakeSink

Client = TestClient[web.Request, web.Application]
TOKEN = {"Authorization": "Bearer secret"}
EVENT = BINARY | TOKEN


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def client(sink: FakeSink, telemetry: Telemetry) -> AsyncIterator[Client]:
    settings = Settings(
        ingress_token=Secret("secret"), ingress_max_body=100, ingress_max_in_flight=1
    )
    app = make_ingress(sink, settings, lambda: NOW, telemetry=telemetry)
    async with TestClient(TestServer(app)) as client:
        yield client
        sink.open.set()


async def test_requests_are_counted_by_route_and_status(
    client: Client, telemetry: Telemetry
) -> None:
    feedback = "/feedback?deployment=pets&namespace=vision"
    puid = TOKEN | {"Seldon-Puid": "r1"}
    for _ in range(2):
        await client.post("/", data=b"{}", headers=EVENT)
    await client.post("/", data=b"{}", headers=BINARY)
    await client.post("/", data=b"bad", headers=EVENT)
    await client.post(feedback, data=b'{"truth": "cat"}', headers=puid)
    await client.post(feedback, data=b"{}", headers=puid)
    await client.post("/feedback", data=b"{}", headers=TOKEN)
    await client.post("/", data=b"x" * 101, headers=EVENT)
    await client.put("/feedback", headers=TOKEN)
    await client.get("/a/path/that/is/made/up", headers=TOKEN)
    await client.get("/openapi.json", headers=TOKEN)
    assert telemetry.ingress_requests == {
        ("/", "202"): 2,
        ("/", "401"): 1,
        ("/", "400"): 1,
        ("/", "413"): 1,
        ("/feedback", "202"): 1,
        ("/feedback", "400"): 2,
        ("/feedback", "405"): 1,
        ("other", "404"): 1,
        ("/openapi.json", "200"): 1,
    }
    assert telemetry.ingress_refused == {
        "unauthorized": 1,
        "bad_json": 1,
        "says_nothing": 1,
        "bad_request": 1,
        "too_large": 1,
        "method_not_allowed": 1,
        "not_found": 1,
    }
    assert sum(telemetry.ingress.buckets) == telemetry.ingress_requests.total()


async def test_refusals_are_counted_by_reason(
    client: Client, sink: FakeSink, telemetry: Telemetry
) -> None:
    for error, reason in (
        (Overloaded("slow down", 1), "overloaded"),
        (ArchiveError("no disk"), "unavailable"),
        (RuntimeError("a defect"), "internal"),
    ):
        sink.error = error
        await client.post("/", data=b"{}", headers=EVENT)
        assert telemetry.ingress_refused.pop(reason) == 1
    sink.error = None
    await client.post("/", data=b"[" + b"1," * 40 + b"1]", headers=BATCH | TOKEN)
    assert not telemetry.ingress_refused
    sink.open.clear()
    waiting = asyncio.create_task(client.post("/", data=b"{}", headers=EVENT))
    assert client.app is not None
    ingress = client.app[INGRESS]
    async with asyncio.timeout(60):
        while not ingress.in_flight:
            await asyncio.sleep(0.001)
    await client.post("/", data=b"{}", headers=EVENT)
    assert telemetry.ingress_refused == {"overloaded": 1}
    sink.open.set()
    assert (await waiting).status == 202
    assert ingress.in_flight == 0
    assert set(telemetry.ingress_refused) <= set(REFUSALS)
