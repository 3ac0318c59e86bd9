"""A kind of message: how a request, its answers and its feedback are written as events."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from random import Random
from typing import NamedTuple

from processor.domain.model_rules import Rule

Headers = list[tuple[str, bytes]]

NAMESPACE = "seldon"
JSON, PROTOBUF = b"application/json", b"application/protobuf"


class Event(NamedTuple):
    """A record of the source topic."""

    headers: Headers
    value: bytes


class Row(NamedTuple):
    """An item of an answer: the predicted class by position, and two random numbers in [0, 1) that its
    scores are made of."""

    predicted: int
    first: float
    second: float


class Judgement(NamedTuple):
    """A feedback: its place among the events, its time, and the actual class of each row."""

    position: int
    time_ns: int
    actual: tuple[int, ...]


class Request(NamedTuple):
    """A request with its answer and all its feedback, the last of which counts."""

    number: int
    id: bytes
    model: int
    time_ns: int
    rows: tuple[Row, ...]
    judgements: tuple[Judgement, ...]

    @property
    def predicted(self) -> tuple[int, ...]:
        """The predicted class of each row."""
        return tuple(row.predicted for row in self.rows)


class EventContext(NamedTuple):
    """What the headers of an event say: ``part`` is request, response or feedback."""

    part: str
    request: Request
    endpoint: str
    time_ns: int


def deployment(model: int) -> str:
    """The name of the deployment of a model."""
    return f"model-{model}"


def uuid(rng: Random) -> bytes:
    """A UUID."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def rfc3339(time_ns: int) -> bytes:
    """A time as CloudEvents have it."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{_whole_second(seconds)}.{nanoseconds:09}Z".encode()


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def executor_headers(
    context: EventContext, rng: Random, content_type: bytes = JSON, protocol: bytes = b"seldon"
) -> Headers:
    """The headers of Seldon's executor after Knative's broker: a CloudEvent in binary mode."""
    part, request, endpoint, time_ns = context
    kind = "feedback" if part == "feedback" else f"inference.{part}"
    return [
        ("ce_specversion", b"1.0"),
        ("ce_source", b"http://:8000/"),
        ("ce_modelid", b"classifier"),
        ("ce_namespace", NAMESPACE.encode()),
        ("ce_endpoint", endpoint.encode()),
        ("ce_protocol", protocol),
        ("content-type", content_type),
        ("ce_type", f"io.seldon.serving.{kind}".encode()),
        ("ce_id", uuid(rng)),
        ("ce_time", rfc3339(time_ns)),
        ("ce_requestid", request.id),
        ("ce_inferenceservicename", deployment(request.model).encode()),
        (
            "ce_traceparent",
            f"00-{rng.getrandbits(128):032x}-{rng.getrandbits(64):016x}-00".encode(),
        ),
    ]


def only_default(_: Request) -> Sequence[str]:
    """The one predictor of most deployments."""
    return ("default",)


def position_label(position: int) -> str:
    """The label of a class without a name."""
    return str(position)


@dataclass(frozen=True)
class Kind:
    """How the events of a request are written.

    ``answer`` and ``feedback`` make bodies, ``question`` that of the request's own event, if there is
    one. ``label`` is what a class counts as, by position. Each of ``endpoints`` answers the request,
    and feedback names the first. ``records`` puts the events of a load of this kind alone into other
    records. ``rule`` stands in the models file.
    """

    title: str
    answer: Callable[[Request], bytes]
    feedback: Callable[[Request, Judgement], bytes]
    question: Callable[[Request], bytes] | None = None
    headers: Callable[[EventContext, Random], Headers] = executor_headers
    request_id: Callable[[Random], bytes] = uuid
    endpoints: Callable[[Request], Sequence[str]] = only_default
    records: Callable[[Iterator[Event]], Iterator[Event]] = iter
    classes: int = 3
    label: Callable[[int], str] = position_label
    rows: int = 1
    feedback_first: bool = False
    rule: Rule | None = None

    def events_of(self, request: Request, rng: Random) -> Iterator[tuple[int, Event]]:
        """The events of a request, each with its place among all events."""
        feedback = list(self._feedback(request, rng))
        place = request.number
        if self.feedback_first and feedback:
            place, feedback = feedback[-1][0], [(place, event) for _, event in feedback]
            yield from feedback
            feedback = []
        endpoints = self.endpoints(request)
        if self.question is not None:
            body, asked_ns = self.question(request), request.time_ns - 9_000_000
            for endpoint in endpoints:
                headers = self.headers(EventContext("request", request, endpoint, asked_ns), rng)
                yield place, Event(headers, body)
        body = self.answer(request)
        for endpoint in endpoints:
            headers = self.headers(
                EventContext("response", request, endpoint, request.time_ns), rng
            )
            yield place, Event(headers, body)
        yield from feedback

    def _feedback(self, request: Request, rng: Random) -> Iterator[tuple[int, Event]]:
        endpoint = self.endpoints(request)[0]
        for judgement in request.judgements:
            context = EventContext("feedback", request, endpoint, judgement.time_ns)
            body = self.feedback(request, judgement)
            yield judgement.position, Event(self.headers(context, rng), body)


def events_per_request(kinds: Iterable[Kind], feedback: float) -> float:
    """The mean number of events of a request, with so much feedback for each."""
    counts = [1 + (kind.question is not None) + feedback for kind in kinds]
    return sum(counts) / len(counts)
