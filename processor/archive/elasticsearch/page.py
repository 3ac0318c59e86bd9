"""Read one shard's documents in the order of their sequence numbers, a page at a time."""

from typing import Any

from elasticsearch import AsyncElasticsearch

from processor.archive.elasticsearch.http import ElasticsearchHttp
from processor.archive.elasticsearch.responses import SearchResult, parse_search
from processor.domain.events.documents import SOURCE_FIELDS, Document
from processor.errors import ArchiveError

#: The size in bytes that a page should have.
_PAGE_BYTES = 4 << 20
#: Documents in the first page: each could be a large batch.
_FIRST = 20
#: Average bytes per document up to which documents are fetched whole. Filtering fields costs the
#: server more than the rest of the search, and only pays off where inputs are large.
_WHOLE_BYTES = 4096
#: An upper bound above every sequence number.
_NO_TOP = (1 << 63) - 1
#: By how much a page, or its span of sequence numbers, may exceed the previous one.
_GROWTH = 4


class PageReader:
    """Reads a shard's pages, at most ``max_size`` documents each and fewer if they are large."""

    def __init__(self, http: ElasticsearchHttp, index: str, shard: int, max_size: int) -> None:
        self._http = http
        self._index = index
        self._shard = shard
        self._max_size = max_size
        self._size = min(_FIRST, max_size)
        self._fields: list[str] | None = None
        """The fields to fetch of each document; None fetches whole documents."""
        self.span = self._size
        """How many sequence numbers a page should cover. A query over all remaining numbers would
        cost more with each page, and pages that are read ahead must know where the next begins."""

    async def rest(self, after: int) -> list[Document] | None:
        """All documents after sequence number ``after``, from one search; None if there are more
        than a page holds."""
        self._size = self._max_size
        documents, last = await self.read(after, _NO_TOP)
        return documents if last == _NO_TOP else None

    async def read(self, after: int, top: int) -> tuple[list[Document], int]:
        """The documents after sequence number ``after`` up to ``top``, and the number up to which
        they are complete: less than ``top`` if there are more than fit."""
        while True:
            size = 0

            async def search(client: AsyncElasticsearch) -> SearchResult | None:
                nonlocal size
                size = self._size
                body = await self._search(client, after, top, size, self._fields)
                try:
                    return parse_search(body)
                except ValueError:
                    return None

            found = await self._http.call(f"reading {self._index}", search, self._shrink)
            if found is None:
                # A document that can't be parsed (JSON nested too deep) must not stop the others.
                if self._fields is None:
                    self._fields = list(SOURCE_FIELDS)
                    continue
                if size > 1:
                    self._size = max(1, size // 8)
                    continue
                found = await self._unreadable(after, top)
            if not found.shards:
                # The index was replaced by one of the same name with fewer shards.
                raise ArchiveError(f"{self._index} has no shard {self._shard} any more")
            documents = found.documents()
            last = documents[-1].seq_no if len(documents) >= size else top
            self._steer(len(documents), found.bytes, last - after)
            return documents, last

    def _shrink(self) -> None:
        """Halve the page size: the last request was too much for the server."""
        self._size = max(1, self._size // 2)

    def _steer(self, documents: int, size: int, span: int) -> None:
        """Set size, span and fields of the next page from the last page's number of documents, bytes
        and span of sequence numbers."""
        average = max(1, size // max(1, documents))
        if average > _WHOLE_BYTES:
            self._fields = list(SOURCE_FIELDS)
        self._size = max(1, min(_PAGE_BYTES // average, self._size * _GROWTH, self._max_size))
        # A span of n numbers never holds more than n documents. Where many numbers are unused, aim at
        # 4/5 of a page: pages that were read ahead are wasted if the page before them overflows.
        wanted = self._size * span * 4 // (max(1, documents) * 5)
        self.span = max(self._size, min(wanted, span * _GROWTH))

    async def _unreadable(self, after: int, top: int) -> SearchResult:
        """The next document without its source."""

        async def search(client: AsyncElasticsearch) -> SearchResult:
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
        # The client's type hint lacks lists, which the server accepts.
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
