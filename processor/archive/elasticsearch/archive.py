"""The archive of a Seldon cluster: the documents of its request logger in Elasticsearch."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch
from msgspec.structs import replace

from processor.archive.base import ArchivedRecord, RequestKey, StoreResult
from processor.archive.elasticsearch.http import (
    ElasticsearchHttp,
    NotReadyError,
    no_index,
    reply,
    too_old,
)
from processor.archive.elasticsearch.lookup import (
    LOOKUP,
    PREDICTORS,
    by_id,
    multi_predictor,
    one_of_each,
)
from processor.archive.elasticsearch.outcomes import OutcomeStore
from processor.archive.elasticsearch.page import PageReader
from processor.archive.elasticsearch.responses import decode_source, parse_search, search
from processor.archive.elasticsearch.shards import (
    STATS_FIELDS,
    Shard,
    Stats,
    parse_sizes,
    parse_stats,
)
from processor.domain.events.documents import Document, DocumentReader
from processor.domain.join.outcomes import RequestOutcome
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError
from processor.settings import Settings
from processor.telemetry import Telemetry

__all__ = ["PAGE", "ElasticsearchArchive", "Page", "Shard"]

#: The largest number of documents in a page; Elasticsearch itself allows 10,000.
PAGE = 2000
#: Seconds that are enough for a request to be sent.
_SENDING = 0.001
_OLDEST = (7, 17)


class Page(NamedTuple):
    """Documents in the order of their sequence numbers. The page covers all numbers up to and with
    ``last_seq_no``, which may belong to a deleted document: the next page begins after it."""

    documents: list[Document]
    last_seq_no: int


#: Pages that are being read, each with the sequence number up to which it is read.
_Reading = deque[tuple[int, asyncio.Task[tuple[list[Document], int]]]]


class ElasticsearchArchive:
    """The documents that an index pattern matches. Its methods raise `ArchiveError`.

    ``patience`` is how many seconds to wait for a server that is busy or unreachable, None for ever.
    """

    def __init__(
        self, url: str, pattern: str, settings: Settings, patience: float | None = 120.0
    ) -> None:
        """Connects at the first call. `SettingsError` if the address or the options are invalid."""
        self.pattern = pattern
        self._http = ElasticsearchHttp(url, pattern, settings, patience)
        self._outcomes = OutcomeStore(self._http, pattern)
        self.address = self._http.address

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def check(self) -> str:
        """A line that describes the server and the indices. `ArchiveError`, without waiting, if the
        server does not answer, is not Elasticsearch or too old, refuses the credentials, or has no
        index that the pattern matches."""
        version = await self._version()
        if version and _numbers(version) < _OLDEST:
            raise ArchiveError(too_old(self.address, version))
        stats = await self._http.call("counting the documents", self._stats, once=True)
        if not stats.indices:
            raise no_index(self.address, self.pattern)
        return (
            f"Elasticsearch {version or '(version not shown)'} at {self.address}, "
            f"{len(stats.indices)} indices, {sum(stats.counts().values()):,} documents"
        )

    async def count(self) -> int:
        """The number of documents in all indices of the pattern."""
        stats = await self._http.call("counting the documents", self._stats)
        return sum(stats.counts().values())

    async def shards(self) -> list[Shard]:
        """Every shard of every index of the pattern. All documents up to a shard's checkpoint are
        visible to `pages`. Waits for shards that have no primary yet; `ArchiveError` if no index
        matches."""
        shards = await self._http.call("reading the state of its shards", self._shards)
        if not shards:
            raise no_index(self.address, self.pattern)
        # A refresh can show operation n+1 before n, so the checkpoints are read before it.
        await self._http.call("refreshing", self._refresh)
        counts = (await self._http.call("counting the documents", self._stats)).counts()
        return [
            replace(shard, documents=counts.get((shard.index, shard.number), 0)) for shard in shards
        ]

    async def pages(
        self,
        shard: Shard,
        after_seq_no: int = -1,
        upto_checkpoint: int | None = None,
        size: int = PAGE,
        ahead: int = 1,
    ) -> AsyncGenerator[Page, None]:
        """The documents after ``after_seq_no`` up to ``upto_checkpoint`` (default: the shard's), at
        most ``size`` per page and fewer if they are large; ``ahead`` pages are read ahead.

        The last page ends at the checkpoint, so a later pass can continue there. A document that was
        changed appears again, since a change gives it a new sequence number."""
        upto = shard.checkpoint if upto_checkpoint is None else upto_checkpoint
        reader = PageReader(self._http, shard.index, shard.number, size)
        reading: _Reading = deque()
        requested = after_seq_no
        try:
            while requested < upto or reading:
                while requested < upto and len(reading) <= ahead:
                    top = min(upto, requested + reader.span)
                    reading.append((top, asyncio.create_task(reader.read(requested, top))))
                    requested = top
                # Let the requests be sent before the caller keeps the event loop busy with a page.
                await asyncio.sleep(_SENDING)
                top, first = reading[0]
                page = Page(*await first)
                reading.popleft()
                if page.last_seq_no < top:
                    # The page did not hold all documents, so the pages read ahead begin too late.
                    requested = page.last_seq_no
                    await _cancel(reading)
                yield page
        finally:
            await _cancel(reading)

    async def rest(self, shard: Shard, size: int = PAGE) -> list[Document] | None:
        """All documents after the shard's checkpoint; None if there are more than ``size``.

        A search sees one moment. Together with `pages` up to the checkpoint, read before, it finds
        every document that existed at that moment, however often it was changed meanwhile: a change
        moves a document out of the range of `pages` into that of `rest`."""
        reader = PageReader(self._http, shard.index, shard.number, size)
        return await reader.rest(shard.checkpoint)

    async def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """The observations in all documents, a page at a time. A batch has a document per item, of
        which one is decoded."""
        reader = DocumentReader(rules, Telemetry())
        for shard in await self.shards():
            async with aclosing(self.pages(shard)) as pages:
                async for page in pages:
                    decoded = map(reader.read, page.documents)
                    yield [one for part in decoded for one in part.observations]

    async def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[ArchivedRecord]]:
        """The records of some requests, in batches: one document per predictor's answer, and all
        documents with feedback. In a batch any item's document stands for all."""
        # A reader skips batches that it has read, so each lookup needs its own.
        reader = DocumentReader(rules, Telemetry())
        for start in range(0, len(requests), LOOKUP):
            wanted = set(requests[start : start + LOOKUP])
            ids = sorted({key.request_id for key in wanted})
            # Documents with one prediction or with feedback have the request id as their own id.
            documents = await self._find(ids, by_id)
            sources = [decode_source(document.source) for document in documents]
            answered = {source.request for source in sources if source.response is not None}
            # The other requests may be batches, whose documents have ids of their own.
            batches = await self._find(
                sorted({key.request_id for key in wanted - answered}), one_of_each
            )
            documents += batches
            sources += [decode_source(document.source) for document in batches]
            records = [
                ArchivedRecord(
                    source.request,
                    list(reader.read(document).observations),
                    source.outcome is not None,
                )
                for document, source in zip(documents, sources, strict=True)
                if source.request in wanted
            ]
            if records:
                yield records

    async def store(self, outcomes: Sequence[RequestOutcome]) -> StoreResult:
        """Write outcomes to the documents of their requests; see `OutcomeStore.store`."""
        return await self._outcomes.store(outcomes)

    async def multi_predictor(self) -> frozenset[tuple[str, str]] | None:
        """The deployments (namespace, name) with documents of more than one predictor; None if the
        index mapping does not allow the search."""

        async def request(client: AsyncElasticsearch) -> dict[str, Any]:
            return reply(await search(client.options(ignore_status=400), self.pattern, PREDICTORS))

        return multi_predictor(await self._http.call("counting predictors", request))

    async def _find(
        self, ids: list[str], query: Callable[[list[str]], dict[str, Any]]
    ) -> list[Document]:
        """The documents that ``query`` of some request ids finds."""
        if not ids:
            return []

        async def request(client: AsyncElasticsearch) -> list[Document]:
            return parse_search(await search(client, self.pattern, query(ids))).documents()

        try:
            return await self._http.call("looking up requests", request)
        except ValueError:
            # A document that can't be parsed must not hide those of other requests.
            if len(ids) == 1:
                return []
            half = len(ids) // 2
            return await self._find(ids[:half], query) + await self._find(ids[half:], query)

    async def _version(self) -> str:
        """The server's version; empty if the user lacks the privilege to see it."""

        async def info(client: AsyncElasticsearch) -> dict[str, Any]:
            return reply((await client.options(ignore_status=(403, 405)).info()).body)

        async def nodes(client: AsyncElasticsearch) -> dict[str, Any]:
            quiet = client.options(ignore_status=(403, 404, 405))
            return reply((await quiet.nodes.info(node_id="_local", metric="_none")).body)

        content = await self._http.call("asking for its version", info, once=True)
        version = content.get("version")
        if isinstance(version, dict):
            return str(version.get("number", ""))
        found = (await self._http.call("asking for its version", nodes, once=True)).get("nodes")
        first = next(iter(found.values()), None) if isinstance(found, dict) else None
        return str(first.get("version", "")) if isinstance(first, dict) else ""

    async def _stats(self, client: AsyncElasticsearch) -> Stats:
        answer = await client.indices.stats(
            index=self.pattern,
            metric="docs",
            level="shards",
            filter_path=STATS_FIELDS,
        )
        return parse_stats(answer.body)

    async def _shards(self, client: AsyncElasticsearch) -> list[Shard]:
        answer = await client.indices.get_settings(
            index=self.pattern,
            name="index.number_of_shards",
            flat_settings=True,
            expand_wildcards="open",
        )
        return (await self._stats(client)).shards(parse_sizes(answer.body))

    async def _refresh(self, client: AsyncElasticsearch) -> None:
        shards = reply((await client.indices.refresh(index=self.pattern)).body).get("_shards", {})
        if shards.get("failed"):
            raise NotReadyError(f"{shards['failed']} shards can't be refreshed")


async def _cancel(reading: _Reading) -> None:
    """Cancel the pages that are being read ahead."""
    tasks = [task for _, task in reading]
    reading.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison.

    >>> _numbers("8.19.0-SNAPSHOT")[:2], _numbers("7.9.3") < (7, 17)
    ((8, 19), True)
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
