"""The source's retention overtakes a worker that was away: what it lost is read from the archive."""

import json
from collections.abc import Callable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from elasticsearch import AsyncElasticsearch

from tests.support.faults.cluster import until
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import VERSIONS, shared_server
from tests.support.servers.indices import stored
from tests.support.workers import (
    DATA,
    Get,
    Start,
    archive_settings,
    assert_equal,
    bootstrapped,
    counted,
    make_index,
    metric,
    models,
    produce,
)

_EVENTS = len((DATA / "events.ndjson").read_text().splitlines())


async def _empty(bootstrap: str, topic: str) -> None:
    """As retention does: every record goes, the offsets stay."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topic, number): RecordsToDelete(-1) for number in range(8)}
        )
    finally:
        await admin.close()


async def _is_committed(bootstrap: str, app_id: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(f"{app_id}-source")
        return bool(sum(max(0, at.offset) for at in found.values()) == _EVENTS)
    finally:
        await admin.close()


async def test_records_that_were_lost_unread_are_read_from_the_archive(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get
) -> None:
    elastic = shared_server(VERSIONS[0])
    async with AsyncElasticsearch(elastic.url) as client:
        documents = stored()
        index = await make_index(client, documents[:1])
        source = topic(partitions=8)
        settings = archive_settings(kafka, source, app_id, elastic, index=index, horizon="3650d")
        await produce(kafka.bootstrap, source)
        worker = start(**settings)
        await bootstrapped(get, worker)
        await counted(get, worker, predictions=100, judged=63)

        await until(lambda: _is_committed(kafka.bootstrap, app_id), 60, "all records committed")
        assert await worker.terminate() == 0
        # While it is away: other requests of the same model come, are logged, and expire unread.
        events = (DATA / "events.ndjson").read_text()
        ids = [document["_source"]["RequestId"] for document in documents]
        renamed = events
        logged = json.dumps(documents)
        for request_id in set(ids):
            renamed = renamed.replace(request_id, f"again-{request_id}")
            logged = logged.replace(request_id, f"again-{request_id}")
        path = worker.log.parent / "renamed.ndjson"
        path.write_text(renamed)
        await produce(kafka.bootstrap, source, path)
        await _empty(kafka.bootstrap, source)
        operations = []
        for document in json.loads(logged):
            operations += [{"index": {"_id": document["_id"]}}, document["_source"]]
        assert not (await client.bulk(index=index, operations=operations, refresh=True))["errors"]
        worker = start(**settings)
        # 63 by the events of the first time, 59 by the documents of the second.
        await counted(get, worker, predictions=200, judged=122)
        await metric(get, worker, "processor_source_lost_total", float(_EVENTS))
        (found,) = await models(get, worker)
        (alone,) = json.loads((DATA / "contract-es.json").read_text())["models"]
        (first,) = json.loads((DATA / "contract.json").read_text())["models"]
        assert_equal(found["correct"], first["correct"] + alone["correct"])
        assert await worker.terminate() == 0
