"""One shard's documents in the order of their sequence numbers, a page at a time."""

from collections.abc import Iterator
from typing import Any

import msgspec
from elasticsearch import AsyncElasticsearch

from processor.archive.elasticsearch.http import ElasticsearchHttp, NotReadyError
from processor.domain.events.documents import SOURCE_FIELDS, Document
from processor.domain.events.raw_json import elements, members
from processor.errors import ArchiveError

#: Bytes of a page that its size is steered to.
_PAGE_BYTES = 4 << 20
#: Documents of the first page: each could be a large batch.
_FIRST = 20
#: Bytes of a document on average up to which it comes whole: to leave out what doesn't count costs the
#: server more than all else it does, and pays where inputs are large.
_WHOLE_BYTES = 4096
#: Above every sequence number.
_NO_TOP = (1 << 63) - 1
#: How much larger than the last the next page, or its span of numbers, can be.
_GROWTH = 4


class Search(msgspec.Struct):
    """An answer to a search: its documents, its size in bytes, how many shards it is of."""

    documents: list[Document]
    bytes: int
    shards: int


class PageReader:
    """Reads a shard's pages, ``most`` documents each; how many fit depends on what they hold."""

    def __init__(self, http: ElasticsearchHttp, index: str, shard: int, most: int) -> None:
        self._http = http
        self._index = index
        self._shard = shard
        self._most = most
        self._size = min(_FIRST, most)
        self._fields: list[str] | None = None
        """What of the documents is asked for, None = all."""
        self.span = self._size
        """How many numbers a page should look at: a query over all that is left would cost more and
        more, and pages that are read at once must know where the next one begins."""

    async def rest(self, after: int) -> list[Document] | None:
        """All documents behind ``after``, as one search sees them; None if they are too many."""
        self._size = self._most
        documents, last = await self.read(after, _NO_TOP)
        return documents if last == _NO_TOP else None

    async def read(self, after: int, top: int) -> tuple[list[Document], int]:
        """The documents behind sequence number ``after`` up to ``top``, and the number up to which
        that is all: less than ``top`` where they are more than fit."""
        while True:
            size = 0

            async def search(client: AsyncElasticsearch) -> Search | None:
                nonlocal size
                size = self._size
                body = await self._search(client, after, top, size, self._fields)
                try:
                    return parse_search(body)
                except ValueError:
                    return None

            found = await self._http.call(f"reading {self._index}", search, self._shrink)
            if found is None:
                # One document that no parser takes (JSON nested too deep) must not stop the rest.
                if self._fields is None:
                    self._fields = list(SOURCE_FIELDS)
                    continue
                if size > 1:
                    self._size = max(1, size // 8)
                    continue
                found = await self._unreadable(after, top)
            if not found.shards:
                # An index of the same name with fewer shards has taken its place.
                raise ArchiveError(f"{self._index} has no shard {self._shard} any more")
            documents = found.documents
            last = documents[-1].seq_no if len(documents) >= size else top
            self._steer(len(documents), found.bytes, last - after)
            return documents, last

    def _shrink(self) -> None:
        """The last page was too much for the server."""
        self._size = max(1, self._size // 2)

    def _steer(self, documents: int, size: int, span: int) -> None:
        """What the next page should be like, from the last one."""
        each = max(1, size // max(1, documents))
        if each > _WHOLE_BYTES:
            self._fields = list(SOURCE_FIELDS)
        fitting = min(_PAGE_BYTES // each, self._size * _GROWTH, self._most)
        self._size = max(1, fitting)
        # So many numbers never hold more. Where few of them are left a little less than would fit,
        # since pages that are read ahead are of no use behind one that did not hold all.
        wanted = self._size * span * 4 // (max(1, documents) * 5)
        self.span = max(self._size, min(wanted, span * _GROWTH))

    async def _unreadable(self, after: int, top: int) -> Search:
        async def search(client: AsyncElasticsearch) -> Search:
            return parse_search(await self._search(client, after, top, 1, []))

        return await self._http.call(f"reading {self._index}", search)

    async def _search(
        self,
        client: AsyncElasticsearch,
        after: int,
        top: int,
        size: int,
        fields: list[str] | None,
    ) -> bytes:
        # The client's hint has no list, which is one of the forms that the server takes.
        source: Any = None if fields is None else fields or False
        answer = await client.search(
            index=self._index,
            preference=f"_shards:{self._shard}",
            allow_partial_search_results=False,
            query={"range": {"_seq_no": {"gt": after, "lte": top}}},
            sort=["_seq_no"],
            size=size,
            track_total_hits=False,
            source=source,
        )
        body: Any = answer.body
        return bytes(body)


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index")
    sort: tuple[int, ...] = (-1,)
    """The sequence number, where documents are sorted by it."""
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b""))


class _Hits(msgspec.Struct, frozen=True):
    hits: tuple[_Hit, ...] = ()


class _Shards(msgspec.Struct, frozen=True):
    total: int = 0
    failed: int = 0


class _One(msgspec.Struct):
    hits: _Hits = _Hits()


class _Level(msgspec.Struct):
    buckets: "list[_Bucket]" = []


class _Bucket(msgspec.Struct):
    """Documents grouped, level below level; the lowest holds one."""

    by: _Level | None = None
    one: _One | None = None


class _Answer(msgspec.Struct):
    hits: _Hits
    aggregations: _Bucket | None = None
    shards: _Shards = msgspec.field(name="_shards", default=_Shards(1, 0))
    timed_out: bool = False


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_sort = msgspec.json.Decoder(tuple[int, ...]).decode
_decode_shards = msgspec.json.Decoder(_Shards).decode


def parse_search(body: Any) -> Search:
    """ValueError if it can't be read; `NotReadyError` if it is not the answer of all shards."""
    try:
        answer = _decode_answer(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lenient(body)
    _check(answer.shards, answer.timed_out)
    hits = answer.hits.hits if answer.aggregations is None else tuple(_lowest(answer.aggregations))
    return Search(
        [Document(hit.index, hit.id, hit.sort[0], bytes(hit.source)) for hit in hits],
        len(body),
        answer.shards.total,
    )


def _lowest(bucket: _Bucket) -> Iterator[_Hit]:
    if bucket.one is not None:
        yield from bucket.one.hits.hits
    if bucket.by is not None:
        for inner in bucket.by.buckets:
            yield from _lowest(inner)


def _check(shards: _Shards, timed_out: bool) -> None:
    if shards.failed or timed_out:
        raise NotReadyError("a search got no answer from a shard")


def _lenient(body: bytes) -> Search:
    """A document can hold half a character, which JSON can escape and the strict parser refuses."""
    answer = members(body)
    if "aggregations" in answer:
        raise ValueError("groups are read strictly")
    shards = _decode_shards(answer.get("_shards", b"{}"))
    _check(shards, answer.get("timed_out") == b"true")
    documents = []
    for text in elements(members(answer["hits"])["hits"]):
        hit = members(text)
        index, name = (msgspec.json.decode(hit[key], type=str) for key in ("_index", "_id"))
        source = hit.get("_source", b"")
        documents.append(Document(index, name, _decode_sort(hit.get("sort", b"[-1]"))[0], source))
    return Search(documents, len(body), shards.total)
