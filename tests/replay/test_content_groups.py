"""A replay judges probabilities and numbers in the native extension, to the same results."""

from __future__ import annotations

import json
import random

import pytest

from processor.domain.events.raw_event import RawEvent
from processor.domain.join.requests.request import Request
from processor.domain.model_rules import ModelRules
from processor.domain.native import use_native
from processor.domain.results import Replay
from processor.replay import content_groups
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection

pytestmark = pytest.mark.skipif(
    not use_native, reason="the native extension is not installed, or switched off"
)

START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
NAMES = ["a", "b", "c"]


def event(kind: str, deployment: str, number: int, body: object, predictor: str) -> RawEvent:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"{kind}{number}",
        "ce_source": "http://:8000/",
        "ce_type": kind,
        "ce_requestid": f"{number:08x}-0000-4000-8000-000000000000",
        "ce_namespace": "seldon",
        "ce_inferenceservicename": deployment,
        "ce_endpoint": predictor,
        "ce_modelid": "classifier",
    }
    pairs = [(name, value.encode()) for name, value in headers.items()]
    return RawEvent(pairs, json.dumps(body).encode(), START + number * SECOND)


def events() -> list[RawEvent]:
    """Probabilities and numbers, with truths and rewards that fit, differ or judge nothing."""
    rng = random.Random(3)
    found = []
    for number in range(300):
        deployment = rng.choice(["scores", "price"])
        if deployment == "scores":
            weights = [rng.random() + 0.01 for _ in NAMES]
            row: object = [weight / sum(weights) for weight in weights]
            truth: object = rng.choice([0, 2, 7, "a", "z", [0, 1, 0], None, [0.2, 0.3, 0.5]])
        else:
            row = rng.choice([-1.5, 0.25, 1e11, 1e30, rng.random() * 100])
            truth = rng.choice([0.5, 1.25, -1e11, 3, "text", 1e30, rng.random() * 100])
        data = {"names": NAMES, "ndarray": [row]} if deployment == "scores" else {"ndarray": [row]}
        found.append(
            event("io.seldon.serving.inference.response", deployment, number, {"data": data}, "a")
        )
        feedback: dict[str, object] = {}
        if rng.random() < 0.7:
            feedback["truth"] = {"data": {"ndarray": [truth]}}
        if rng.random() < 0.4:
            feedback["reward"] = rng.choice([0, 1, 0.5, -1])
        predictor = rng.choice(["a", "a", "", "other"])
        found.append(event("io.seldon.serving.feedback", deployment, number, feedback, predictor))
    return found


SELECTIONS = [
    Selection(),
    Selection("feedback"),
    Selection("request", START + 50 * SECOND, START + 200 * SECOND),
    Selection("feedback", START + 50 * SECOND),
    Selection(deployment="price"),
]


def replayed(selection: Selection) -> Replay:
    fold = ReplayFold(ModelRules(), selection)
    fold.add(events())
    assert fold.result() == fold.result()
    return fold.result()


@pytest.mark.parametrize("selection", SELECTIONS)
def test_results_are_those_of_python(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = replayed(selection)
    judged: list[object] = []
    add = content_groups._ValueJudge.add

    def refuse(judge: content_groups._ValueJudge, request: Request, is_in_range: bool) -> bool:
        judged.append(add(judge, request, is_in_range))
        judge._waiting.clear()
        return False

    monkeypatch.setattr(content_groups._ValueJudge, "add", refuse)
    assert fast == replayed(selection)
    assert judged.count(True) > 300
    assert judged.count(False) > 10
    assert any(model.brier_score or model.rmse for model in fast.models)
