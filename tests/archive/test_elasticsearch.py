"""The Elasticsearch archive against real servers."""

import asyncio
import json
import threading
from contextlib import aclosing
from typing import Any

import pytest

import processor.archive.elasticsearch.page as page_module
from processor.archive.base import Archive, RequestKey
from processor.archive.elasticsearch.archive import ElasticsearchArchive
from processor.domain.model_rules import ModelRules
from processor.errors import ArchiveError, SettingsError
from processor.settings import Settings
from tests.archive.elasticsearch_reader import archive, everything
from tests.support.servers.elasticsearch import (
    PASSWORD,
    USER,
    Elastic,
    ElasticsearchServer,
    StartedElastic,
)
from tests.support.servers.indices import Indices, stored
from tests.support.servers.process import free_port

pytestmark = pytest.mark.integration


def numbered(count: int, prefix: str = "r", **source: Any) -> list[dict[str, Any]]:
    return [
        {"_id": f"{prefix}{n}", "_source": {"RequestId": f"{prefix}{n}", **source}}
        for n in range(count)
    ]


async def test_every_document_of_every_shard_is_read_once(indices: Indices) -> None:
    indices.add(indices.make("many", shards=3), numbered(700))
    indices.add(indices.make("few"), numbered(5, "f"))
    indices.make("none")
    async with archive(indices.url, indices.pattern) as source:
        as_archive: Archive = source  # mypy checks that it has the interface
        shards = await source.shards()
        assert [shard.number for shard in shards] == [0, 0, 1, 2, 0]
        assert await as_archive.count() == 705
        assert sum(shard.documents for shard in shards) <= 705
        documents = [d for shard in shards for d in await everything(source, shard, size=64)]
        assert sorted(document.id for document in documents) == sorted(
            [f"r{n}" for n in range(700)] + [f"f{n}" for n in range(5)]
        )
        assert {shard.checkpoint for shard in shards if shard.index.endswith("none")} == {-1}


async def test_large_documents_are_read_without_unneeded_fields(indices: Indices) -> None:
    (first, *_) = stored()
    image = {"dataType": "image", "instance": "x" * 20_000}
    sources = [first["_source"], *[{**first["_source"], "request": image}] * 150]
    indices.add(
        indices.make("one", mappings={"dynamic": False}),
        [{"_id": f"r{number}", "_source": source} for number, source in enumerate(sources)],
    )
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        small, *_, large = await everything(source, shard)
    assert (small.id, large.id) == ("r0", "r150")
    assert json.loads(small.source) == first["_source"]
    assert b"requestPath" in large.source
    for left_out in (b"instance", b"elements", b"ce-source"):
        assert left_out not in large.source


async def test_pages_are_read_ahead(indices: Indices) -> None:
    index = indices.make("sparse")
    for _ in range(3):  # most numbers belong to overwritten versions
        indices.add(index, numbered(400))
    indices.add(index, numbered(900, "new"))
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        for ahead in (1, 3):
            documents = await everything(source, shard, size=64, ahead=ahead)
            assert len({document.id for document in documents}) == len(documents) == 1300
        assert await source.rest(shard) == []
        indices.add(index, numbered(10, "later"))
        indices.merge(index, "r7", {"feedback": {"reward": 1}})
        indices.client.indices.refresh(index=index)
        rest = await source.rest(shard)
        assert rest is not None
        assert [document.id for document in rest] == [*(f"later{n}" for n in range(10)), "r7"]
        assert await source.rest(shard, size=11) is None


async def test_a_later_pass_reads_the_changed_documents(indices: Indices) -> None:
    index = indices.make("one")
    indices.add(index, numbered(50))
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        assert len(await everything(source, shard)) == 50
        cursor = shard.checkpoint
        indices.merge(index, "r7", {"feedback": {"reward": 1}})
        indices.add(index, numbered(3, "new"))
        indices.client.delete(index=index, id="r9")
        (later,) = await source.shards()
        assert (later.uuid, later.checkpoint) == (shard.uuid, cursor + 5)
        changed = await everything(source, later, cursor)
        assert [document.id for document in changed] == ["r7", "new0", "new1", "new2"]
        assert b"reward" in changed[0].source
        # A pass from the start reads the newest versions, without the deleted document.
        assert len(await everything(source, later)) == 52
        assert [p async for p in source.pages(later, later.checkpoint)] == []
        # A pass over deleted documents only still moves the cursor.
        indices.client.delete(index=index, id="r10")
        (last,) = await source.shards()
        assert await everything(source, last, later.checkpoint) == []


async def test_pages_shrink_with_large_documents(
    indices: Indices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_PAGE_BYTES", 1 << 20)
    monkeypatch.setattr(page_module, "_FIRST", 8)
    payload = {"payload": {"strData": "x" * 200_000}}
    index = indices.make("large", mappings={"dynamic": False})
    indices.add(index, numbered(30, "large", response=payload))
    indices.add(index, numbered(300, "small"))
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        sizes = [len(page.documents) async for page in source.pages(shard)]
        assert sum(sizes) == 330
        assert max(sizes[2:6]) <= 6  # one page was read ahead
        assert max(sizes) > 20


async def test_hostile_documents_do_not_hide_the_others(elastic: Elastic, indices: Indices) -> None:
    index = indices.make("hostile", mappings={"dynamic": False})
    client = indices.client
    client.index(index=index, id="half", document=b'{"RequestId":"\\ud800"}')  # type: ignore[arg-type]
    indices.add(index, numbered(40))
    seven = str(client.info()["version"]["number"]).startswith("7.") if _has_info(client) else False
    if seven:  # 8.x accepts at most 1,000 levels, which can be parsed
        deep = b'{"response":{"payload":' + b"[" * 1500 + b"]" * 1500 + b"}}"
        client.index(index=index, id="deep", document=deep)  # type: ignore[arg-type]
    indices.add(index, numbered(40, "more"))
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        documents = await everything(source, shard)
    assert len(documents) == 81 + seven
    assert {d.id: d.source for d in documents}["half"].lower() == b'{"requestid":"\\ud800"}'
    if seven:
        assert {d.id: d.source for d in documents}["deep"] == b""


def _has_info(client: Any) -> bool:
    try:
        client.info()
    except Exception:
        return False
    return True


def logged(request_id: str, predictor: str = "default", **parts: Any) -> dict[str, Any]:
    return {
        "RequestId": request_id, "Ce-Namespace": "ns", "Ce-Inferenceservicename": "dep",
        "Ce-Endpoint": predictor, "Ce-Modelid": "clf", **parts,
    }  # fmt: skip


async def test_lookup_of_incomplete_documents(indices: Indices) -> None:
    time = "2026-11-20T10:00:00Z"
    answer = {"ce-time": time, "payload": {"data": {"ndarray": [[1], [2]]}}}
    index = indices.make("main", shards=2)
    indices.add(
        index,
        [
            # One document of this batch remains, and its feedback is in another document.
            {"_id": "batch-item-3", "_source": logged("batch", response=answer)},
            {"_id": "batch", "_source": logged("batch", feedback={"ce-time": time, "reward": 1})},
            {"_id": "asked", "_source": logged("asked", request={"dataType": "tabular"})},
        ],
    )
    # An index without the fields must not break the search.
    indices.make("odd", mappings={})
    half = f'{{"payload": {{"strData": "\\ud800"}}, "ce-time": "{time}"}}'
    text = json.dumps(logged("half", response=0)).replace(": 0", f": {half}")
    indices.client.index(index=index, id="half-item-0", document=text)  # type: ignore[arg-type]
    async with archive(indices.url, indices.pattern) as source:
        await source.shards()  # which refreshes, as the request logger does at each write
        wanted = [RequestKey("ns", "dep", name) for name in ("batch", "half", "asked")]
        found = [record async for batch in source.lookup(wanted, ModelRules()) for record in batch]
    kinds = [type(one).__name__ for record in found for one in record.observations]
    assert sorted(kinds) == ["Feedback", "Prediction"]
    assert {record.request.request_id for record in found if record.observations} == {"batch"}


async def test_check_describes_the_indices(indices: Indices) -> None:
    indices.add(indices.make("one"), numbered(3))
    async with archive(indices.url, indices.pattern) as source:
        assert f" at {indices.url}, 1 indices, " in await source.check()


async def test_a_pattern_that_matches_nothing_is_named(indices: Indices) -> None:
    for pattern in ("no-such-index", "no-such-*", "Bad pattern#,"):
        async with archive(indices.url, pattern) as source:
            for call in (source.check, source.shards):
                with pytest.raises(ArchiveError, match=r"has no index '|fails while") as caught:
                    await call()
                assert "\n" not in str(caught.value)


async def test_a_deleted_index_is_an_error(indices: Indices) -> None:
    index = indices.make("one")
    indices.add(index, numbered(50))
    async with archive(indices.url, indices.pattern) as source:
        (shard,) = await source.shards()
        indices.client.indices.delete(index=index)
        with pytest.raises(ArchiveError, match="has no index"):
            await everything(source, shard)


@pytest.mark.long
async def test_reading_continues_when_a_server_comes_back(own_elastic: ElasticsearchServer) -> None:
    indices = Indices(own_elastic.url)
    index = indices.make("one", shards=2)
    indices.add(index, numbered(600))
    seen: list[str] = []
    async with archive(own_elastic.url, indices.pattern, patience=None) as source:
        shards = await source.shards()
        async with aclosing(source.pages(shards[0], size=50)) as pages:
            async for page in pages:
                seen += [document.id for document in page.documents]
                if 100 < len(seen) <= 150:
                    own_elastic.stop()
                    back = threading.Timer(1, own_elastic.start)
                    back.start()
                    # No shard is omitted while the server is starting.
                    later = asyncio.create_task(source.shards())
        assert await later == shards
        await asyncio.to_thread(back.join)
        seen += [document.id for document in await everything(source, shards[1])]
    assert sorted(seen) == sorted(f"r{n}" for n in range(600))


async def test_security(secure_elastic: StartedElastic) -> None:
    url, ca = secure_elastic.url, str(secure_elastic.ca)
    indices = Indices(url, ca_certs=ca, basic_auth=(USER, PASSWORD))
    indices.add(indices.make("one"), numbered(1))
    pattern = indices.pattern
    right: dict[str, Any] = {"user": USER, "password": PASSWORD, "ca": ca}
    async with archive(url, pattern, **right) as source:
        assert "1 indices, " in await source.check()
        assert len(await everything(source, (await source.shards())[0])) == 1
    with_user = url.replace("//", f"//{USER}:{PASSWORD}@")
    async with archive(with_user, pattern, ca=ca) as source:
        assert PASSWORD not in await source.check()
    wrong: dict[str, str]
    for wrong in ({"password": "not-the-pass"}, {"user": "", "password": ""}):
        async with archive(url, pattern, **{**right, **wrong}) as source:
            with pytest.raises(ArchiveError, match="refuses the credentials") as caught:
                await source.check()
            assert "not-the-pass" not in str(caught.value)
    async with archive(url, pattern, ca=ca, api_key="bm90OmFrZXk=") as source:
        with pytest.raises(ArchiveError, match="refuses the credentials"):
            await source.check()
    async with archive(url, pattern, user=USER, password=PASSWORD) as source:
        with pytest.raises(ArchiveError, match="PROCESSOR_ES_CA"):
            await source.check()
    async with archive(url.replace("https", "http"), pattern, **right, patience=0.2) as source:
        with pytest.raises(ArchiveError, match="http or https"):
            await source.check()
    indices.close()


@pytest.mark.parametrize(
    ("url", "settings", "match"),
    [
        ("https://x:9200", {"ca": "/no/such.pem"}, "PROCESSOR_ES_CA"),
        ("https://x:9200", {"api_key": "k", "user": "u"}, "keep one"),
        ("https://x:9200", {"password": "p"}, "PROCESSOR_ES_USER"),
        ("http://u:hidden@[x", {}, "not http"),
        ("http://u:hidden@x:port", {}, "not http"),
        ("http://", {}, "not http"),
    ],
)
def test_invalid_options(url: str, settings: dict[str, str], match: str) -> None:
    env = {f"PROCESSOR_ES_{name.upper()}": value for name, value in settings.items()}
    with pytest.raises(SettingsError, match=match) as caught:
        ElasticsearchArchive(url, "x", Settings.from_env(env))
    assert "hidden" not in str(caught.value)


async def test_an_unreachable_server() -> None:
    async with archive(f"http://user:hidden@127.0.0.1:{free_port()}", patience=0.3) as source:
        for call in (source.check, source.shards):
            with pytest.raises(ArchiveError, match="can't be reached") as caught:
                await call()
            assert "hidden" not in str(caught.value)
