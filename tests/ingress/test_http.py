"""The HTTP door over real connections: each status, and what reaches the door."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.events import DeadLetter, RawEvent
from processor.errors import ArchiveError
from processor.ingress.door import Overloaded
from processor.ingress.http import INGRESS, MAX_BATCH, Ingress, make_ingress
from processor.settings import Secret, Settings

NOW = 1795165439330716836
TIME = "2026-11-20T09:03:59.330716836Z"
BINARY = {
    "Ce-Id": "1",
    "Ce-Type": "io.seldon.serving.feedback",
    "Ce-Source": "http://:8000/",
    "Ce-Specversion": "1.0",
    "Content-Type": "application/json",
}
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


class FakeDoor:
    """Keeps what comes; a body with ``bad`` in it is not understood."""

    def __init__(self) -> None:
        self.events: list[RawEvent] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Semaphore(0)

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        self.waiting.release()
        await self.open.wait()
        if self.error:
            raise self.error
        self.events += events
        return [
            DeadLetter("bad_json", "it is bad") if b"bad" in (event.value or b"") else None
            for event in events
        ]


Start = Callable[..., Awaitable["TestClient[web.Request, web.Application]"]]


@pytest.fixture
def door() -> FakeDoor:
    return FakeDoor()


@pytest.fixture
async def start(door: FakeDoor) -> AsyncIterator[Start]:
    clients: list[TestClient[web.Request, web.Application]] = []

    async def make(**settings: Any) -> TestClient[web.Request, web.Application]:
        app = make_ingress(door, Settings(**settings), lambda: NOW)
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    door.open.set()
    for client in clients:
        ingress = ingress_of(client)
        await client.close()
        assert ingress.in_flight == 0


def ingress_of(client: "TestClient[web.Request, web.Application]") -> Ingress:
    assert client.app is not None
    return client.app[INGRESS]


async def error(answer: ClientResponse, status: int, reason: str) -> str:
    assert answer.status == status
    assert answer.content_type == "application/json"
    body = await answer.json()
    assert body["reason"] == reason
    detail: str = body["detail"]
    return detail


async def test_binary_mode(start: Start, door: FakeDoor) -> None:
    client = await start()
    headers = BINARY | {
        "ce-subject": "Euro%20%E2%82%AC%2",
        "ce-quoted": '"a \\"b\\""',
        "Seldon-Puid": "puid%20",
        "Cookie": "secret",
        "Authorization": "secret",
    }
    answer = await client.post("/", data=b'{"reward": 1.50}', headers=headers)
    assert answer.status == 202
    assert await answer.json() == {"accepted": 1, "time": TIME}
    (event,) = door.events
    assert dict(event.headers) == {
        "ce_id": b"1",
        "ce_type": b"io.seldon.serving.feedback",
        "ce_source": b"http://:8000/",
        "ce_specversion": b"1.0",
        "ce_subject": "Euro €%2".encode(),
        "ce_quoted": b'a "b"',
        "seldon-puid": b"puid%20",
        "content-type": b"application/json",
    }
    assert (event.value, event.timestamp) == (b'{"reward": 1.50}', NOW)


async def test_any_content_type_and_no_body(start: Start, door: FakeDoor) -> None:
    client = await start()
    headers = BINARY | {"Content-Type": "application/protobuf"}
    assert (await client.post("/", data=b"\x00\xff", headers=headers)).status == 202
    assert (await client.post("/", headers=BINARY)).status == 202
    assert [event.value for event in door.events] == [b"\x00\xff", None]


async def test_structured_mode(start: Start, door: FakeDoor) -> None:
    client = await start()
    body = b'{"id": "1", "data": {"x": NaN}}'
    answer = await client.post("/", data=body, headers=STRUCTURED | {"ce-id": "other"})
    assert answer.status == 202
    content_type = STRUCTURED["Content-Type"].encode()
    assert door.events == [RawEvent((("content-type", content_type),), body, NOW)]


@pytest.mark.parametrize("number", ["1.50", "NaN"])
async def test_a_batch_is_split(start: Start, door: FakeDoor, number: str) -> None:
    client = await start()
    first, second = f'{{"id":"1","data":{number}}}', '{"id": "2"}'
    answer = await client.post("/", data=f"[{first} , {second}]", headers=BATCH)
    assert answer.status == 202
    assert await answer.json() == {"accepted": 2, "time": TIME}
    headers = (("content-type", b"application/cloudevents+json"),)
    assert door.events == [
        RawEvent(headers, first.encode(), NOW),
        RawEvent(headers, second.encode(), NOW),
    ]
    assert (await client.post("/", data="[]", headers=BATCH)).status == 202


async def test_a_batch_that_is_partly_understood(start: Start, door: FakeDoor) -> None:
    client = await start()
    answer = await client.post("/", data='[1, "bad", 3]', headers=BATCH)
    assert answer.status == 202
    assert await answer.json() == {
        "accepted": 2,
        "time": TIME,
        "rejected": 1,
        "rejections": [{"index": 1, "reason": "bad_json", "detail": "it is bad"}],
    }
    answer = await client.post("/", data='["bad", "bad"]', headers=BATCH)
    assert await error(answer, 400, "bad_json") == "it is bad"
    assert (await answer.json())["rejected"] == 2


async def test_what_is_not_understood_is_kept_and_400(start: Start, door: FakeDoor) -> None:
    client = await start()
    answer = await client.post("/", data="bad", headers=BINARY)
    assert await error(answer, 400, "bad_json") == "it is bad"
    for body in ('{"id": "1"}', "[1, ", "", "[NaN"):
        answer = await client.post("/", data=body, headers=BATCH)
        await error(answer, 400, "bad_json")
        kept = door.events[-1]
        assert kept.value == (body.encode() or None)
        assert dict(kept.headers) == {"content-type": BATCH["Content-Type"].encode()}
    assert len(door.events) == 5


async def test_bodies_over_the_limit(start: Start, door: FakeDoor) -> None:
    client = await start(ingress_max_body=1000)
    assert (await client.post("/", data=b"x" * 1000, headers=BINARY)).status == 202
    detail = await error(await client.post("/", data=b"x" * 1001, headers=BINARY), 413, "too_large")
    assert "1000 bytes" in detail

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    await error(await client.post("/", data=chunks(), headers=BINARY), 413, "too_large")
    assert len(door.events) == 1


async def test_gzip(start: Start, door: FakeDoor, caplog: pytest.LogCaptureFixture) -> None:
    client = await start(ingress_max_body=100_000)
    headers = BINARY | {"Content-Encoding": "gzip"}

    async def post(body: bytes) -> ClientResponse:
        return await client.post("/", data=body, headers=headers)

    assert (await post(gzip.compress(b"x" * 100_000))).status == 202
    assert door.events[0].value == b"x" * 100_000
    assert "content-encoding" not in dict(door.events[0].headers)
    await error(await post(gzip.compress(b"x" * 100_001)), 413, "too_large")
    await error(await post(gzip.compress(bytes(80_000_000))), 413, "too_large")
    await error(await post(b"no gzip at all"), 400, "bad_body")
    assert "Traceback" not in caplog.text
    headers["Content-Encoding"] = "lzma"
    await error(await post(b"x"), 415, "bad_encoding")
    assert len(door.events) == 1


async def test_too_large_a_batch(start: Start, door: FakeDoor) -> None:
    client = await start()
    body = json.dumps([1] * (MAX_BATCH + 1))
    await error(await client.post("/", data=body, headers=BATCH), 413, "too_many")
    assert not door.events


async def test_too_many_requests_at_once(start: Start, door: FakeDoor) -> None:
    client = await start(ingress_max_in_flight=2)
    door.open.clear()
    first = [asyncio.create_task(client.post("/", data="1", headers=BINARY)) for _ in range(2)]
    for _ in first:
        await door.waiting.acquire()
    assert ingress_of(client).in_flight == 2
    answer = await client.post("/", data="1", headers=BINARY)
    await error(answer, 429, "overloaded")
    assert answer.headers["Retry-After"] == "1"
    door.open.set()
    assert [(await task).status for task in first] == [202, 202]
    assert (await client.post("/", data="1", headers=BINARY)).status == 202


async def test_the_door_can_refuse(
    start: Start, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start()
    door.error = Overloaded("the log is behind", 2.5)
    answer = await client.post("/", data="1", headers=BINARY)
    assert await error(answer, 429, "overloaded") == "the log is behind"
    assert answer.headers["Retry-After"] == "3"
    door.error = ArchiveError("/secret/path is full")
    for _ in range(3):
        answer = await client.post("/", data="1", headers=BINARY)
        assert "/secret/path" not in await error(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
    assert caplog.text.count("/secret/path is full") == 1
    door.error = ZeroDivisionError()
    await error(await client.post("/", data="1", headers=BINARY), 500, "internal")
    door.error = None
    assert (await client.post("/", data="1", headers=BINARY)).status == 202


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic token", "Bearer tokén"]
)
async def test_a_wrong_token(start: Start, door: FakeDoor, authorization: str | None) -> None:
    client = await start(ingress_token=Secret("token"))
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/", "/feedback"):
        answer = await client.post(path, data="1", headers=BINARY | headers)
        await error(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not door.events


async def test_the_right_token(start: Start, door: FakeDoor) -> None:
    client = await start(ingress_token=Secret("token"))
    for authorization in ("Bearer token", "bearer  token"):
        headers = BINARY | {"Authorization": authorization}
        assert (await client.post("/", data="1", headers=headers)).status == 202
    assert "authorization" not in dict(door.events[0].headers)


async def test_other_methods_and_paths(start: Start) -> None:
    client = await start()
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        for path in ("/", "/feedback"):
            answer = await client.request(method, path)
            await error(answer, 405, "method_not_allowed")
            assert answer.headers["Allow"] == "POST"
    await error(await client.post("/other", data="1"), 404, "not_found")


async def test_feedback(start: Start, door: FakeDoor) -> None:
    client = await start()
    names = {
        "ce-inferenceservicename": "sklearn",
        "ce-namespace": "seldon",
        "ce-endpoint": "default",
        "ce-modelid": "caf%C3%A9",
    }
    query = "deployment=sklearn&namespace=seldon&predictor=default&model=caf%C3%A9"
    ids = set()
    for path, headers in (("/feedback", names), (f"/feedback?{query}", {})):
        answer = await client.post(
            path, data=b'{"reward": 1}', headers={"Seldon-Puid": "p1"} | headers
        )
        assert answer.status == 202
        assert await answer.json() == {"accepted": 1, "time": TIME}
        event = door.events.pop()
        attributes = dict(event.headers)
        ids.add(attributes.pop("ce_id"))
        attributes.pop("content-type")
        assert attributes == {
            "ce_specversion": b"1.0",
            "ce_type": b"io.seldon.serving.feedback",
            "ce_source": b"/feedback",
            "ce_time": TIME.encode(),
            "ce_requestid": b"p1",
            "ce_inferenceservicename": b"sklearn",
            "ce_namespace": b"seldon",
            "ce_endpoint": b"default",
            "ce_modelid": "café".encode(),
        }
        assert (event.value, event.timestamp) == (b'{"reward": 1}', NOW)
    assert len(ids) == 2


async def test_feedback_on_whatever_answered(start: Start, door: FakeDoor) -> None:
    client = await start()
    path = "/feedback?deployment=sklearn&namespace="
    answer = await client.post(path, data=b"{}", headers={"seldon-puid": "p1"})
    assert answer.status == 202
    attributes = dict(door.events[0].headers)
    assert attributes["ce_namespace"] == b""
    assert not {"ce_endpoint", "ce_modelid"} & set(attributes)


@pytest.mark.parametrize(
    ("path", "headers", "named"),
    [
        ("?deployment=d&namespace=n", {}, "seldon-puid"),
        ("?namespace=n", {"seldon-puid": "p"}, "the deployment is missing"),
        ("?deployment=&namespace=n", {"seldon-puid": "p"}, "the deployment is missing"),
        ("?deployment=d", {"seldon-puid": "p"}, "the namespace is missing"),
        ("?deployment=d&namespace=n&nodel=m", {"seldon-puid": "p"}, "nodel is unknown"),
        (
            "?deployment=d&namespace=n",
            {"seldon-puid": "p", "ce-namespace": "other"},
            "the namespace is given twice",
        ),
    ],
)
async def test_feedback_that_names_too_little(
    start: Start, door: FakeDoor, path: str, headers: dict[str, str], named: str
) -> None:
    client = await start()
    answer = await client.post(f"/feedback{path}", data=b"{}", headers=headers)
    assert named in await error(answer, 400, "bad_request")
    assert not door.events


async def test_feedback_that_is_not_understood(start: Start, door: FakeDoor) -> None:
    client = await start()
    path = "/feedback?deployment=d&namespace=n"
    answer = await client.post(path, data=b"bad", headers={"seldon-puid": "p"})
    await error(answer, 400, "bad_json")
    assert len(door.events) == 1


async def test_drain_lets_requests_in_flight_end(start: Start, door: FakeDoor) -> None:
    client = await start()
    ingress = ingress_of(client)
    door.open.clear()
    first = asyncio.create_task(client.post("/", data="1", headers=BINARY))
    await door.waiting.acquire()
    assert not await ingress.drain(0.01)
    drained = asyncio.create_task(ingress.drain())
    answer = await client.post("/", data="2", headers=BINARY)
    await error(answer, 503, "shutting_down")
    assert answer.headers["Retry-After"]
    assert not drained.done()
    door.open.set()
    assert (await first).status == 202
    assert await drained
    assert [event.value for event in door.events] == [b"1"]


async def test_shutdown_waits_for_what_is_in_flight(start: Start, door: FakeDoor) -> None:
    client = await start()
    door.open.clear()
    first = asyncio.create_task(client.post("/", data="1", headers=BINARY))
    await door.waiting.acquire()
    closing = asyncio.create_task(client.server.close())
    while not ingress_of(client)._draining:
        await asyncio.sleep(0)
    door.open.set()
    assert (await asyncio.wait_for(first, 10)).status == 202
    await asyncio.wait_for(closing, 10)


async def test_a_client_that_goes_away_in_mid_body_gives_its_place_back(
    start: Start, door: FakeDoor
) -> None:
    client = await start(ingress_max_in_flight=1)
    ingress = ingress_of(client)
    _, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxxx")
    async with asyncio.timeout(10):
        while ingress.in_flight == 0:
            await asyncio.sleep(0.001)
        writer.close()
        while ingress.in_flight:
            await asyncio.sleep(0.001)
    assert (await client.post("/", data="1", headers=BINARY)).status == 202
    assert len(door.events) == 1
