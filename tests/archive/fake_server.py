"""A server that answers as Elasticsearch does, as far as a test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.support.servers.process import free_port

Answer = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def fake_server(answer: Answer, product: bool = True) -> AsyncIterator[str]:
    """A server with a given handler, which names itself Elasticsearch if ``product`` is true."""

    async def handle(request: web.Request) -> web.Response:
        response = await answer(request)
        if product:
            response.headers["X-Elastic-Product"] = "Elasticsearch"
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
