"""Writing what became of each item onto its document, for Kibana and for feedback that comes late."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from elasticsearch import AsyncElasticsearch

from processor.archive.base import RequestKey, Stored
from processor.archive.elasticsearch.http import ElasticsearchHttp, NotReadyError, reason_of, reply
from processor.domain.join.outcomes import ItemOutcome, PredictionOutcome, RequestOutcome

#: Documents that one search can give.
_MAX_REMEMBERED = 10_000
#: Requests of one search.
_REQUESTS = 500
_ITEM = re.compile(r"-item-([0-9]{1,9})$")


class _Source(msgspec.Struct):
    # A document can hold anything: what is no text matches no request.
    request_id: Any = msgspec.field(name="RequestId", default="")
    namespace: Any = msgspec.field(name="Ce-Namespace", default="")
    deployment: Any = msgspec.field(name="Ce-Inferenceservicename", default="")
    predictor: Any = msgspec.field(name="Ce-Endpoint", default="")
    node: Any = msgspec.field(name="Ce-Modelid", default="")
    response: Any = None
    outcome: Any = None


class DocumentPlace(msgspec.Struct):
    """Where a document with an answer is, whose it is, and what it shows."""

    index: str = msgspec.field(name="_index")
    id: str = msgspec.field(name="_id")
    seq_no: int = msgspec.field(name="_seq_no")
    primary_term: int = msgspec.field(name="_primary_term")
    source: _Source = msgspec.field(name="_source", default_factory=_Source)


class _Hits(msgspec.Struct):
    hits: list[DocumentPlace]


class _Shards(msgspec.Struct):
    failed: int = 0


class _Answer(msgspec.Struct):
    hits: _Hits
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)


_decode = msgspec.json.Decoder(_Answer).decode


class OutcomeStore:
    """Writes outcomes to the documents that an index pattern matches."""

    def __init__(self, http: ElasticsearchHttp, pattern: str) -> None:
        self._http = http
        self._pattern = pattern

    async def store(self, outcomes: Sequence[RequestOutcome]) -> Stored:
        """Find the documents of each request and write what they do not show yet: to be repeated
        does no harm. `ArchiveError` if the server can't be used."""
        stored = Stored()
        for start in range(0, len(outcomes), _REQUESTS):
            some = {_key(one): one for one in outcomes[start : start + _REQUESTS]}
            places = await self._places(sorted({key.request_id for key in some}))
            found = set()
            updates: list[tuple[RequestKey, DocumentPlace, ItemOutcome | None]] = []
            for place in places:
                key = _key_of(place)
                if key not in some:
                    continue
                found.add(key)
                shown = outcome_for(place, some[key])
                if place.source.outcome != (shown and msgspec.to_builtins(shown)):
                    updates.append((key, place, shown))
            stored.missing += some.keys() - found
            await self._write(updates, stored)
        return stored

    async def _places(self, ids: list[str]) -> list[DocumentPlace]:
        body = {
            # A single prediction's document has the request id for its own.
            "query": {
                "bool": {
                    "should": [{"ids": {"values": ids}}, {"terms": {"RequestId": ids}}],
                    "minimum_should_match": 1,
                }
            },
            "size": _MAX_REMEMBERED,
            "seq_no_primary_term": True,
            "_source": {
                "includes": [
                    "RequestId", "Ce-Namespace", "Ce-Inferenceservicename", "Ce-Endpoint",
                    "Ce-Modelid", "response.ce-time", "outcome",
                ]
            },
        }  # fmt: skip

        async def search(client: AsyncElasticsearch) -> list[DocumentPlace] | None:
            answer = await client.search(
                index=self._pattern,
                allow_partial_search_results=False,
                ignore_unavailable=True,
                track_total_hits=False,
                body=body,
            )
            try:
                read = _decode(answer.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
            if read.shards.failed:
                raise NotReadyError("a search got no answer from a shard")
            return read.hits.hits

        found = await self._http.call("looking up documents of outcomes", search)
        if (found is None or len(found) == _MAX_REMEMBERED) and len(ids) > 1:
            # Too many for one answer, or one that no parser takes must not hide the others.
            half = len(ids) // 2
            return await self._places(ids[:half]) + await self._places(ids[half:])
        return [place for place in found or () if place.source.response is not None]

    async def _write(
        self, updates: list[tuple[RequestKey, DocumentPlace, ItemOutcome | None]], stored: Stored
    ) -> None:
        if not updates:
            return
        operations = list(_operations(updates))

        async def bulk(client: AsyncElasticsearch) -> list[dict[str, Any]]:
            answer = await client.bulk(operations=operations, source=False)
            return [one["update"] for one in reply(answer.body).get("items", [])]

        results = await self._http.call("writing outcomes", bulk)
        for (key, _, _), result in zip(updates, results, strict=True):
            if "error" not in result:
                stored.written += 1
                continue
            stored.again.append(key)
            if result["status"] != 409:
                stored.last_error = reason_of(msgspec.json.encode(result)) or str(result["status"])


def _operations(
    updates: list[tuple[RequestKey, DocumentPlace, ItemOutcome | None]],
) -> Iterator[dict[str, Any]]:
    for _, place, shown in updates:
        # A document that has changed since it was read is read again: a worker that lost this
        # request meanwhile must not write over what its new owner wrote.
        yield {
            "update": {
                "_index": place.index,
                "_id": place.id,
                "if_seq_no": place.seq_no,
                "if_primary_term": place.primary_term,
            }
        }
        yield {"doc": {"outcome": shown and msgspec.to_builtins(shown)}}


def outcome_for(place: DocumentPlace, outcome: RequestOutcome) -> ItemOutcome | None:
    """What a document is to show: that of its item, of the prediction that it holds."""
    source = place.source
    of_predictor = [one for one in outcome.predictions if one.predictor == source.predictor]
    if not of_predictor:
        return None
    # The logger keeps one node's answer of several.
    prediction: PredictionOutcome = next(
        (one for one in of_predictor if one.node == source.node), of_predictor[0]
    )
    match = _ITEM.search(place.id) if place.id != source.request_id else None
    number = int(match[1]) if match else 0
    if match is None and len(prediction.items) > 1:
        return None
    return prediction.items[number] if number < len(prediction.items) else None


def _key(outcome: RequestOutcome) -> RequestKey:
    return RequestKey(outcome.namespace, outcome.deployment, outcome.request_id)


def _key_of(place: DocumentPlace) -> RequestKey:
    source = place.source
    return RequestKey(source.namespace, source.deployment, source.request_id)
