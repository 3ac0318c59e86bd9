"""Starting from a real Elasticsearch: no gap, nothing twice, whatever the order."""

import json

from tests.support.archives.app import ArchiveApp
from tests.support.faults.cluster import until
from tests.support.servers.indices import stored
from tests.support.workers import DATA, assert_equal, expected, make_index

#: The documents are of one day: they must not expire while the test runs.
_HORIZON = "3650d"


async def test_documents_first_then_all_events(app: ArchiveApp) -> None:
    index = await make_index(app.client, stored())
    worker = app.start(index=index, horizon=_HORIZON)
    await app.bootstrapped(worker)
    await app.counted(worker, judged=59)
    found = await app.model(worker)
    (alone,) = json.loads((DATA / "contract-es.json").read_text())["models"]
    assert_equal(found, alone)
    await app.produce()
    await app.counted(worker, judged=63)
    found = await app.model(worker)
    assert_equal(found, expected())
    _, metrics = await app.get(worker, "/metrics")
    assert "processor_bootstrap_documents_total 100.0" in metrics
    assert await worker.terminate() == 0


async def test_events_first_and_a_later_start_reads_only_changes(app: ArchiveApp) -> None:
    index = await make_index(app.client, stored(DATA / "notebook-types" / "elasticsearch.ndjson"))
    await app.produce(DATA / "notebook-types" / "events.ndjson")
    settings = {"index": index, "horizon": _HORIZON}
    worker = app.start(**settings)
    await app.bootstrapped(worker)
    await app.counted(worker, judged=63)
    assert await worker.terminate() == 0
    # A feedback that the stream never saw: the logger merged it into a document without one.
    hits = (await app.client.search(index=index, size=200))["hits"]["hits"]
    without = next(hit for hit in hits if "feedback" not in hit["_source"])
    feedback = {"reward": True, "ce-time": "2026-11-21T12:00:00.5Z"}
    await app.client.update(
        index=index, id=without["_id"], doc={"feedback": feedback}, refresh=True
    )
    again = app.start(**settings)
    await app.counted(again, judged=64)
    found = await app.model(again)
    assert (found["predictions"], found["correct"]) == (100, 47)

    async def caught_up() -> bool:
        _, metrics = await app.get(again, "/metrics")
        return "processor_bootstrap_documents_total 1.0" in metrics

    await until(caught_up, 60, "one changed document read")
    assert await again.terminate() == 0


async def test_an_archive_that_cannot_be_read_does_not_hold_up_the_stream(app: ArchiveApp) -> None:
    await app.produce()
    worker = app.start(index="no-such-index-*", horizon=_HORIZON)
    await app.counted(worker, judged=63)

    async def says_why() -> bool:
        status, body = await app.get(worker, "/ready")
        return status == 200 and "no-such-index-*" in json.loads(body)["reason"]

    await until(says_why, 60, "ready says why")
    assert (await app.get(worker, "/ready?wait=bootstrap"))[0] == 503
    assert "Traceback" not in worker.text
    assert await worker.terminate() == 0
