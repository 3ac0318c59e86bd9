"""A sink that tests of the HTTP ingress control, and a check of error responses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from processor.domain.events.decoder import Decoder
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.model_rules import ModelRules
from processor.ingress.http import INGRESS, Ingress
from processor.telemetry import Telemetry

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


class FakeSink:
    """Keeps all events; a body that contains ``bad`` becomes a dead letter, or with ``decodes`` one that
    can't be read. Clear ``open`` to block `accept`, set ``error`` to let it fail."""

    def __init__(self) -> None:
        self.events: list[RawEvent] = []
        self.error: Exception | None = None
        self.decodes = False
        self._decoder = Decoder(ModelRules(), Telemetry())
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Semaphore(0)

    async def accept(self, events: Sequence[RawEvent]) -> Sequence[DeadLetter | None]:
        self.waiting.release()
        await self.open.wait()
        if self.error:
            raise self.error
        self.events += events
        if self.decodes:
            return [self._decoder.decode(*event).dead_letter for event in events]
        return [
            DeadLetter("bad_json", "it is bad") if b"bad" in (event.value or b"") else None
            for event in events
        ]


Start = Callable[..., Awaitable["TestClient[web.Request, web.Application]"]]


def ingress_of(client: "TestClient[web.Request, web.Application]") -> Ingress:
    """The ingress that a client is connected to."""
    assert client.app is not None
    return client.app[INGRESS]


async def error(answer: ClientResponse, status: int, reason: str) -> str:
    """Check an error response; returns its detail."""
    assert answer.status == status
    assert answer.content_type == "application/json"
    body = await answer.json()
    assert body["reason"] == reason
    detail: str = body["detail"]
    return detail
