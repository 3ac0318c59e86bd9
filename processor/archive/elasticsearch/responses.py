"""Elasticsearch search responses, as structs of the fields that the archive reads."""

from collections.abc import Iterator
from typing import Any

import msgspec
from elasticsearch import AsyncElasticsearch

from processor.archive.base import RequestKey
from processor.archive.elasticsearch.http import NotReadyError
from processor.domain.events.documents import Document
from processor.domain.events.raw_json import elements, members


class Hit(msgspec.Struct):
    """A document that a search has found. ``sort`` is its sequence number if the search sorts by it;
    ``seq_no`` and ``primary_term`` are set if the search asks for them."""

    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")
    sort: tuple[int, ...] = (-1,)
    seq_no: int = msgspec.field(name="_seq_no", default=-1)
    primary_term: int = msgspec.field(name="_primary_term", default=-1)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Hits(msgspec.Struct, frozen=True):
    hits: tuple[Hit, ...] = ()


class _Shards(msgspec.Struct, frozen=True):
    total: int = 1
    failed: int = 0


class _TopHits(msgspec.Struct):
    hits: _Hits = _Hits()


class _Terms(msgspec.Struct):
    buckets: "list[_Bucket]" = []


class _Bucket(msgspec.Struct):
    """A bucket of nested terms aggregations; the innermost holds one document."""

    by: _Terms | None = None
    one: _TopHits | None = None


class _Response(msgspec.Struct):
    hits: _Hits
    aggregations: _Bucket | None = None
    shards: _Shards = msgspec.field(name="_shards", default=_Shards())
    timed_out: bool = False


class SearchResult(msgspec.Struct):
    """The hits of a search, the size of its response in bytes, and the number of shards searched."""

    hits: list[Hit]
    bytes: int
    shards: int

    def documents(self) -> list[Document]:
        """The hits as documents; ``seq_no`` is -1 unless the search sorts by it."""
        return [Document(hit.index, hit.id, hit.sort[0], bytes(hit.source)) for hit in self.hits]


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_hit = msgspec.json.Decoder(Hit).decode
_decode_shards = msgspec.json.Decoder(_Shards).decode


async def search(client: AsyncElasticsearch, pattern: str, body: dict[str, Any]) -> bytes:
    """The response of a search over all indices of a pattern. A shard that fails is an error, and an
    index that is deleted meanwhile has no documents."""
    answer = await client.search(
        index=pattern,
        allow_partial_search_results=False,
        ignore_unavailable=True,
        body=body,
    )
    response: Any = answer.body
    return bytes(response)


def parse_search(body: bytes) -> SearchResult:
    """The result of a search with ``hits``, or with the groups of `lookup.one_of_each`.

    `ValueError` if it can't be parsed; `NotReadyError` if a shard gave no answer.
    """
    try:
        response = _decode_response(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parse_leniently(body)
    _check(response.shards, response.timed_out)
    groups = response.aggregations
    hits = list(response.hits.hits if groups is None else _hits_of(groups))
    return SearchResult(hits, len(body), response.shards.total)


def _hits_of(bucket: _Bucket) -> Iterator[Hit]:
    if bucket.one is not None:
        yield from bucket.one.hits.hits
    if bucket.by is not None:
        for inner in bucket.by.buckets:
            yield from _hits_of(inner)


def _check(shards: _Shards, timed_out: bool) -> None:
    if shards.failed or timed_out:
        raise NotReadyError("a search got no answer from a shard")


def _parse_leniently(body: bytes) -> SearchResult:
    """Parse hits whose documents the strict parser refuses: JSON can escape half a surrogate pair."""
    response = members(body)
    if "aggregations" in response:
        raise ValueError("groups are parsed strictly")
    shards = _decode_shards(response.get("_shards", b"{}"))
    _check(shards, response.get("timed_out") == b"true")
    hits = []
    for text in elements(members(response["hits"])["hits"]):
        fields = members(text)
        source = fields.pop("_source", b"")
        hit = _decode_hit(_join(fields))
        hit.source = msgspec.Raw(source)
        hits.append(hit)
    return SearchResult(hits, len(body), shards.total)


def _join(fields: dict[str, bytes]) -> bytes:
    pairs = [msgspec.json.encode(name) + b":" + value for name, value in fields.items()]
    return b"{" + b",".join(pairs) + b"}"


class DocumentSource(msgspec.Struct):
    """The fields of a document that name its prediction, and its outcome if it shows one. A document
    can hold anything: a name that is not text is read as an empty one."""

    request_id: Any = msgspec.field(name="RequestId", default="")
    namespace: Any = msgspec.field(name="Ce-Namespace", default="")
    deployment: Any = msgspec.field(name="Ce-Inferenceservicename", default="")
    predictor: Any = msgspec.field(name="Ce-Endpoint", default="")
    node: Any = msgspec.field(name="Ce-Modelid", default="")
    response: Any = None
    outcome: Any = None

    @property
    def request(self) -> RequestKey:
        """The request that the document belongs to."""
        names = (self.namespace, self.deployment, self.request_id)
        return RequestKey(*(name if isinstance(name, str) else "" for name in names))


_decode_source = msgspec.json.Decoder(DocumentSource).decode


def decode_source(source: bytes | msgspec.Raw) -> DocumentSource:
    """The named fields of a document; all are empty if it can't be parsed."""
    try:
        return _decode_source(source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return DocumentSource()
