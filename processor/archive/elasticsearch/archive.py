"""The archive of a Seldon cluster: documents of its request logger in Elasticsearch."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch
from msgspec.structs import replace

from processor.archive.base import Held, RequestKey, Stored
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
    held_of,
    multi_predictor,
    one_of_each,
    source_of,
)
from processor.archive.elasticsearch.outcomes import OutcomeStore
from processor.archive.elasticsearch.page import PageReader, parse_search
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

#: Documents of a page at most; Elasticsearch itself allows 10,000.
PAGE = 2000
#: Seconds in which a request is surely sent.
_SENDING = 0.001
_OLDEST = (7, 17)


class Page(NamedTuple):
    """Documents in the order of their sequence numbers, the last and those of deleted documents
    included: a reader that has this page goes on behind ``last_seq_no``."""

    documents: list[Document]
    last_seq_no: int


class ElasticsearchArchive:
    """The documents that an index pattern matches. Its methods raise `ArchiveError`.

    ``patience``: seconds to wait out a server that is busy or away, None = for ever.
    """

    def __init__(
        self, url: str, pattern: str, settings: Settings, patience: float | None = 120.0
    ) -> None:
        """Connects at the first call. `SettingsError` for an address or options that can't be."""
        self.pattern = pattern
        self._http = ElasticsearchHttp(url, pattern, settings, patience)
        self._outcomes = OutcomeStore(self._http, pattern)
        self.address = self._http.address

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def check(self) -> str:
        """What is there, for people. `ArchiveError`, at once, for a server that does not answer,
        another or an older server, refused credentials, or a pattern that matches no index."""
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
        """The documents in all indices of the pattern."""
        stats = await self._http.call("counting the documents", self._stats)
        return sum(stats.counts().values())

    async def shards(self) -> list[Shard]:
        """Every shard of every index of the pattern, with all that its checkpoint names visible to
        `pages`. Waits for shards that have no primary yet; `ArchiveError` if no index matches."""
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
        """The documents behind ``after_seq_no`` up to ``upto_checkpoint`` (default: the shard's),
        ``size`` a page at most and fewer if they are large; ``ahead`` pages are read ahead. The last
        page ends at the checkpoint, so a later pass goes on there: a document that was changed comes
        again, since a change gives it a new sequence number."""
        upto = shard.checkpoint if upto_checkpoint is None else upto_checkpoint
        reader = PageReader(self._http, shard.index, shard.number, size)
        reading: deque[tuple[int, asyncio.Task[tuple[list[Document], int]]]] = deque()
        begun = after_seq_no
        try:
            while begun < upto or reading:
                while begun < upto and len(reading) <= ahead:
                    top = min(upto, begun + reader.span)
                    reading.append((top, asyncio.create_task(reader.read(begun, top))))
                    begun = top
                # The requests go out before the reader of a page keeps the loop busy with it.
                await asyncio.sleep(_SENDING)
                top, first = reading[0]
                page = Page(*await first)
                reading.popleft()
                if page.last_seq_no < top:
                    # There were more than fit: what is read ahead is not what comes next.
                    begun = page.last_seq_no
                    await _end(reading)
                yield page
        finally:
            await _end(reading)

    async def rest(self, shard: Shard, size: int = PAGE) -> list[Document] | None:
        """All documents behind the shard's checkpoint; None where they are more than a page.

        A search sees one moment. So with `pages` up to the checkpoint before it every document is
        read that was there at that moment, however often it was changed meanwhile: what is changed
        in front of `pages` leaves their range, and is found here."""
        reader = PageReader(self._http, shard.index, shard.number, size)
        return await reader.rest(shard.checkpoint)

    async def scan(self, rules: ModelRules) -> AsyncIterator[list[Prediction | Feedback]]:
        """What all documents say, a page at a time; the copies of a batch are skipped."""
        reader = DocumentReader(rules, Telemetry())
        for shard in await self.shards():
            async with aclosing(self.pages(shard)) as pages:
                async for page in pages:
                    decoded = map(reader.read, page.documents)
                    yield [one for part in decoded for one in part.observations]

    async def lookup(
        self, requests: Sequence[RequestKey], rules: ModelRules
    ) -> AsyncIterator[list[Held]]:
        """What the archive holds of the requests, in batches: of each predictor's answer one
        document, and those with feedback. Of a batch any item's document stands for all."""
        # One that has read a batch would skip it at the next question.
        reader = DocumentReader(rules, Telemetry())
        for start in range(0, len(requests), LOOKUP):
            wanted = set(requests[start : start + LOOKUP])
            ids = sorted({key.request_id for key in wanted})
            # Documents of single predictions and all feedback have the request id for their own.
            found = [(one, source_of(one)) for one in await self._find(ids, by_id)]
            answered = {source.request for _, source in found if source.response is not None}
            rest = sorted({key.request_id for key in wanted - answered})
            found += [(one, source_of(one)) for one in await self._find(rest, one_of_each)]
            held = [
                held_of(one, source, reader) for one, source in found if source.request in wanted
            ]
            if held:
                yield held

    async def store(self, outcomes: Sequence[RequestOutcome]) -> Stored:
        """Write outcomes onto the documents of their requests; see `OutcomeStore.store`."""
        return await self._outcomes.store(outcomes)

    async def multi_predictor(self) -> frozenset[tuple[str, str]] | None:
        """The deployments, by namespace and name, with documents of more than one predictor; None
        where the mapping does not allow to ask."""

        async def search(client: AsyncElasticsearch) -> dict[str, Any]:
            quiet = client.options(ignore_status=400)
            answer = await quiet.search(
                index=self.pattern,
                allow_partial_search_results=False,
                ignore_unavailable=True,
                body=PREDICTORS,
            )
            return reply(answer.body)

        return multi_predictor(await self._http.call("counting predictors", search))

    async def _find(
        self, ids: list[str], make: Callable[[list[str]], dict[str, Any]]
    ) -> list[Document]:
        """The documents of a search, which ``make`` makes of request ids."""
        if not ids:
            return []
        try:
            return await self._search(make(ids))
        except ValueError:
            # A document that no parser takes must not hide those of other requests.
            if len(ids) == 1:
                return []
            half = len(ids) // 2
            return await self._find(ids[:half], make) + await self._find(ids[half:], make)

    async def _search(self, body: dict[str, Any]) -> list[Document]:
        async def search(client: AsyncElasticsearch) -> list[Document]:
            answer = await client.search(
                index=self.pattern,
                allow_partial_search_results=False,
                ignore_unavailable=True,
                body=body,
            )
            return parse_search(answer.body).documents

        return await self._http.call("looking up requests", search)

    async def _version(self) -> str:
        """The server's version; empty where the user may not know."""

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


async def _end(reading: deque[tuple[int, asyncio.Task[tuple[list[Document], int]]]]) -> None:
    """End what is read ahead: it is of no interest any more."""
    tasks = [task for _, task in reading]
    reading.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _numbers(version: str) -> tuple[int, ...]:
    """
    >>> _numbers("8.19.0-SNAPSHOT")[:2], _numbers("7.9.3") < (7, 17)
    ((8, 19), True)
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
