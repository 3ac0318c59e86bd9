"""Events of fictitious models, for reports."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from processor.domain.timestamps import SECOND, format_time, parse_time

START = parse_time("2026-03-01T00:00:00Z") or 0
HOSTILE = (
    "<script>console.error('owned')</script>",
    "\"><img src=http://127.0.0.1:9/x onerror=console.error('owned')>",
    "</style></svg>'&amp;{{body}}\u202eabc\x1b[31m",
    "=1+1\n,second line",
    "",
    "a.b",
)


def event(
    kind: str, request: str, seconds: float, data: Any, start: int = START, **names: str
) -> dict[str, Any]:
    """One event, a response or a feedback, ``seconds`` after ``start`` (ns)."""
    kind = {"response": "inference.response"}.get(kind, kind)
    given = {"namespace": "shop", "deployment": "pets", "predictor": "default", "model": "clf"}
    given |= names
    return {
        "headers": {
            "ce-id": f"{kind}-{request}-{given['predictor']}-{seconds}",
            "ce-type": f"io.seldon.serving.{kind}",
            "ce-requestid": request,
            "ce-time": format_time(start + int(seconds * SECOND)),
            "ce-inferenceservicename": given["deployment"],
            "ce-namespace": given["namespace"],
            "ce-endpoint": given["predictor"],
            "ce-modelid": given["model"],
            "content-type": "application/json",
        },
        "data": data,
    }


def label(value: str) -> dict[str, Any]:
    return {"data": {"ndarray": [value]}}


def traffic(
    n: int,
    hours: float,
    labels: tuple[str, ...],
    right: float = 0.8,
    answered: float = 0.7,
    shadow: float = 0.0,
    seed: int = 1,
    start: int = START,
    delay: float = 7200,
) -> Iterator[dict[str, Any]]:
    """The events of ``n`` requests over some ``hours``. The shares are: ``right`` predictions,
    ``answered`` requests with feedback (after ``delay`` seconds on average), and requests with a second
    prediction by a ``shadow`` model that is right less often."""
    dice = random.Random(seed)
    for i in range(n):
        time = dice.random() * hours * 3600
        truth = dice.choice(labels)

        def answer(share: float, truth: str = truth) -> dict[str, Any]:
            return label(truth if dice.random() < share else dice.choice(labels))

        yield event("response", f"r{i}", time, answer(right), start)
        if dice.random() < shadow:
            yield event(
                "response",
                f"r{i}",
                time + 0.5,
                answer(right - 0.1),
                predictor="shadow",
                model="new",
            )
        if dice.random() < answered:
            later = time + dice.expovariate(1 / delay)
            yield event("feedback", f"r{i}", later, {"truth": label(truth)}, start)


def write(path: Path, events: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return path
