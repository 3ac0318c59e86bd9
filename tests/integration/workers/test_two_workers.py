"""Two workers on a real Kafka share the work, and their union is exact."""

import asyncio
import json
from collections.abc import Callable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.faults.cluster import Worker, until
from tests.support.servers import Broker
from tests.support.workers import (
    DATA,
    Get,
    Start,
    assert_equal,
    expected,
    kafka_settings,
    models,
    produce,
)

CELL = tuple[str, str]


async def test_two_workers_started_at_once_on_fresh_topics(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get
) -> None:
    source = topic(partitions=8)
    settings = kafka_settings(kafka, source, app_id)
    workers = [start(**settings), start(**settings)]
    await produce(kafka.bootstrap, source)

    async def both_ready() -> bool:
        states = [await get(worker, "/ready") for worker in workers]
        if any(status != 200 for status, _ in states):
            return False
        held = [json.loads(body)["partitions"] for _, body in states]
        return all(
            sorted(held[0][log] + held[1][log]) == list(range(8))
            for log in ("observations", "deltas")
        ) and all(part["observations"] for part in held)

    await until(both_ready, 60, "both workers ready, partitions shared")

    async def judged() -> bool:
        found = [int(m["judged"]) for w in workers for m in await models(get, w)]
        return sum(found) == 63

    await until(judged, 60, "63 judged")
    # Once more after a while: nothing may come twice.
    for _ in range(10):
        (found,) = [model for worker in workers for model in await models(get, worker)]
        assert_equal(found, expected())
        await asyncio.sleep(0.1)
    await _check_metrics(workers, get)
    await _check_feedback(workers)
    for worker in workers:
        assert await worker.terminate() == 0


async def _check_feedback(workers: list[Worker]) -> None:
    """The worker that holds a request's partition says whether it has a prediction; the other cannot."""
    line = (DATA / "events.ndjson").read_text().splitlines()[0]
    known = json.loads(line)["headers"]["ce-requestid"]
    async with aiohttp.ClientSession() as session:
        for request_id, matched in ((known, True), ("no-such-request", False)):
            found = []
            for worker in workers:
                async with session.post(
                    f"{await worker.ingress()}feedback?deployment=sklearn&namespace=seldon",
                    json={"truth": 2},
                    headers={"Seldon-Puid": request_id},
                ) as answer:
                    found.append((await answer.json())["matched"])
            assert sorted(found, key=str) == sorted((matched, None), key=str), request_id


async def _check_metrics(workers: list[Worker], get: Get) -> None:
    """The scrapes of both together say the same, and no series is published twice."""
    seen: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for worker in workers:
        _, text = await get(worker, "/metrics")
        for family in text_string_to_metric_families(text):
            if not family.name.startswith("model_"):
                continue
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in seen, key
                seen[key] = sample.value

    def value(name: str, **labels: str) -> float:
        wanted = {
            "deployment_namespace": "seldon",
            "deployment": "sklearn",
            "predictor": "default",
            "model": "classifier",
            "window": "all",
            "by": "request",
            **labels,
        }
        return seen[name, frozenset(wanted.items())]

    truth = expected()
    assert value("model_predictions") == 100
    assert value("model_judged") == 63
    assert value("model_correct") == 46
    assert abs(value("model_accuracy_ratio") - truth["accuracy"]) < 1e-9
    assert abs(value("model_specificity_macro_ratio") - truth["macro"]["specificity"]) < 1e-9
    for cell in truth["confusion"]:
        labels = {"actual": cell["actual"], "predicted": cell["predicted"]}
        assert value("model_confusion_cells", **labels) == cell["count"]
