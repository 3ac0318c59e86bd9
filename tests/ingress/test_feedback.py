"""`POST /feedback`: the forms of a body, what the answer says, and that a replay reads the same."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processor.domain.events.raw_event import RawEvent
from processor.domain.model_rules import ModelRules
from processor.ingress.feedback import EXAMPLES
from processor.ingress.http import make_ingress
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.settings import Settings
from tests.support.fake_sink import NOW, TIME, FakeSink, Start, error

PATH = "/feedback?deployment=pets&namespace=vision"
PUID = {"Seldon-Puid": "order-17"}
MODULE: dict[str, Any] = {
    "namespace": "vision",
    "pipelineName": "pets",
    "modelName": "forest",
    "requestId": "order-17",
    "batchId": 0,
    "feedback": {"classificationFeedback": {"value": 1}},
}


def judged(events: list[RawEvent], answer: object) -> dict[str, int]:
    """The cells of a replay of a prediction and of what the sink was given."""
    names = {
        "ce_type": b"io.seldon.serving.inference.response",
        "ce_requestid": b"order-17",
        "ce_inferenceservicename": b"pets",
        "ce_namespace": b"vision",
        "ce_time": b"2026-11-20T09:00:00Z",
    }
    fold = ReplayFold(ModelRules(), Selection())
    fold.add([RawEvent(tuple(names.items()), json.dumps(answer).encode(), -1), *events])
    (model,) = fold.result().models
    return {f"{cell.actual} as {cell.predicted}": cell.count for cell in model.confusion}


SCORES = {"data": {"names": ["cat", "dog"], "ndarray": [[0.1, 0.9]]}}


@pytest.mark.parametrize(
    ("body", "cells"),
    [
        ({"truth": "cat"}, {"cat as dog": 1}),
        ({"truth": 0}, {"cat as dog": 1}),
        ({"truth": ["cat"]}, {"cat as dog": 1}),
        ({"truth": [[1, 0]]}, {"cat as dog": 1}),
        ({"truth": {"data": {"ndarray": [0]}}}, {"cat as dog": 1}),
        ({"reward": 1}, {"dog as dog": 1}),
        ({"reward": 0, "truth": "dog"}, {"dog as dog": 1}),
        (MODULE, {"dog as dog": 1}),
    ],
)
async def test_every_form_is_read(
    start: Start, sink: FakeSink, body: Any, cells: dict[str, int]
) -> None:
    client = await start()
    answer = await client.post(PATH, json=body, headers=PUID)
    assert answer.status == 202, await answer.text()
    assert await answer.json() == {"accepted": 1, "time": TIME, "matched": None}
    assert judged(sink.events, SCORES) == cells


async def test_a_value_for_each_row(start: Start, sink: FakeSink) -> None:
    client = await start()
    await client.post(PATH, json={"truth": ["cat", "dog"]}, headers=PUID)
    rows = {"data": {"ndarray": ["cat", "cat"]}}
    assert judged(sink.events, rows) == {"cat as cat": 1, "dog as cat": 1}


async def test_the_examples_are_accepted(start: Start, sink: FakeSink) -> None:
    client = await start()
    for example in EXAMPLES:
        path, headers = ("/feedback", {}) if "requestId" in example else (PATH, PUID)
        answer = await client.post(path, data=example, headers=headers)
        assert answer.status == 202, example
    assert len(sink.events) == len(EXAMPLES)


@pytest.mark.parametrize(
    "body",
    [{}, {"label": "cat"}, {"truth": None}, {"truth": {"label": "cat"}}, {"truth": {}, "meta": 1},
     {**MODULE, "feedback": {}}, {**MODULE, "feedback": {"otherFeedback": {"value": 1}}},
     {**MODULE, "feedback": {"classificationFeedback": {}}}],
)  # fmt: skip
async def test_a_body_that_says_nothing_is_refused_and_kept(
    start: Start, sink: FakeSink, body: Any
) -> None:
    """It is stored, so that the service and a replay count it as what it is (rule 9)."""
    client = await start()
    answer = await client.post(PATH, json=body, headers=PUID)
    assert "neither a truth nor a reward" in await error(answer, 400, "says_nothing")
    said = await answer.json()
    assert said["examples"] == [*EXAMPLES]
    assert (said["accepted"], said["rejected"]) == (0, 1)
    fold = ReplayFold(ModelRules(), Selection())
    fold.add(sink.events)
    assert fold.result().events.says_nothing == 1


@pytest.mark.parametrize(
    ("body", "reason", "detail"),
    [
        ('{"truth": {"data": 3}}', "bad_shape", "truth.data is a number, and must be an object"),
        ("[1]", "bad_shape", "the JSON is a list, and must be an object"),
        ('{"truth": []}', "bad_shape", "no rows"),
        ('{"reward": "good"}', "bad_reward", "reward 'good' is no number up to 1e6"),
    ],
)
async def test_a_body_that_cannot_be_read_gets_plain_words_and_examples(
    sink: FakeSink, start: Start, body: str, reason: str, detail: str
) -> None:
    client = await start()
    sink.decodes = True
    answer = await client.post(PATH, data=body, headers=PUID)
    assert await error(answer, 400, reason) == detail
    assert (await answer.json())["examples"] == [*EXAMPLES]


@pytest.mark.parametrize(
    ("change", "query", "headers", "detail"),
    [
        ({"batchId": 3}, "", {}, "batchId 3 is a row of a batch"),
        ({}, "", {"Seldon-Puid": "other"}, "the body's requestId differ"),
        ({}, "?deployment=other", {}, "the deployment is given twice"),
        ({"requestId": ""}, "", {}, "the header seldon-puid is missing"),
        ({"pipelineName": None}, "", {}, "the deployment is missing"),
        ({"requestId": 17}, "", {}, "requestId is a number, and must be a text"),
        ({"feedback": 2}, "", {}, "feedback is a number, and must be an object"),
    ],
)
async def test_a_module_body_that_names_another_row_or_model(
    start: Start,
    sink: FakeSink,
    change: dict[str, Any],
    query: str,
    headers: dict[str, str],
    detail: str,
) -> None:
    client = await start()
    answer = await client.post(f"/feedback{query}", json=MODULE | change, headers=headers)
    assert detail in await error(answer, 400, "bad_request")
    assert not sink.events


@pytest.mark.parametrize(
    "body",
    [b'{"feedback": {"regressionFeedback": {"value": NaN}}}', b'{"feedback": {"a": "\\ud800"}}',
     b'{"feedback": "\xff"}', b'{"feedback": ' + b"[" * 100_000, b'"feedback"', b'[{"feedback": 1}]'],
)  # fmt: skip
async def test_a_body_that_is_no_json_is_no_defect(
    start: Start, sink: FakeSink, body: bytes
) -> None:
    client = await start()
    sink.decodes = True
    answer = await client.post(PATH, data=body, headers=PUID)
    assert answer.status == 400
    assert (await answer.json())["reason"] in ("bad_request", "bad_json", "bad_shape")


class Lookup:
    """Knows the requests of a dict."""

    def __init__(self, known: dict[tuple[str, str, str], bool]) -> None:
        self._known = known

    def known(self, namespace: str, deployment: str, request_id: str) -> bool | None:
        return self._known.get((namespace, deployment, request_id))


async def test_the_answer_says_whether_a_prediction_is_known(sink: FakeSink) -> None:
    known = {("vision", "pets", "order-17"): True, ("vision", "pets", "order-18"): False}
    app = make_ingress(sink, Settings(), lambda: NOW, lookup=Lookup(known))
    async with TestClient(TestServer(app)) as client:
        for request_id, matched in (("order-17", True), ("order-18", False), ("order-19", None)):
            headers = {"Seldon-Puid": request_id}
            answer = await client.post(PATH, json={"truth": "cat"}, headers=headers)
            assert (await answer.json())["matched"] is matched
        answer = await client.post("/feedback", json=MODULE)
        assert (await answer.json())["matched"] is True
