"""Starting from a real Elasticsearch: no gap, nothing twice, whatever the order."""

import json
from collections.abc import Callable

from elasticsearch import AsyncElasticsearch

from tests.support.faults.cluster import until
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import Elastic
from tests.support.servers.indices import stored
from tests.support.workers import (
    DATA,
    Get,
    Start,
    archive_settings,
    assert_equal,
    bootstrapped,
    counted,
    expected,
    make_index,
    models,
    produce,
)

#: The documents are of one day: they must not expire while the test runs.
_HORIZON = "3650d"


async def test_documents_first_then_all_events(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    elastic: Elastic,
    client: AsyncElasticsearch,
) -> None:
    index = await make_index(client, stored())
    source = topic(partitions=8)
    worker = start(
        **archive_settings(kafka, source, app_id, elastic, index=index, horizon=_HORIZON)
    )
    await bootstrapped(get, worker)
    await counted(get, worker, judged=59)
    (found,) = await models(get, worker)
    (alone,) = json.loads((DATA / "contract-es.json").read_text())["models"]
    assert_equal(found, alone)
    await produce(kafka.bootstrap, source)
    await counted(get, worker, judged=63)
    (found,) = await models(get, worker)
    assert_equal(found, expected())
    _, metrics = await get(worker, "/metrics")
    assert "processor_bootstrap_documents_total 100.0" in metrics
    assert await worker.terminate() == 0


async def test_events_first_and_a_later_start_reads_only_changes(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    elastic: Elastic,
    client: AsyncElasticsearch,
) -> None:
    index = await make_index(client, stored(DATA / "notebook-types" / "elasticsearch.ndjson"))
    source = topic(partitions=8)
    await produce(kafka.bootstrap, source, DATA / "notebook-types" / "events.ndjson")
    settings = archive_settings(kafka, source, app_id, elastic, index=index, horizon=_HORIZON)
    worker = start(**settings)
    await bootstrapped(get, worker)
    await counted(get, worker, judged=63)
    assert await worker.terminate() == 0
    # A feedback that the stream never saw: the logger merged it into a document without one.
    hits = (await client.search(index=index, size=200))["hits"]["hits"]
    without = next(hit for hit in hits if "feedback" not in hit["_source"])
    feedback = {"reward": True, "ce-time": "2026-11-21T12:00:00.5Z"}
    await client.update(index=index, id=without["_id"], doc={"feedback": feedback}, refresh=True)
    again = start(**settings)
    await counted(get, again, judged=64)
    (found,) = await models(get, again)
    assert (found["predictions"], found["correct"]) == (100, 47)

    async def caught_up() -> bool:
        _, metrics = await get(again, "/metrics")
        return "processor_bootstrap_documents_total 1.0" in metrics

    await until(caught_up, 60, "one changed document read")
    assert await again.terminate() == 0


async def test_an_archive_that_cannot_be_read_does_not_hold_up_the_stream(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get, elastic: Elastic
) -> None:
    source = topic(partitions=8)
    await produce(kafka.bootstrap, source)
    worker = start(
        **archive_settings(
            kafka, source, app_id, elastic, index="no-such-index-*", horizon=_HORIZON
        )
    )
    await counted(get, worker, judged=63)

    async def says_why() -> bool:
        status, body = await get(worker, "/ready")
        return status == 200 and "no-such-index-*" in json.loads(body)["reason"]

    await until(says_why, 60, "ready says why")
    assert (await get(worker, "/ready?wait=bootstrap"))[0] == 503
    assert "Traceback" not in worker.text
    assert await worker.terminate() == 0
