"""`POST /feedback` of a running service: each form counts live as in a replay of what was stored."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.faults.cluster import until
from tests.support.workers import Get, Start, bootstrapped, counted, models

#: Bodies, and the true label that each says of a prediction of `dog`.
FORMS: list[tuple[dict[str, Any], str]] = [
    ({"truth": "cat"}, "cat"),
    ({"truth": 0}, "cat"),
    ({"truth": ["dog"]}, "dog"),
    ({"truth": [[1, 0]]}, "cat"),
    ({"truth": {"data": {"ndarray": [[0, 1]]}}}, "dog"),
    ({"reward": 0}, "cat"),
    (
        {
            "namespace": "vision",
            "pipelineName": "pets",
            "modelName": "forest",
            "feedback": {"classificationFeedback": {"value": 1}},
        },
        "dog",
    ),
]
PATH = "feedback?deployment=pets&namespace=vision"


async def test_every_form_counts_live_as_in_a_replay(
    start: Start, get: Get, tmp_path: Path
) -> None:
    worker = start()
    url = await worker.ingress()
    scores = {"data": {"names": ["cat", "dog"], "ndarray": [[0.1, 0.9]]}}
    async with aiohttp.ClientSession() as session:

        async def post(path: str, body: Any, **headers: str) -> dict[str, Any]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.post(url + path, json=body, headers=named) as answer:
                found: dict[str, Any] = await answer.json()
                return found | {"status": answer.status}

        for number in range(len(FORMS)):
            names = {"Ce_Type": "io.seldon.serving.inference.response", "Ce_Namespace": "vision"}
            names |= {"Ce_Inferenceservicename": "pets", "Ce_Requestid": f"r{number}"}
            assert (await post("", scores, **names))["status"] == 202
        await bootstrapped(get, worker)
        await counted(get, worker, predictions=len(FORMS))
        for number, (body, _) in enumerate(FORMS):
            said = await post(PATH, body, Seldon_Puid=f"r{number}")
            assert (said["status"], said["matched"]) == (202, True), body
        said = await post(PATH, {"truth": "cat"}, Seldon_Puid="unknown")
        assert (said["status"], said["matched"]) == (202, False)
        said = await post(PATH, {"label": "cat"}, Seldon_Puid="r0")
        assert (said["status"], said["reason"]) == (400, "says_nothing")
    await counted(get, worker, judged=len(FORMS))
    (live,) = await models(get, worker)
    wanted = [label for _, label in FORMS]
    assert live["confusion"] == [
        {"actual": label, "predicted": "dog", "count": wanted.count(label)}
        for label in ("cat", "dog")
    ]

    async def all_counted() -> bool:
        _, text = await get(worker, "/metrics")
        return (
            "processor_says_nothing_total 1.0\n" in text
            and "processor_unmatched_feedbacks 1.0\n" in text
            and 'processor_ingress_requests_total{route="/feedback",status="202"} 8.0\n' in text
            and 'processor_ingress_refused_total{reason="says_nothing"} 1.0\n' in text
        )

    await until(all_counted, 60, "the counters")
    archive = tmp_path / "data" / "events.sqlite"
    ran = subprocess.run(
        [sys.executable, "-m", "processor", "replay", f"sqlite:{archive}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    replayed = json.loads(ran.stdout)
    assert replayed["models"][0]["confusion"] == live["confusion"]
    assert replayed["events"]["says_nothing"] == replayed["events"]["unmatched_feedback"] == 1
