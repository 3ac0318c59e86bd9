"""A stream of events of one deployment as the archive holds them, and the exact counts of it.

What belongs to a request follows from its number, so that a stream of any length needs no memory: step
``n`` has the prediction of request ``n``, and the feedback of those earlier requests whose delay has
passed. 63 % of the requests are judged, after a minute to six days; 3 % of these are corrected half a
day later, and 2 % of the predictions come again after a quarter of an hour or two days.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy
from numpy.typing import NDArray

from processor.archive.sqlite.file import Row, to_row
from processor.domain.events.raw_event import RawEvent
from processor.domain.events.structured import STRUCTURED_HEADERS
from processor.domain.timestamps import SECOND, format_time

#: Delays of feedback in seconds, and the share of all requests with each, in thousandths.
_DELAYS = {60: 200, 3600: 200, 6 * 3600: 100, 86_400: 70, 3 * 86_400: 40, 6 * 86_400: 20}
_CORRECTED, _CORRECTION_DELAY = 30, 43_200
#: The delays of repeated predictions, each of so many thousandths.
_REPEATS = {900: 10, 2 * 86_400: 10}
#: Events per request in the long run.
EVENTS_PER_REQUEST = 1 + 0.63 * 1.03 + 0.02
LABELS = "abc"

_HEAD = b'{"specversion":"1.0","id":"1","source":"s","type":"io.seldon.serving.%s","time":"%s",'
_SCOPE = (
    b'"requestid":"%016x","namespace":"ns","inferenceservicename":"dep","endpoint":"default",'
    b'"modelid":"clf","data":%s}'
)
_PREDICTION = _HEAD.replace(b"%s", b"inference.response", 1) + _SCOPE
_FEEDBACK = _HEAD.replace(b"%s", b"feedback", 1) + _SCOPE
_ANSWERS = [b'{"data":{"ndarray":["%s"]}}' % label.encode() for label in LABELS]
_TRUTHS = [b'{"truth":%s}' % answer for answer in _ANSWERS]

_Numbers = NDArray[numpy.uint64]


#: The headers of an event in structured mode, as the ingress stores them.
_HEADERS = to_row(RawEvent(STRUCTURED_HEADERS, b"", 0))[1]


class Stream:
    """Steps of ``interval`` ns from ``start`` (ns) on; `cells` and `predictions` count what has come."""

    def __init__(self, start: int, interval: int) -> None:
        self.predictions = 0
        """Requests whose prediction has come."""
        self.events = 0
        self.step = 0
        """The next step."""
        self._start = start
        self.interval = interval
        self._cells = numpy.zeros(len(LABELS) ** 2, numpy.int64)

    @property
    def cells(self) -> dict[tuple[str, str], int]:
        """The number of items by (actual, predicted)."""
        return {
            (LABELS[number // 3], LABELS[number % 3]): int(count)
            for number, count in enumerate(self._cells)
            if count
        }

    @property
    def now(self) -> int:
        """The time (ns) of the next step."""
        return self._start + self.step * self.interval

    def position(self) -> list[int]:
        """Where the stream is, for `restore`."""
        cells = self._cells.tolist()
        return [self._start, self.interval, self.step, self.events, self.predictions, *cells]

    def restore(self, position: list[int]) -> None:
        """Go on at a position."""
        self._start, self.interval, self.step, self.events, self.predictions, *cells = position
        self._cells = numpy.array(cells, numpy.int64)

    def take(self, steps: int) -> Iterator[Row]:
        """The events of the next steps, in structured mode, as rows of the archive."""
        first, self.step = self.step, self.step + steps
        numbers = numpy.arange(first, first + steps, dtype=numpy.int64)
        parts = [self._part(numbers, 0, 0, 1000, _PREDICTION, _ANSWERS, None)]
        self.predictions += steps
        begin = 0
        for delay, share in _REPEATS.items():
            parts.append(self._part(numbers, delay, begin, share, _PREDICTION, _ANSWERS, "repeat"))
            begin += share
        begin = 0
        for delay, share in _DELAYS.items():
            parts.append(self._part(numbers, delay, begin, share, _FEEDBACK, _TRUTHS, "delay"))
            late = delay + _CORRECTION_DELAY
            parts.append(self._part(numbers, late, begin, share, _FEEDBACK, _TRUTHS, "corrected"))
            begin += share
        steps_of = numpy.concatenate([part[0] for part in parts])
        order = numpy.argsort(steps_of, kind="stable").tolist()
        made = [event for part in parts for event in part[1]]
        self.events += len(made)
        return (made[number] for number in order)

    def _part(
        self, numbers: NDArray[numpy.int64], delay: int, begin: int, share: int,
        form: bytes, bodies: list[bytes], of: str | None,
    ) -> tuple[NDArray[numpy.int64], list[Row]]:  # fmt: skip
        """The steps and events of one kind, of the requests so long before."""
        found = numbers - delay * SECOND // self.interval
        found = found[found >= 0]
        random = _random(found)
        if of is not None:
            draw = _draw(random, 2 if of == "repeat" else 0)
            chosen = (draw >= begin) & (draw < begin + share)
            if of == "corrected":
                chosen &= _draw(random, 1) < _CORRECTED
            found, random = found[chosen], random[chosen]
        predicted, actual, corrected = _labels(random)
        labels = predicted
        if of == "delay":
            labels = actual
            self._add(actual, predicted, 1)
        elif of == "corrected":
            labels = corrected
            self._add(actual, predicted, -1)
            self._add(corrected, predicted, 1)
        steps = found + delay * SECOND // self.interval
        times = (self._start + steps * self.interval).tolist()
        # A repeat is the same event, with the time of the first.
        shift = delay * SECOND // self.interval * self.interval if of == "repeat" else 0
        texts = [_text(time - shift) for time in times]
        events: list[Row] = [
            (time, _HEADERS, form % (text, request, bodies[label]))
            for time, text, request, label in zip(
                times, texts, random.tolist(), labels.tolist(), strict=True
            )
        ]
        return steps, events

    def _add(self, actual: _Numbers, predicted: _Numbers, sign: int) -> None:
        self._cells += sign * numpy.bincount((actual * 3 + predicted).astype(int), minlength=9)


@lru_cache(10_000)
def _second(seconds: int) -> bytes:
    return format_time(seconds * SECOND)[:19].encode()


def _text(time: int) -> bytes:
    return b"%s.%09dZ" % (_second(time // SECOND), time % SECOND)


def _random(numbers: NDArray[numpy.int64]) -> _Numbers:
    """Numbers mixed by splitmix64: no two are equal."""
    mixed = numbers.astype(numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> numpy.uint64(31))


def _draw(random: _Numbers, number: int) -> _Numbers:
    return (random >> numpy.uint64(10 * number)) % numpy.uint64(1000)


def _labels(random: _Numbers) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The predicted label, the truth, and the corrected truth."""
    three = numpy.uint64(3)
    predicted = (random >> numpy.uint64(40)) % three
    right = (random >> numpy.uint64(44)) % numpy.uint64(100) < 73
    actual = numpy.where(right, predicted, (random >> numpy.uint64(52)) % three)
    return predicted, actual, (actual + numpy.uint64(1)) % three
