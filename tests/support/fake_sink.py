"""What the tests of the HTTP door share: a door that they can steer, and readers of answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.ingress.http import INGRESS, Ingress

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
