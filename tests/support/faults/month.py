"""A month of events of one deployment, and the exact counts of them."""

import heapq
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from processor.domain.timestamps import format_time

_LABELS = "abc"
DAY = 86_400_000_000_000
#: Days of the stream, and days after a prediction within which all further events of its request come:
#: within these the archive must keep its events.
DAYS, SPREAD = 30, 6.5


class Due(NamedTuple):
    """An event in structured mode, and when it comes (ns)."""

    time: int
    body: str


class Month:
    """``requests`` predictions over 30 days from ``start`` (ns). 63 % are judged, 5 % of these are
    corrected, and 2 % of all events come again up to days later."""

    def __init__(self, requests: int, start: int, seed: int) -> None:
        self.cells: Counter[tuple[str, str]] = Counter()
        """The final number of items by (actual, predicted)."""
        self.predictions = requests
        self._random = random.Random(seed)
        self._start = start
        self.events = list(self._merge(requests))

    def _merge(self, requests: int) -> Iterator[Due]:
        waiting: list[Due] = []
        length = DAYS * DAY
        for number in range(requests):
            now = self._start + number * length // requests
            while waiting and waiting[0].time <= now:
                yield heapq.heappop(waiting)
            first, *later = self._request(f"r{number}", now)
            yield first
            for event in later:
                heapq.heappush(waiting, event)
        while waiting:
            yield heapq.heappop(waiting)

    def _request(self, request: str, now: int) -> Iterator[Due]:
        draw = self._random.random
        predicted = self._random.choice(_LABELS)
        prediction = _body("inference.response", request, now, {"data": {"ndarray": [predicted]}})
        yield Due(now, prediction)
        if draw() < 0.02:
            yield Due(now + int(draw() * SPREAD * DAY), prediction)
        if draw() >= 0.63:
            return
        at, actual = now + int(draw() ** 3 * SPREAD * DAY), self._truth(predicted)
        feedback = _feedback(request, at, actual)
        yield Due(at, feedback)
        end = now + int(SPREAD * DAY)
        if draw() < 0.02:
            yield Due(at + int(draw() * (end - at)), feedback)
        if draw() < 0.05:
            at, actual = at + 1 + int(draw() * (end - at)), self._random.choice(_LABELS)
            yield Due(at, _feedback(request, at, actual))
        self.cells[actual, predicted] += 1

    def _truth(self, predicted: str) -> str:
        return predicted if self._random.random() < 0.73 else self._random.choice(_LABELS)


def _feedback(request: str, at: int, actual: str) -> str:
    return _body("feedback", request, at, {"truth": {"data": {"ndarray": [actual]}}})


def _body(kind: str, request: str, at: int, data: object) -> str:
    attributes = {
        "specversion": "1.0", "id": "1", "source": "s", "type": f"io.seldon.serving.{kind}",
        "time": format_time(at), "requestid": request, "namespace": "ns",
        "inferenceservicename": "dep", "endpoint": "default", "modelid": "clf", "data": data,
    }  # fmt: skip
    return json.dumps(attributes)
