"""Feedback for requests that have left memory, and what the archive is told, on real Elasticsearch."""

import json
import time
import uuid
from typing import Any

from aiokafka import AIOKafkaProducer

from processor.domain.timestamps import SECOND, format_time
from tests.support.archives.app import ArchiveApp
from tests.support.faults.cluster import until
from tests.support.servers.indices import stored
from tests.support.workers import assert_equal, expected, make_index

_DAY = 86_400 * SECOND


def _document(request_id: str, at: int, items: int = 1) -> list[dict[str, Any]]:
    """As the request logger has it: a document for each row."""
    payload = {"data": {"names": ["cat", "dog"], "ndarray": [[0.9, 0.1]] * items}}
    source = {
        "RequestId": request_id,
        "Ce-Namespace": "vision",
        "Ce-Inferenceservicename": "pets",
        "Ce-Endpoint": "default",
        "Ce-Modelid": "classifier",
        "response": {"ce-time": format_time(at), "payload": payload},
    }
    names = [f"{request_id}-item-{i}" for i in range(items)] if items > 1 else [request_id]
    return [{"_id": name, "_source": source} for name in names]


async def _send(app: ArchiveApp, request_id: str, body: dict[str, Any], at: int) -> None:
    """A feedback as the channel has it."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": uuid.uuid4().hex,
        "ce_source": "http://classifier:8000/",
        "ce_type": "io.seldon.serving.feedback",
        "ce_time": format_time(at),
        "ce_requestid": request_id,
        "ce_namespace": "vision",
        "ce_inferenceservicename": "pets",
        "ce_endpoint": "default",
        "ce_modelid": "classifier",
        "content-type": "application/json",
    }
    producer = AIOKafkaProducer(bootstrap_servers=app.kafka.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(
            app.source,
            json.dumps(body).encode(),
            headers=[(name, value.encode()) for name, value in headers.items()],
        )
    finally:
        await producer.stop()


_TRUTH = {"truth": {"data": {"names": ["cat", "dog"], "ndarray": [[0, 1]]}}}


async def test_thirty_days_late_and_twice_counts_once_with_outcomes(app: ArchiveApp) -> None:
    """Rule 18; a batch's items as well, each on its own document."""
    now = time.time_ns()
    documents = _document("r1", now - 30 * _DAY) + _document("r2", now - 30 * _DAY, items=2)
    # One that was counted before: its document shows it.
    (other,) = _document("r3", now - 30 * _DAY)
    other["_source"]["outcome"] = {"predicted": "cat", "actual": "cat", "correct": True}
    index = await make_index(app.client, [*documents, other])
    settings = {"index": index, "outcomes": "on"}
    worker = app.start(**settings)
    await app.bootstrapped(worker)
    await app.counted(worker, predictions=4, judged=0)
    for at in (now, now, now + 1):
        await _send(app, "r1", _TRUTH, at)
    await _send(app, "r3", _TRUTH, now)
    rows = {"truth": {"data": {"names": ["cat", "dog"], "ndarray": [[1, 0], [0, 1]]}}}
    await _send(app, "r2", rows, now)
    await app.counted(worker, predictions=4, judged=3, correct=1)
    await app.metric(worker, "processor_late_total", 1.0)

    async def outcomes() -> dict[str, Any]:
        await app.client.indices.refresh(index=index)
        hits = (await app.client.search(index=index, size=10))["hits"]["hits"]
        return {hit["_id"]: hit["_source"].get("outcome") for hit in hits}

    async def told() -> bool:
        return all((await outcomes()).values())

    await until(told, 60, "every document shows its outcome")
    shown = await outcomes()
    assert shown["r1"] == {
        "predicted": "cat",
        "actual": "dog",
        "correct": False,
        "request_time": format_time(now - 30 * _DAY),
        "feedback_time": format_time(now + 1),
    }
    assert [shown[f"r2-item-{i}"]["correct"] for i in range(2)] == [True, False]
    assert await worker.terminate() == 0


async def test_thirty_days_late_is_late_without_outcomes(app: ArchiveApp) -> None:
    now = time.time_ns()
    index = await make_index(app.client, _document("r1", now - 30 * _DAY))
    worker = app.start(index=index)
    await app.bootstrapped(worker)
    await _send(app, "r1", _TRUTH, now)
    await app.metric(worker, "processor_late_total", 1.0)
    await _send(app, "r1", _TRUTH, now)
    await app.metric(worker, "processor_late_total", 2.0)
    await app.counted(worker, predictions=1, judged=0)
    assert await worker.terminate() == 0


async def test_a_prediction_that_the_stream_has_lost_is_found(app: ArchiveApp) -> None:
    """Its document is written after the bootstrap, and there is no event of it."""
    now = time.time_ns()
    index = await make_index(app.client, _document("r0", now))
    worker = app.start(index=index)
    await app.bootstrapped(worker)
    await _send(app, "r1", _TRUTH, now)
    await app.metric(worker, "processor_unmatched_feedbacks", 1.0)
    (document,) = _document("r1", now)
    await app.client.index(index=index, id="r1", document=document["_source"], refresh=True)
    await app.counted(worker, predictions=2, judged=1, correct=0)
    await app.metric(worker, "processor_unmatched_feedbacks", 0.0)
    assert await worker.terminate() == 0


async def test_kibana_charts_accuracy_from_the_documents(app: ArchiveApp) -> None:
    """The notebook's aggregation, and one over the outcomes; what is written here does not make a
    later start read the documents again and again."""
    documents = stored()
    index = await make_index(app.client, documents)
    settings = {"index": index, "outcomes": "on", "horizon": "3650d"}
    worker = app.start(**settings)
    await app.bootstrapped(worker)
    await app.produce()
    await app.counted(worker, judged=63)
    aggregations: dict[str, Any] = {
        "reward_sum": {"sum": {"field": "feedback.reward"}},
        "reward_count": {"filter": {"exists": {"field": "feedback.reward"}}},
        "accuracy": {
            "filter": {"exists": {"field": "outcome.correct"}},
            "aggs": {"by": {"terms": {"field": "outcome.correct"}}},
        },
    }

    async def by_outcome() -> dict[str, Any]:
        await app.client.indices.refresh(index=index)
        answer = await app.client.search(index=index, size=0, aggs=aggregations)
        found: dict[str, Any] = answer["aggregations"]
        return found

    async def told() -> bool:
        return bool((await by_outcome())["accuracy"]["doc_count"] == 63)

    await until(told, 60, "63 documents show an outcome")
    found = await by_outcome()
    buckets = found["accuracy"]["by"]["buckets"]
    assert {bool(one["key"]): one["doc_count"] for one in buckets} == {True: 46, False: 17}
    rewards = [
        document["_source"]["feedback"]["reward"]
        for document in documents
        if "reward" in document["_source"].get("feedback", {})
    ]
    assert found["reward_count"]["doc_count"] == len(rewards)
    assert found["reward_sum"]["value"] == sum(rewards)
    await app.metric(worker, "processor_outcomes_waiting", 0.0)
    assert await worker.terminate() == 0
    # Those that were written to come up once more, and no more after that.
    for documents_read in (63.0, 0.0):
        worker = app.start(**settings)
        await app.bootstrapped(worker)
        await app.metric(worker, "processor_bootstrap_remaining_documents", 0.0)
        await app.metric(worker, "processor_bootstrap_documents_total", documents_read)
        await app.counted(worker, judged=63)
        model = await app.model(worker)
        assert_equal(model, expected())
        assert await worker.terminate() == 0
