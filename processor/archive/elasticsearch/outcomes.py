"""Write each item's outcome to its document, for Kibana and for feedback that comes late."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from elasticsearch import AsyncElasticsearch

from processor.archive.base import RequestKey, StoreResult
from processor.archive.elasticsearch.http import ElasticsearchHttp, reason_of, reply
from processor.archive.elasticsearch.responses import (
    DocumentSource,
    Hit,
    decode_source,
    parse_search,
    search,
)
from processor.domain.join.outcomes import ItemOutcome, PredictionOutcome, RequestOutcome

#: The largest number of documents that Elasticsearch returns from one search.
_MAX_DOCUMENTS = 10_000
#: Requests per search.
_REQUESTS = 500
_ITEM = re.compile(r"-item-([0-9]{1,9})$")


class DocumentRef(NamedTuple):
    """A reference to a document with a prediction: its hit, and the decoded fields of its source."""

    hit: Hit
    source: DocumentSource


class _Update(NamedTuple):
    """A document's new outcome; None removes it."""

    request: RequestKey
    ref: DocumentRef
    outcome: ItemOutcome | None


class OutcomeStore:
    """Writes outcomes to the documents that an index pattern matches."""

    def __init__(self, http: ElasticsearchHttp, pattern: str) -> None:
        self._http = http
        self._pattern = pattern

    async def store(self, outcomes: Sequence[RequestOutcome]) -> StoreResult:
        """Find the documents of each request and write the outcomes that they do not show yet; may be
        repeated. `ArchiveError` if the server can't be used."""
        stored = StoreResult()
        for start in range(0, len(outcomes), _REQUESTS):
            wanted = {_key(outcome): outcome for outcome in outcomes[start : start + _REQUESTS]}
            refs = await self._refs(sorted({key.request_id for key in wanted}))
            found = set()
            updates: list[_Update] = []
            for ref in refs:
                key = ref.source.request
                if key not in wanted:
                    continue
                found.add(key)
                item = outcome_for(ref, wanted[key])
                if ref.source.outcome != (item and msgspec.to_builtins(item)):
                    updates.append(_Update(key, ref, item))
            stored.missing += wanted.keys() - found
            await self._write(updates, stored)
        return stored

    async def _refs(self, ids: list[str]) -> list[DocumentRef]:
        """The documents of some request ids that hold a prediction."""
        body = {
            # The document of a single prediction has the request id as its own id.
            "query": {
                "bool": {
                    "should": [{"ids": {"values": ids}}, {"terms": {"RequestId": ids}}],
                    "minimum_should_match": 1,
                }
            },
            "size": _MAX_DOCUMENTS,
            "seq_no_primary_term": True,
            "track_total_hits": False,
            "_source": {
                "includes": [
                    "RequestId", "Ce-Namespace", "Ce-Inferenceservicename", "Ce-Endpoint",
                    "Ce-Modelid", "response.ce-time", "outcome",
                ]
            },
        }  # fmt: skip

        async def request(client: AsyncElasticsearch) -> list[Hit] | None:
            response = await search(client, self._pattern, body)
            try:
                return parse_search(response).hits
            except ValueError:
                return None

        found = await self._http.call("looking up documents of outcomes", request)
        if (found is None or len(found) == _MAX_DOCUMENTS) and len(ids) > 1:
            # More than one search returns, or a document that can't be parsed, which must not hide
            # the others.
            half = len(ids) // 2
            return await self._refs(ids[:half]) + await self._refs(ids[half:])
        refs = [DocumentRef(hit, decode_source(hit.source)) for hit in found or ()]
        return [ref for ref in refs if ref.source.response is not None]

    async def _write(self, updates: list[_Update], stored: StoreResult) -> None:
        if not updates:
            return
        operations = list(_operations(updates))

        async def bulk(client: AsyncElasticsearch) -> list[dict[str, Any]]:
            answer = await client.bulk(operations=operations, source=False)
            return [item["update"] for item in reply(answer.body).get("items", [])]

        results = await self._http.call("writing outcomes", bulk)
        for update, result in zip(updates, results, strict=True):
            if "error" not in result:
                stored.written += 1
                continue
            stored.retry.append(update.request)
            if result["status"] != 409:
                stored.last_error = reason_of(msgspec.json.encode(result)) or str(result["status"])


def _operations(updates: list[_Update]) -> Iterator[dict[str, Any]]:
    for _, (hit, _), outcome in updates:
        # A document that has changed since it was read is refused and tried again: a worker that has
        # lost this request must not overwrite the outcome of its new owner.
        yield {
            "update": {
                "_index": hit.index,
                "_id": hit.id,
                "if_seq_no": hit.seq_no,
                "if_primary_term": hit.primary_term,
            }
        }
        yield {"doc": {"outcome": outcome and msgspec.to_builtins(outcome)}}


def outcome_for(ref: DocumentRef, outcome: RequestOutcome) -> ItemOutcome | None:
    """The outcome that a document should show: that of its item, in the prediction of its predictor
    and node; None if it should show none."""
    source = ref.source
    predictions = [each for each in outcome.predictions if each.predictor == source.predictor]
    if not predictions:
        return None
    # The request logger keeps the answer of one of several nodes.
    prediction: PredictionOutcome = next(
        (each for each in predictions if each.node == source.node), predictions[0]
    )
    match = _ITEM.search(ref.hit.id) if ref.hit.id != source.request_id else None
    number = int(match[1]) if match else 0
    if match is None and len(prediction.items) > 1:
        return None
    return prediction.items[number] if number < len(prediction.items) else None


def _key(outcome: RequestOutcome) -> RequestKey:
    return RequestKey(outcome.namespace, outcome.deployment, outcome.request_id)
