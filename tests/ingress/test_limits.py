"""Authorization, limits and drain of the HTTP ingress."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from processor.errors import ArchiveError
from processor.ingress import limits
from processor.ingress.event_sink import Overloaded
from processor.ingress.http import INGRESS, MAX_BATCH, make_ingress
from processor.logs import set_up_logs
from processor.service.lifecycle import serve
from processor.setting_values import Secret
from processor.settings import Settings
from tests.support.fake_sink import BATCH, BINARY, NOW, FakeSink, Start, error, ingress_of


async def test_bodies_over_the_limit(start: Start, sink: FakeSink) -> None:
    client = await start(ingress_max_body=1000)
    assert (await client.post("/", data=b"x" * 1000, headers=BINARY)).status == 202
    detail = await error(await client.post("/", data=b"x" * 1001, headers=BINARY), 413, "too_large")
    assert "1000 bytes" in detail

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    await error(await client.post("/", data=chunks(), headers=BINARY), 413, "too_large")
    assert len(sink.events) == 1


async def test_gzip(start: Start, sink: FakeSink, caplog: pytest.LogCaptureFixture) -> None:
    client = await start(ingress_max_body=100_000)
    headers = BINARY | {"Content-Encoding": "gzip"}

    async def post(body: bytes) -> ClientResponse:
        return await client.post("/", data=body, headers=headers)

    assert (await post(gzip.compress(b"x" * 100_000))).status == 202
    assert sink.events[0].value == b"x" * 100_000
    assert "content-encoding" not in dict(sink.events[0].headers)
    await error(await post(gzip.compress(b"x" * 100_001)), 413, "too_large")
    await error(await post(gzip.compress(bytes(80_000_000))), 413, "too_large")
    await error(await post(b"no gzip at all"), 400, "bad_body")
    assert "Traceback" not in caplog.text
    headers["Content-Encoding"] = "lzma"
    await error(await post(b"x"), 415, "bad_encoding")
    assert len(sink.events) == 1


async def test_too_large_a_batch(start: Start, sink: FakeSink) -> None:
    client = await start()
    body = json.dumps([1] * (MAX_BATCH + 1))
    await error(await client.post("/", data=body, headers=BATCH), 413, "too_many")
    assert not sink.events


async def test_too_many_requests_at_once(start: Start, sink: FakeSink) -> None:
    client = await start(ingress_max_in_flight=2)
    sink.open.clear()
    first = [asyncio.create_task(client.post("/", data="1", headers=BINARY)) for _ in range(2)]
    for _ in first:
        await sink.waiting.acquire()
    assert ingress_of(client).in_flight == 2
    answer = await client.post("/", data="1", headers=BINARY)
    await error(answer, 429, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    sink.open.set()
    assert [(await task).status for task in first] == [202, 202]
    assert (await client.post("/", data="1", headers=BINARY)).status == 202


async def test_errors_of_the_sink_become_responses(
    start: Start, sink: FakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start()
    sink.error = Overloaded("the log is behind", 2.5)
    answer = await client.post("/", data="1", headers=BINARY)
    assert await error(answer, 429, "overloaded") == "the log is behind"
    assert answer.headers["Retry-After"] == "3"
    sink.error = ArchiveError("/secret/path is full")
    for _ in range(3):
        answer = await client.post("/", data="1", headers=BINARY)
        assert "/secret/path" not in await error(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
    assert caplog.text.count("/secret/path is full") == 1
    sink.error = ZeroDivisionError()
    await error(await client.post("/", data="1", headers=BINARY), 500, "internal")
    sink.error = None
    assert (await client.post("/", data="1", headers=BINARY)).status == 202


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic token", "Bearer tokén"]
)
async def test_a_wrong_token(start: Start, sink: FakeSink, authorization: str | None) -> None:
    client = await start(ingress_token=Secret("token"))
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/", "/feedback"):
        answer = await client.post(path, data="1", headers=BINARY | headers)
        await error(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not sink.events


async def test_the_right_token(start: Start, sink: FakeSink) -> None:
    client = await start(ingress_token=Secret("token"))
    for authorization in ("Bearer token", "bearer  token"):
        headers = BINARY | {"Authorization": authorization}
        assert (await client.post("/", data="1", headers=headers)).status == 202
    assert "authorization" not in dict(sink.events[0].headers)


async def test_the_port_answers_during_a_drain(sink: FakeSink) -> None:
    """Requests in flight end, new ones get 503, and no event is lost."""
    app = make_ingress(sink, Settings(), lambda: NOW)
    async with AsyncExitStack() as stack, ClientSession(timeout=ClientTimeout(60)) as session:
        url = await serve(stack, app, 0, "INGRESS")
        stack.push_async_callback(app[INGRESS].drain)
        sink.open.clear()
        first = asyncio.create_task(session.post(url, data="1", headers=BINARY))
        await sink.waiting.acquire()
        closing = asyncio.create_task(stack.aclose())
        while not app[INGRESS].is_draining:
            await asyncio.sleep(0)
        async with ClientSession(timeout=ClientTimeout(60)) as other:
            answer = await other.post(url, data="2", headers=BINARY)
            await error(answer, 503, "shutting_down")
            assert answer.headers["Connection"] == "close"
        sink.open.set()
        assert (await asyncio.wait_for(first, 60)).status == 202
        await asyncio.wait_for(closing, 60)
        with pytest.raises(ClientError):
            await session.post(url, data="3", headers=BINARY)
    assert [event.value for event in sink.events] == [b"1"]


async def test_a_drain_does_not_wait_for_a_slow_sink(start: Start, sink: FakeSink) -> None:
    client = await start()
    sink.open.clear()
    first = asyncio.create_task(client.post("/", data="1", headers=BINARY))
    await sink.waiting.acquire()
    assert not await ingress_of(client).drain(0.01)
    answer = await asyncio.wait_for(first, 60)
    await error(answer, 503, "shutting_down")
    assert answer.headers["Retry-After"]


async def test_a_slow_sink(start: Start, sink: FakeSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_DEADLINE", 0.05)
    client = await start(ingress_max_in_flight=1)
    sink.open.clear()
    answer = await client.post("/", data="1", headers=BINARY)
    assert "not stored within" in await error(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    sink.open.set()
    assert (await client.post("/", data="1", headers=BINARY)).status == 202


async def test_a_slow_client(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_DEADLINE", 0.05)
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxxx")
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    writer.close()
    assert ingress_of(client).in_flight == 0


async def test_bodies_that_are_too_large_together(
    start: Start, sink: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 1500)
    client = await start(ingress_max_body=1000)
    sink.open.clear()
    first = asyncio.create_task(client.post("/", data=b"x" * 1000, headers=BINARY))
    await sink.waiting.acquire()
    answer = await client.post("/", data=b"x" * 501, headers=BINARY)
    await error(answer, 429, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    sink.open.set()
    assert (await first).status == 202
    assert (await client.post("/", data=b"x" * 501, headers=BINARY)).status == 202


async def test_a_client_that_goes_away_in_mid_body_gives_its_place_back(
    start: Start, sink: FakeSink
) -> None:
    client = await start(ingress_max_in_flight=1)
    ingress = ingress_of(client)
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxxx")
    async with asyncio.timeout(60):
        while ingress.in_flight == 0:
            await asyncio.sleep(0.001)
        writer.close()
        while ingress.in_flight:
            await asyncio.sleep(0.001)
    assert (await client.post("/", data="1", headers=BINARY)).status == 202
    assert len(sink.events) == 1


async def test_what_is_no_http_is_refused_and_its_bytes_are_not_logged(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await start()
    set_up_logs("INFO", "text")
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hush\x01\r\n\r\n")
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.0 400 ")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("a malformed HTTP request, refused with 400: from 127.0.0.1")
