"""Requests to a worker that is slow, dead, refusing or sends too much."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from processor.publish.workers.address import WorkerAddress
from processor.publish.workers.client import HttpTransport, SilentWorkerError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[WorkerAddress]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def serve(handler: Handler) -> WorkerAddress:
        app = web.Application()
        app.router.add_get("/api/worker", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        assert server.port
        return WorkerAddress("w", "127.0.0.1", server.port)

    yield serve
    for server in servers:
        await server.close()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    transport = HttpTransport("secret", None, 0.3, 0.6, max_answer=1 << 20)
    yield transport
    await transport.close()


async def failure(transport: HttpTransport, address: WorkerAddress) -> str:
    with pytest.raises(SilentWorkerError) as caught:
        await asyncio.wait_for(transport.get(address, "/api/worker", {}), 60)
    return str(caught.value)


async def test_the_answer_with_the_token_and_the_query(
    serve: Serve, transport: HttpTransport
) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.json_response([request.headers["Authorization"], dict(request.query)])

    address = await serve(answer)
    body = await transport.get(address, "/api/worker", {"model": "a&b/ü", "by": "request"})
    assert body == b'["Bearer secret", {"model": "a&b/\\u00fc", "by": "request"}]'


async def test_a_frozen_worker(serve: Serve, transport: HttpTransport) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    assert await failure(transport, await serve(never)) == "it does not answer in time"


async def test_a_worker_that_computes_for_longer_than_a_dead_one_may(
    serve: Serve, transport: HttpTransport
) -> None:
    waited = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        asyncio.get_running_loop().call_later(0.4, waited.set)
        await waited.wait()
        await response.write(b"done")
        return response

    assert await transport.get(await serve(slow), "/api/worker", {}) == b"done"


async def test_a_worker_that_freezes_within_its_answer(
    serve: Serve, transport: HttpTransport
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.Event().wait()
        return response

    assert await failure(transport, await serve(half)) == "it does not answer in time"


async def test_a_worker_that_dies_within_its_answer(serve: Serve, transport: HttpTransport) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport
        request.transport.close()
        return response

    assert (await failure(transport, await serve(half))).startswith("no answer: ")


async def test_a_dead_worker(transport: HttpTransport) -> None:
    address = WorkerAddress("w", "127.0.0.1", unused_port())
    assert await failure(transport, address) == "no connection: Connection refused"


async def test_a_name_that_is_no_host(transport: HttpTransport) -> None:
    address = WorkerAddress("w", "nowhere.invalid", 9102)
    found = await failure(transport, address)
    assert found.startswith("no connection: ") or found == "it does not answer in time"


async def test_an_endless_answer(serve: Serve, transport: HttpTransport) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 100_000)

    assert await failure(transport, await serve(endless)) == "its answer is over 1 MiB"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "it refuses the token: check PROCESSOR_METRICS_TOKEN"),
        (404, "it answers 404: its release or its settings are others"),
        (302, "it answers 302: its release or its settings are others"),
        (500, "it answers 500: its release or its settings are others"),
    ],
)
async def test_a_refusal(serve: Serve, transport: HttpTransport, status: int, reason: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        # Nobody is sent elsewhere with the token.
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:1/"})

    assert await failure(transport, await serve(refuse)) == reason
