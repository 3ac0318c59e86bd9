"""A seeded load of CloudEvents as Seldon's executor and Knative put them on Kafka, and its exact counts.

The same draws make the events and the expected counts, so no code of the processor decides what is
right.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from ..messages import seldon
from ..messages.kind import (
    NAMESPACE,
    Event,
    Headers,
    Judgement,
    Kind,
    Request,
    Row,
    deployment,
    events_per_request,
)

__all__ = [
    "NAMES", "NAMESPACE", "PLAIN", "SPAN_NS", "Event", "Expected", "Headers", "Load", "ModelCounts",
    "deployment", "produce", "right_answer",
]  # fmt: skip

#: The plain load: predictions with the probabilities of three named classes.
PLAIN = seldon.named_scores()
NAMES = tuple(map(PLAIN.label, range(PLAIN.classes)))
SPAN_NS = 28 * 60 * 1_000_000_000
_START_NS = 1_795_165_200_000_000_000

#: Shares of the notebook's experiment: 63 of 100 predictions are judged, 46 of these are right.
_FEEDBACK, _RIGHT = 0.63, 46 / 63
_CORRECTED, _DUPLICATED = 0.01, 0.01

#: Events are shuffled within blocks of this size, so some feedback comes before its prediction.
_BLOCK = 2_000


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

    1 % of the feedback is corrected later, 1 % of the events come twice. The models take turns with
    the `kinds` of messages. Not `shuffled`, the events come in the order of their times, but for
    kinds whose feedback comes first.
    """

    requests: int
    models: int = 10
    seed: int = 1
    start_ns: int = _START_NS
    kinds: tuple[Kind, ...] = (PLAIN,)
    shuffled: bool = True

    @classmethod
    def of_events(
        cls, events: int, models: int = 10, start_ns: int = _START_NS,
        kinds: tuple[Kind, ...] = (PLAIN,), shuffled: bool = True,
    ) -> "Load":  # fmt: skip
        """The load with about that many events."""
        each = events_per_request(kinds, _FEEDBACK * (1 + _CORRECTED)) * (1 + _DUPLICATED)
        requests = max(1, round(events / each))
        return cls(requests, models, start_ns=start_ns, kinds=kinds, shuffled=shuffled)

    def judged_answers(self) -> int:
        """How many answers get feedback, each predictor's counted."""
        return sum(
            len(self._kind(request.model).endpoints(request))
            for request in self._requests()
            if request.judgements
        )

    def expected(self) -> Expected:
        """The exact counts of all events, of kinds whose rows are labels or scores."""
        expected = Expected()
        for request in self._requests():
            model = expected.models.setdefault(deployment(request.model), ModelCounts())
            model.predictions += len(request.rows)
            if request.judgements:
                label = self._kind(request.model).label
                actual = map(label, request.judgements[-1].actual)
                model.cells.update(zip(actual, map(label, request.predicted), strict=True))
        return expected

    def events(self) -> Iterator[Event]:
        """All events in order of time, except for the shuffle within blocks."""
        rng = random.Random(self.seed + 1)
        blocks: dict[int, list[tuple[int, Event]]] = {}
        done = 0
        for request in self._requests():
            for position, event in self._kind(request.model).events_of(request, rng):
                blocks.setdefault(position // _BLOCK, []).append((position, event))
                if rng.random() < _DUPLICATED:
                    again = position + rng.randrange(_BLOCK)
                    blocks.setdefault(again // _BLOCK, []).append((again, event))
            if request.number // _BLOCK > done:
                yield from self._ordered(blocks.pop(done, []), rng)
                done += 1
        for number in sorted(blocks):
            yield from self._ordered(blocks[number], rng)

    def _ordered(self, block: list[tuple[int, Event]], rng: random.Random) -> Iterator[Event]:
        if self.shuffled:
            rng.shuffle(block)
        else:
            block.sort(key=lambda placed: placed[0])
        return (event for _, event in block)

    def _kind(self, model: int) -> Kind:
        return self.kinds[model % len(self.kinds)]

    def _requests(self) -> Iterator[Request]:
        rng = random.Random(self.seed)
        step = SPAN_NS / self.requests
        mean_delay = max(self.requests / 50, 200)
        for number in range(self.requests):
            model = rng.randrange(self.models)
            kind = self._kind(model)
            rows = tuple(
                Row(rng.randrange(kind.classes), rng.random(), rng.random())
                for _ in range(kind.rows)
            )
            judgements: list[Judgement] = []
            position = number
            while rng.random() < (_CORRECTED if judgements else _FEEDBACK):
                position = min(position + int(rng.expovariate(1 / mean_delay)), self.requests - 1)
                # Positions may be equal at the end; a correction is later all the same.
                time_ns = self.start_ns + int(position * step) + len(judgements) + 1
                actual = tuple(_actual(row.predicted, kind.classes, rng) for row in rows)
                judgements.append(Judgement(position, time_ns, actual))
            yield Request(
                number=number,
                id=kind.request_id(rng),
                model=model,
                time_ns=self.start_ns + int(number * step),
                rows=rows,
                judgements=tuple(judgements),
            )


def right_answer(model: int, time_ns: int, rng: random.Random) -> tuple[Event, Event]:
    """A prediction with a new request id, and the feedback that it was right."""
    judgement = Judgement(0, time_ns, (0,))
    rows = (Row(0, rng.random(), rng.random()),)
    request = Request(0, PLAIN.request_id(rng), model, time_ns, rows, (judgement,))
    (_, answer), (_, feedback) = PLAIN.events_of(request, rng)
    return answer, feedback


def _actual(predicted: int, classes: int, rng: random.Random) -> int:
    if classes == 1 or rng.random() < _RIGHT:
        return predicted
    return (predicted + rng.randrange(1, classes)) % classes


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
