"""Sends events over HTTP as a Knative subscription does: at least once, in no order, without end."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

import aiohttp

from bench.support.load import Event

#: Answers that Knative sends again after; all others of 300 and above are final.
_AGAIN = frozenset({404, 408, 409, 429, *range(500, 600)})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_REORDERED = 500
_REDELIVERED, _STRUCTURED = 0.1, 0.2
#: What Knative adds to each request.
_KNATIVE = {"kn-namespace": "seldon", "prefer": "reply"}
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Dispatcher:
    """Delivers all events, one in ten twice, from many connections; then `answers` counts the final
    answers by status, and `retries` by what made them necessary."""

    def __init__(self, url: str, connections: int = 32, seed: int = 1) -> None:
        self.answers: Counter[int] = Counter()
        self.retries: Counter[str] = Counter()
        self._url = url
        self._connections = connections
        self._rng = random.Random(seed)

    @property
    def delivered(self) -> int:
        """Deliveries that are done."""
        return self.answers.total()

    async def run(self, events: Sequence[Event]) -> None:
        """Until each is delivered."""
        deliveries = self._deliveries(events)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            timeout=aiohttp.ClientTimeout(total=30),
        ) as session:

            async def work() -> None:
                while deliveries:
                    await self._deliver(session, deliveries.pop())

            async with asyncio.TaskGroup() as group:
                for _ in range(self._connections):
                    group.create_task(work())

    def _deliveries(self, events: Sequence[Event]) -> list[Event]:
        rng = self._rng
        places: list[tuple[float, int, Event]] = []
        for place, event in enumerate(events):
            for _ in range(1 + (rng.random() < _REDELIVERED)):
                places.append((place + rng.uniform(0, _REORDERED), len(places), event))
        return [event for _, _, event in sorted(places, reverse=True)]

    async def _deliver(self, session: aiohttp.ClientSession, event: Event) -> None:
        structured = self._rng.random() < _STRUCTURED
        headers, body = (_structured if structured else binary)(event)
        pause = _FIRST_PAUSE
        while True:
            try:
                async with session.post(self._url, data=body, headers=headers) as answer:
                    body_of_answer = await answer.read()
                    # Knative takes such a body for an event that is none, and for a failure.
                    assert answer.status != 202 or not body_of_answer
                    if answer.status not in _AGAIN:
                        self.answers[answer.status] += 1
                        return
                    self.retries[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.retries[type(error).__name__] += 1
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)


def binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request, with what Knative adds."""
    headers = {
        name.replace("ce_", "ce-"): quote(value, safe=_SAFE) for name, value in event.headers
    }
    headers["content-type"] = "application/json"
    return headers | _KNATIVE, event.value


def _structured(event: Event) -> tuple[dict[str, str], bytes]:
    attributes = {
        name.removeprefix("ce_"): value.decode()
        for name, value in event.headers
        if name.startswith("ce_")
    }
    attributes["datacontenttype"] = "application/json"
    text = json.dumps(attributes)[:-1].encode()
    # The data as they are: another writer's digits would be other digits.
    body = text + b', "data": ' + event.value + b"}"
    return {"content-type": "application/cloudevents+json; charset=utf-8"} | _KNATIVE, body
