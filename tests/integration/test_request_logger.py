"""The request logger's role, on real Kafka and Elasticsearch."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from elasticsearch import ApiError, AsyncElasticsearch

from processor.kafka.clients import running
from tests.support.archives.app import ArchiveApp
from tests.support.faults.cluster import until
from tests.support.servers.indices import stored
from tests.support.workers import DATA, assert_equal, expected

_TYPES = DATA / "notebook-types"
_INDEX = "inference-log-seldon-seldon-{}-default"


def _renamed(path: Path, deployment: str, folder: Path) -> Path:
    """The experiment's events under another deployment, so that its index is a fresh one."""
    target = folder / f"{deployment}.ndjson"
    target.write_text(
        path.read_text().replace(
            '"ce-inferenceservicename": "sklearn"', f'"ce-inferenceservicename": "{deployment}"'
        ).replace('"ce-inferenceservicename":"sklearn"', f'"ce-inferenceservicename":"{deployment}"')
    )  # fmt: skip
    return target


async def _documents(client: AsyncElasticsearch, index: str) -> dict[str, Any]:
    await client.indices.refresh(index=index, ignore_unavailable=True)
    try:
        answer = await client.search(index=index, size=1000, ignore_unavailable=True)
    except ApiError as error:
        if error.status_code != 503:
            raise
        return {}  # the index was just made: its shard is not started
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


async def test_the_experiment_as_documents(
    app: ArchiveApp, topic: Callable[..., str], tmp_path: Path
) -> None:
    """Equal to what Seldon's logger wrote; a bootstrap from them gives the same metrics, and the
    notebook's aggregation its numbers. Sent twice and read by two workers, nothing changes."""
    deployment = f"sklearn-{uuid.uuid4().hex[:8]}"
    index = _INDEX.format(deployment)
    events = _renamed(_TYPES / "events.ndjson", deployment, tmp_path)
    await app.produce(events)
    await app.produce(events)
    writing = {"horizon": "3650d", "request_logger": "on", "bootstrap": "never"}
    workers = [app.start(**writing, data=f"data-{i}") for i in range(2)]

    async def written() -> bool:
        found = await _documents(app.client, index)
        return len(found) == 100 and sum("feedback" in one for one in found.values()) == 63

    await until(written, 90, "100 documents, 63 with feedback")

    async def all_read() -> bool:
        return await _logged(app) == 2 * 263

    await until(all_read, 60, "both times read")
    assert [await worker.terminate() for worker in workers] == [0, 0]
    wanted = {}
    for document in stored(_TYPES / "elasticsearch.ndjson"):
        one = document["_source"] | {"Ce-Inferenceservicename": deployment}
        if "feedback" in one:
            one["feedback"]["reward"] = int(one["feedback"]["reward"])
        wanted[document["_id"]] = one
    assert await _documents(app.client, index) == wanted
    answer = await app.client.search(
        index=index,
        size=0,
        aggs={
            "reward_sum": {"sum": {"field": "feedback.reward"}},
            "reward_count": {"filter": {"exists": {"field": "feedback.reward"}}},
        },
    )
    assert answer["aggregations"]["reward_sum"]["value"] == 46
    assert answer["aggregations"]["reward_count"]["doc_count"] == 63
    reading = app.start(
        topics=topic(partitions=1), app_id=f"{app.app_id}-b", horizon="3650d", index=index, data="b"
    )
    await app.bootstrapped(reading)
    await app.counted(reading, judged=63)
    found = await app.model(reading)
    assert_equal(found, expected() | {"deployment": deployment})
    assert await reading.terminate() == 0


def _event(deployment: str, kind: str, at: str, data: dict[str, Any]) -> str:
    headers = {
        "ce-id": uuid.uuid4().hex,
        "ce-type": f"io.seldon.serving.{kind}",
        "ce-source": "http://:8000/",
        "ce-specversion": "1.0",
        "ce-time": f"2026-11-20T09:{at}:00Z",
        "ce-requestid": "r1",
        "ce-namespace": "seldon",
        "ce-inferenceservicename": deployment,
        "ce-endpoint": "default",
        "ce-modelid": "classifier",
        "content-type": "application/json",
    }
    return json.dumps({"headers": headers, "data": data})


async def test_a_batch_its_feedback_and_what_seldons_logger_refuses(
    app: ArchiveApp, tmp_path: Path
) -> None:
    """Feedback that comes before its batch reaches each row all the same; an older feedback does not
    replace a newer one, nor leave parts of it; a body over 300,000 bytes is kept."""
    deployment = f"batch-{uuid.uuid4().hex[:8]}"
    index = _INDEX.format(deployment)
    rows = {"data": {"names": ["cat", "dog"], "ndarray": [[0.9, 0.1], [0.2, 0.8]]}}
    truth = {"data": {"ndarray": ["cat", "cat"]}}
    lines = [
        _event(deployment, "feedback", "02", {"truth": truth}),
        _event(deployment, "inference.response", "00", rows | {"meta": {"unknown": "x" * 400_000}}),
        _event(
            deployment, "feedback", "01", {"reward": True, "truth": {"data": {"ndarray": [1, 2]}}}
        ),
    ]
    worker = app.start(request_logger="on", bootstrap="never")
    for number, line in enumerate(lines):
        path = tmp_path / f"{number}.ndjson"
        path.write_text(line + "\n")
        await app.produce(path)

        async def written(number: int = number) -> bool:
            return await _logged(app) == number + 1

        await until(written, 60, f"event {number}")
    await app.metric(worker, "processor_logged_refused_total", 0.0)

    found = await _documents(app.client, index)
    assert found.keys() == {"r1-item-0", "r1-item-1"}
    for item, instance in enumerate([[0.9, 0.1], [0.2, 0.8]]):
        document = found[f"r1-item-{item}"]
        assert document["RequestId"] == "r1"
        assert document["response"]["instance"] == instance
        assert document["response"]["elements"] == dict(zip(["cat", "dog"], instance, strict=True))
        assert len(document["response"]["payload"]["meta"]["unknown"]) == 400_000
        assert document["feedback"] == {
            "truth": truth,
            "ce-time": "2026-11-20T09:02:00Z",
            "ce-source": "http::8000",
        }
        assert document["@timestamp"] == "2026-11-20T09:02:00Z"
    assert await worker.terminate() == 0


async def _logged(app: ArchiveApp) -> int:
    """How many records the request logger has done with."""
    async with running(AIOKafkaAdminClient(bootstrap_servers=app.kafka.bootstrap)) as admin:
        try:
            found = await admin.list_consumer_group_offsets(f"{app.app_id}-request-logger")
        except GroupCoordinatorNotAvailableError:
            return 0  # a new broker makes the topic of the offsets for its first group
        return sum(max(0, at.offset) for at in found.values())
