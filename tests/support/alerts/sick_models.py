"""Models that were well for a month and get sick in one way each, as events of an events file."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from processor.domain.timestamps import SECOND, format_time

DAY = 86_400 * SECOND
_DELAY = 600 * SECOND
NAMESPACE = "hospital"

MODELS_FILE = f"""\
models:
  - match: {NAMESPACE}/lost
    min_coverage: 0.5
  - match: {NAMESPACE}/numbers
    task: regression
    max_error: 5
"""

#: The value that a model predicts, and the truth; None where none comes.
Row = tuple[Any, Any | None]
Draw = Callable[[random.Random], Row]
#: Days before now, events each, and rows in an event; then what a row is.
Span = tuple[float, float, int, int, Draw]


class SickModel(NamedTuple):
    """A model's healthy past, and the events that make it sick."""

    name: str
    well: tuple[Span, ...]
    sick: tuple[Span, ...]


def _right(share: float, classes: str = "ab") -> Draw:
    """Two or more classes; this share of the answers is right."""

    def draw(rng: random.Random) -> Row:
        actual = rng.choice(classes)
        other = classes[(classes.index(actual) + 1) % len(classes)]
        return (actual if rng.random() < share else other), actual

    return draw


def _unlabelled(rng: random.Random) -> Row:
    return rng.choice("ab"), None


def _mostly_a(rng: random.Random) -> Row:
    label = "a" if rng.random() < 0.95 else "b"
    return label, label


def _sure(share: float) -> Draw:
    """A probability of 0.98 for the class that is right in this share of the answers."""

    def draw(rng: random.Random) -> Row:
        actual, right = rng.randrange(2), rng.random() < share
        predicted = actual if right else 1 - actual
        scores = [0.02, 0.02]
        scores[predicted] = 0.98
        return scores, [float(n == actual) for n in range(2)]

    return draw


def _off(by: float) -> Draw:
    def draw(rng: random.Random) -> Row:
        actual = round(rng.uniform(50, 150), 2)
        return round(actual + rng.choice((-by, by)) * rng.uniform(0.5, 1.5), 2), actual

    return draw


def _month(draw: Draw, end: float = 1.1) -> tuple[Span, ...]:
    """Four events of 25 rows a day, up to so many days before now."""
    return ((29.0, end, int(4 * (29 - end)), 25, draw),)


def _day(draw: Draw, rows: int = 80) -> tuple[Span, ...]:
    return ((0.9, 0.1, 8, rows, draw),)


#: The deployments of `NAMESPACE`.
SICK_MODELS = (
    SickModel("wrong", _month(_right(0.95)), _day(_right(0.25))),
    SickModel("lost", _month(_right(0.95), 0.1), _day(_unlabelled, 200)),
    SickModel("stopped", _month(_right(0.95), 4.0), ((3.9, 0.1, 40, 25, _unlabelled),)),
    SickModel("drifted", _month(_right(0.99), 7.2), ((6.9, 0.1, 30, 25, _mostly_a),)),
    SickModel("vanished", _month(_right(1.0, "abc")), _day(_right(1.0))),
    SickModel("sure", _month(_sure(0.98)), _day(_sure(0.6))),
    SickModel("numbers", _month(_off(1.0)), _day(_off(20.0))),
)


def events_of(models: tuple[SickModel, ...], *, sick: bool, now: int) -> list[str]:
    """The lines of all models' events in the order of their times (ns)."""
    lines = [
        line
        for model in models
        for number, span in enumerate(model.sick if sick else model.well)
        for line in _lines(model.name, f"{sick}-{number}", span, now)
    ]
    return [text for _, text in sorted(lines)]


def _lines(name: str, part: str, span: Span, now: int) -> Iterator[tuple[int, str]]:
    since, until, events, rows, draw = span
    rng = random.Random(f"{name} {part}")
    for number in range(events):
        at = now - round((since + (until - since) * number / events) * DAY)
        drawn = [draw(rng) for _ in range(rows)]
        request = f"{name}-{part}-{number}"
        answer = {"data": {"ndarray": [predicted for predicted, _ in drawn]}}
        yield at, event("inference.response", name, request, at, answer)
        if drawn[0][1] is not None:
            truth = {"truth": {"data": {"ndarray": [actual for _, actual in drawn]}}}
            yield at + _DELAY, event("feedback", name, request, at + _DELAY, truth)


def event(kind: str, deployment: str, request: str, at: int, data: Any) -> str:
    """A line of an events file."""
    headers = {
        "ce-type": f"io.seldon.serving.{kind}",
        "ce-requestid": request,
        "ce-time": format_time(at),
        "ce-inferenceservicename": deployment,
        "ce-namespace": NAMESPACE,
        "content-type": "application/json",
    }
    return json.dumps({"headers": headers, "data": data}) + "\n"
