"""Open an Elasticsearch archive and read a shard's documents."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from processor.archive.elasticsearch.archive import ElasticsearchArchive, Shard
from processor.domain.events.documents import Document
from processor.settings import Settings


@asynccontextmanager
async def archive(
    url: str, pattern: str = "inference-log-*", patience: float | None = 30, **settings: str
) -> AsyncIterator[ElasticsearchArchive]:
    """An open archive; ``settings`` are variables without their prefix ``PROCESSOR_ES_``."""
    env = {f"PROCESSOR_ES_{name.upper()}": value for name, value in settings.items()}
    opened = ElasticsearchArchive(url, pattern, Settings.from_env(env), patience)
    try:
        yield opened
    finally:
        await opened.close()


async def everything(
    source: ElasticsearchArchive, shard: Shard, after: int = -1, **options: Any
) -> list[Document]:
    """All documents after a sequence number; checks the order of each page."""
    documents: list[Document] = []
    async with aclosing(source.pages(shard, after, **options)) as pages:
        async for page in pages:
            numbers = [after, *(document.seq_no for document in page.documents)]
            assert numbers == sorted(set(numbers))
            assert numbers[-1] <= page.last_seq_no <= shard.checkpoint
            documents += page.documents
            after = page.last_seq_no
    assert after == shard.checkpoint
    return documents
