"""Documents of the request logger, of one deployment, and their truth."""

import time
import uuid
from typing import Any

from elasticsearch import AsyncElasticsearch

from processor.domain.timestamps import SECOND, format_time
from tests.support.servers.indices import MAPPING

DOCUMENTS = 30_000
SHARDS = 2
#: Predictions, judged and correct of the deployment ``vision/pets``.
TRUTH = (DOCUMENTS, DOCUMENTS // 2, DOCUMENTS * 4 // 10)
_NAMES = ["cat", "dog", "owl"]


def document(number: int, end: int) -> dict[str, Any]:
    """Every second one is judged, every fifth of these as wrong; spread over 50 hours before ``end``
    (seconds since 1970)."""
    at = format_time((end - number % 3000 * 60) * SECOND)
    scores = [0.2, 0.3, 0.3]
    scores[number % 3] = 0.5
    payload = {
        "data": {"names": _NAMES, "ndarray": [scores]},
        "meta": {"requestPath": {"classifier": "image"}},
    }
    found: dict[str, Any] = {
        "RequestId": f"request-{number}",
        "Ce-Namespace": "vision",
        "Ce-Inferenceservicename": "pets",
        "Ce-Endpoint": "default",
        "Ce-Modelid": "classifier",
        "response": {"ce-time": at, "payload": payload},
    }
    if number % 2 == 0:
        feedback: dict[str, Any] = {"reward": 1.0, "ce-time": at}
        if number % 10 == 0:
            wrong = [[int(i == (number + 1) % 3) for i in range(3)]]
            feedback |= {"reward": 0.0, "truth": {"data": {"names": _NAMES, "ndarray": wrong}}}
        found["feedback"] = feedback
    return found


async def load_documents(url: str, days: int = 3) -> str:
    """Put all of them in a fresh index, the newest so many days old; its name."""
    end = int(time.time()) - days * 86_400
    index = f"inference-log-seldon-{uuid.uuid4().hex[:8]}"
    async with AsyncElasticsearch(url, request_timeout=120) as client:
        await client.indices.create(
            index=index,
            settings={"number_of_shards": SHARDS, "number_of_replicas": 0},
            mappings=MAPPING,
        )
        for start in range(0, DOCUMENTS, 5000):
            operations: list[dict[str, Any]] = []
            for number in range(start, start + 5000):
                operations += [{"index": {"_id": f"request-{number}"}}, document(number, end)]
            answer = await client.bulk(index=index, operations=operations)
            assert not answer["errors"]
    return index
