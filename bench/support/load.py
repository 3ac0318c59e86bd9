"""A seeded load of CloudEvents as Seldon's executor and Knative put them on Kafka, and its exact counts.

The same draws make the events and the expected counts, so no code of the processor decides what is
right.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

Headers = list[tuple[str, bytes]]

NAMES = ("t:0", "t:1", "t:2")
SPAN_NS = 28 * 60 * 1_000_000_000
_START_NS = 1_795_165_200_000_000_000
NAMESPACE = "seldon"

#: Shares of the notebook's experiment: 63 of 100 predictions are judged, 46 of these are right.
_FEEDBACK, _RIGHT = 0.63, 46 / 63
_CORRECTED, _DUPLICATED = 0.01, 0.01

#: Events are shuffled within blocks of this size, so some feedback comes before its prediction.
_BLOCK = 2_000

_DAY = "20/11/2026"
_BASE: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_source", b"http://:8000/"),
    ("ce_modelid", b"classifier"),
    ("ce_namespace", NAMESPACE.encode()),
    ("ce_endpoint", b"default"),
    ("ce_protocol", b"seldon"),
    ("content-type", b"application/json"),
]


class Event(NamedTuple):
    """A record of the source topic."""

    headers: Headers
    value: bytes


class _Judgement(NamedTuple):
    position: int
    time_ns: int
    actual: int


class _Request(NamedTuple):
    number: int
    id: bytes
    model: int
    time_ns: int
    predicted: int
    judgements: tuple[_Judgement, ...]


@dataclass
class ModelCounts:
    """The exact counts of one deployment in window `all`, by time of the request."""

    predictions: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        return self.cells.total()

    @property
    def correct(self) -> int:
        return sum(
            count for (actual, predicted), count in self.cells.items() if actual == predicted
        )


@dataclass
class Expected:
    """The exact counts of a load, by deployment."""

    models: dict[str, ModelCounts] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        return sum(model.judged for model in self.models.values())

    def add(self, other: "Expected") -> None:
        """Add the counts of another load."""
        for name, counts in other.models.items():
            model = self.models.setdefault(name, ModelCounts())
            model.predictions += counts.predictions
            model.cells.update(counts.cells)


@dataclass(frozen=True)
class Load:
    """`requests` predictions over 28 minutes of event time, and their feedback.

    1 % of the feedback is corrected later, 1 % of the events come twice.
    """

    requests: int
    models: int = 10
    seed: int = 1
    start_ns: int = _START_NS
    request_events: bool = False
    classes: int = len(NAMES)

    @classmethod
    def of_events(
        cls, events: int, models: int = 10, start_ns: int = _START_NS, classes: int = len(NAMES)
    ) -> "Load":
        """The load with about that many response and feedback events."""
        each = (1 + _FEEDBACK * (1 + _CORRECTED)) * (1 + _DUPLICATED)
        requests = max(1, round(events / each))
        return cls(requests, models, start_ns=start_ns, classes=classes)

    def expected(self) -> Expected:
        """The exact counts of all events."""
        expected = Expected()
        for request in self._requests():
            model = expected.models.setdefault(deployment(request.model), ModelCounts())
            model.predictions += 1
            if request.judgements:
                actual = request.judgements[-1].actual
                model.cells[f"t:{actual}", f"t:{request.predicted}"] += 1
        return expected

    def events(self) -> Iterator[Event]:
        """All events in order of time, except for the shuffle within blocks."""
        rng = random.Random(self.seed + 1)
        blocks: dict[int, list[Event]] = {}
        done = 0
        for request in self._requests():
            for position, event in self._events_of(request, rng):
                blocks.setdefault(position // _BLOCK, []).append(event)
                if rng.random() < _DUPLICATED:
                    again = position + rng.randrange(_BLOCK)
                    blocks.setdefault(again // _BLOCK, []).append(event)
            if request.number // _BLOCK > done:
                yield from _shuffled(blocks.pop(done, []), rng)
                done += 1
        for number in sorted(blocks):
            yield from _shuffled(blocks[number], rng)

    def _requests(self) -> Iterator[_Request]:
        rng = random.Random(self.seed)
        step = SPAN_NS / self.requests
        mean_delay = max(self.requests / 50, 200)
        for number in range(self.requests):
            predicted = rng.randrange(self.classes)
            judgements: list[_Judgement] = []
            position = number
            while rng.random() < (_CORRECTED if judgements else _FEEDBACK):
                position = min(position + int(rng.expovariate(1 / mean_delay)), self.requests - 1)
                # Positions may be equal at the end; a correction is later all the same.
                time_ns = self.start_ns + int(position * step) + len(judgements) + 1
                judgements.append(
                    _Judgement(position, time_ns, _actual(predicted, self.classes, rng))
                )
            yield _Request(
                number=number,
                id=_uuid(rng),
                model=rng.randrange(self.models),
                time_ns=self.start_ns + int(number * step),
                predicted=predicted,
                judgements=tuple(judgements),
            )

    def _events_of(
        self, request: _Request, rng: random.Random
    ) -> Iterator[tuple[int, Event]]:  # fmt: skip
        inference = "io.seldon.serving.inference"
        if self.request_events:
            headers = _headers(f"{inference}.request", request, request.time_ns - 9_000_000, rng)
            yield request.number, Event(headers, b'{"data":{"ndarray":[[6.7,3.0,5.2,2.3]]}}')
        headers = _headers(f"{inference}.response", request, request.time_ns, rng)
        yield request.number, Event(headers, _response(request.predicted, self.classes, rng))
        for judgement in request.judgements:
            headers = _headers("io.seldon.serving.feedback", request, judgement.time_ns, rng)
            feedback = _feedback(judgement.actual, request.predicted, self.classes)
            yield judgement.position, Event(headers, feedback)


def right_answer(model: int, time_ns: int, rng: random.Random) -> tuple[Event, Event]:
    """A prediction with a new request id, and the feedback that it was right."""
    request = _Request(0, _uuid(rng), model, time_ns, predicted=0, judgements=())
    kinds = "io.seldon.serving.inference.response", "io.seldon.serving.feedback"
    answer, judgement = (_headers(kind, request, time_ns, rng) for kind in kinds)
    return Event(answer, _response(0, len(NAMES), rng)), Event(
        judgement, _feedback(0, 0, len(NAMES))
    )


def deployment(model: int) -> str:
    """The name of the deployment of a model."""
    return f"model-{model}"


def _actual(predicted: int, classes: int, rng: random.Random) -> int:
    if rng.random() < _RIGHT:
        return predicted
    return (predicted + rng.randrange(1, classes)) % classes


def _shuffled(block: list[Event], rng: random.Random) -> list[Event]:
    rng.shuffle(block)
    return block


def _uuid(rng: random.Random) -> bytes:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def _rfc3339(time_ns: int) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{_whole_second(seconds)}.{nanoseconds:09}Z".encode()


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _headers(kind: str, request: _Request, time_ns: int, rng: random.Random) -> Headers:
    return [
        *_BASE,
        ("ce_type", kind.encode()),
        ("ce_id", _uuid(rng)),
        ("ce_time", _rfc3339(time_ns)),
        ("ce_requestid", request.id),
        ("ce_inferenceservicename", deployment(request.model).encode()),
        (
            "ce_traceparent",
            f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-00".encode(),
        ),
    ]


@lru_cache
def _names(classes: int) -> str:
    return ",".join(f'"t:{number}"' for number in range(classes))


def _response(predicted: int, classes: int, rng: random.Random) -> bytes:
    top = 0.51 + 0.4 * rng.random()
    second = (1 - top) * rng.random()
    others = classes - 2
    scores = [second, *[(1 - top - second) / others] * others] if others else [1 - top]
    scores.insert(predicted, top)
    row = ",".join(map(repr, scores))
    return (
        f'{{"data":{{"names":[{_names(classes)}],"ndarray":[[{row}]]}},'
        '"meta":{"requestPath":{"classifier":"seldonio/sklearnserver:1.13.1"}}}\n'
    ).encode()


def _feedback(actual: int, predicted: int, classes: int) -> bytes:
    meta = f'"meta":{{"tags":{{"user":"Seldon Admin","date":"{_DAY}"}}}}'
    if actual == predicted:
        return f'{{"reward":1,"truth":{{{meta}}}}}'.encode()
    row = ",".join("1" if position == actual else "0" for position in range(classes))
    return (
        f'{{"reward":0,"truth":{{"data":{{"names":[{_names(classes)}],"ndarray":[[{row}]]}},{meta}}}}}'
    ).encode()


async def produce(bootstrap: str, topic: str, load: Load, partitions: int = 8) -> int:
    """Put the load on the topic with null keys, each event on the next partition; their number."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks=1, linger_ms=50, max_batch_size=256 * 1024
    )
    count = 0
    async with producer:
        batches = [producer.create_batch() for _ in range(partitions)]

        async def flush(partition: int) -> None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()

        for count, (headers, value) in enumerate(load.events(), start=1):
            partition = count % partitions
            record = {"key": None, "value": value, "headers": headers, "timestamp": None}
            if batches[partition].append(**record) is None:
                await flush(partition)
                batches[partition].append(**record)
        for partition in range(partitions):
            await flush(partition)
        await producer.flush()
    return count
