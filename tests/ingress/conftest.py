"""Fixtures: the HTTP ingress on a free port, over real connections."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from processor.ingress.http import make_ingress
from processor.settings import Settings
from tests.support.fake_sink import NOW, FakeSink, Start, ingress_of


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
async def start(sink: FakeSink) -> AsyncIterator[Start]:
    clients: list[TestClient[web.Request, web.Application]] = []

    async def make(**settings: Any) -> TestClient[web.Request, web.Application]:
        app = make_ingress(sink, Settings(**settings), lambda: NOW)
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    sink.open.set()
    for client in clients:
        ingress = ingress_of(client)
        await client.close()
        assert ingress.in_flight == 0
