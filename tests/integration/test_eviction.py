"""PROCESSOR_MAX_MEMORY on a real Kafka: who leaves, what stays counted, and what becomes of feedback for
them."""

import random
import time
import uuid
from collections.abc import Callable

from elasticsearch import AsyncElasticsearch

from bench.support.load import NAMES, NAMESPACE, deployment
from bench.support.rows import request_ids
from processor.domain.timestamps import HOUR, format_time
from processor.kafka.clients import Kafka
from processor.settings import Settings
from tests.support.faults.past_log import PastLog
from tests.support.servers import Broker
from tests.support.servers.elasticsearch import VERSIONS, shared_server
from tests.support.servers.indices import MAPPING
from tests.support.workers import Get, Start, bootstrapped, counted, metric

_PARTITIONS = 2
#: Requests of an hour, about 180 KiB of them in memory: two hours are below the cap, three above.
_EACH, _JUDGED = 4_000, 50
_CAP = "450KiB"


async def _say(settings: Settings, source: str, request_id: str, at: int) -> None:
    """A feedback as the channel has it: the truth is another label than the first."""
    row = ",".join("1" if name == NAMES[1] else "0" for name in NAMES)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"said-{request_id}",
        "ce_source": "http://:8000/",
        "ce_type": "io.seldon.serving.feedback",
        "ce_time": format_time(at),
        "ce_requestid": request_id,
        "ce_namespace": NAMESPACE,
        "ce_inferenceservicename": deployment(0),
        "ce_endpoint": "default",
        "ce_modelid": "classifier",
        "content-type": "application/json",
    }
    body = f'{{"reward":0,"truth":{{"data":{{"names":["t:0","t:1","t:2"],"ndarray":[[{row}]]}}}}}}'
    async with Kafka(settings, settings.broker).producer() as producer:
        await producer.send_and_wait(
            source, body.encode(), headers=[(name, one.encode()) for name, one in headers.items()]
        )


def _document(request_id: str, at: int) -> dict[str, object]:
    payload = {"data": {"names": list(NAMES), "ndarray": [[0.8, 0.1, 0.1]]}}
    return {
        "RequestId": request_id,
        "Ce-Namespace": NAMESPACE,
        "Ce-Inferenceservicename": deployment(0),
        "Ce-Endpoint": "default",
        "Ce-Modelid": "classifier",
        "response": {"ce-time": format_time(at), "payload": payload},
    }


async def test_at_the_cap_the_oldest_hour_leaves_and_stays_counted(
    kafka: Broker, topic: Callable[..., str], app_id: str, start: Start, get: Get
) -> None:
    elastic, source = shared_server(VERSIONS[0]), topic(partitions=8)
    data = random.Random(7).randbytes(16 * _EACH * 3)
    ids = request_ids(data)
    oldest, middle, newest = ids[:_EACH], ids[_EACH : 2 * _EACH], ids[2 * _EACH :]
    now = time.time_ns()
    async with AsyncElasticsearch(elastic.url) as client:
        index = f"inference-log-seldon-{uuid.uuid4().hex[:8]}"
        await client.indices.create(index=index, mappings=MAPPING)
        env = {
            "broker": f"kafka://{kafka.bootstrap}",
            "topics": source,
            "app_id": app_id,
            "partitions": str(_PARTITIONS),
            "archive": elastic.url,
            "index": index,
            "outcomes": "on",
        }
        settings = Settings.from_env({f"PROCESSOR_{name.upper()}": env[name] for name in env})
        past = [
            (now - hours * HOUR, some) for hours, some in ((6, oldest), (5, middle), (4, newest))
        ]
        await PastLog(settings).write(past, judged=_JUDGED)

        worker = start(**env, max_memory=_CAP)
        await bootstrapped(get, worker)
        await metric(get, worker, "processor_evicted_requests_total", float(_EACH))
        await counted(get, worker, predictions=3 * _EACH, judged=3 * _JUDGED, correct=3 * _JUDGED)
        await metric(get, worker, "processor_waiting_requests", 2.0 * (_EACH - _JUDGED))
        assert worker.text.count("leave early") == _PARTITIONS

        # In the archive with an outcome, in it without one, and not in it.
        judged, open_, unknown = oldest[0], oldest[-1], oldest[-2]
        outcome = {"predicted": NAMES[0], "actual": NAMES[0], "correct": True}
        documents = {
            judged: {**_document(judged, past[0][0]), "outcome": outcome},
            open_: _document(open_, past[0][0]),
        }
        for request_id, document in documents.items():
            await client.index(index=index, id=request_id, document=document, refresh=True)
        for request_id in (judged, open_, unknown, middle[-1], newest[0]):
            await _say(settings, source, request_id, now)
        # One is judged by the archive's word and one in memory; one that was right is corrected.
        await counted(
            get, worker, predictions=3 * _EACH, judged=3 * _JUDGED + 2, correct=3 * _JUDGED - 1
        )
        await metric(get, worker, "processor_late_total", 1.0)
        await metric(get, worker, "processor_recalled_total", 1.0)
        await metric(get, worker, "processor_unmatched_feedbacks", 1.0)
        assert await worker.terminate() == 0

    # Who folds the same log elsewhere, and with any cap, comes to the same.
    worker = start(**{**env, "archive": "none", "outcomes": "off"}, data="elsewhere")
    await counted(
        get, worker, predictions=3 * _EACH, judged=3 * _JUDGED + 2, correct=3 * _JUDGED - 1
    )
    await metric(get, worker, "processor_waiting_requests", 2.0 * (_EACH - _JUDGED) - 1)
    await metric(get, worker, "processor_unmatched_feedbacks", 1.0)
    assert await worker.terminate() == 0
