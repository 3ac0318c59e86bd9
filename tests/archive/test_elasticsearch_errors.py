"""The Elasticsearch archive against a fake server, for answers that a real one rarely gives."""

import warnings
from typing import Any

import pytest
from aiohttp import web

from processor.archive.elasticsearch.archive import Shard
from processor.errors import ArchiveError
from tests.archive.elasticsearch_reader import archive, everything
from tests.archive.fake_server import fake_server


async def test_warnings_of_a_server_are_not_printed() -> None:
    async def answer(request: web.Request) -> web.Response:
        warning = '299 Elasticsearch-7.17.0 "security features are not enabled"'
        return web.json_response({}, headers={"Warning": warning})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with fake_server(answer) as url, archive(url) as source:
            with pytest.raises(ArchiveError, match="has no index"):
                await source.check()
    assert caught == []


@pytest.mark.parametrize(
    ("version", "product", "match"),
    [
        ({"number": "7.10.2"}, False, "is version 7.10.2: use version 7.17 or newer"),
        ({"number": "7.16.3"}, True, "is version 7.16.3: use version 7.17 or newer"),
        ({"number": "2.11.0", "distribution": "opensearch"}, False, "but opensearch"),
        ("?", False, "another server"),
    ],
)
async def test_other_servers_are_refused(version: Any, product: bool, match: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"version": version})

    async with fake_server(answer, product) as url, archive(url) as source:
        with pytest.raises(ArchiveError, match=match):
            await source.check()


@pytest.mark.parametrize("status", [429, 503, 502])
async def test_a_busy_server_is_waited_for(status: int) -> None:
    calls = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls <= 4:
            return web.Response(status=status, text="<html>busy</html>", content_type="text/html")
        return web.json_response({})

    async with fake_server(answer) as url:
        async with archive(url, patience=None) as source:
            with pytest.raises(ArchiveError, match="has no index"):
                await source.shards()
        assert calls > 4
        calls = 0
        async with archive(url, patience=0.1) as source:
            with pytest.raises(ArchiveError, match=str(status)):
                await source.shards()


async def test_refusals_are_explained_and_not_repeated() -> None:
    calls: list[str] = []
    status = 403

    async def answer(request: web.Request) -> web.Response:
        calls.append(request.headers["Authorization"])
        reason = {"type": "x", "reason": "because\nof this"}
        return web.json_response({"error": {**reason, "root_cause": [reason]}}, status=status)

    async with fake_server(answer) as url, archive(url, api_key="abc", patience=None) as source:
        for refusal, match in ((403, "privileges"), (400, "because of this"), (406, "7.17")):
            status = refusal
            calls.clear()
            with pytest.raises(ArchiveError, match=match) as caught:
                await source.shards()
            assert calls == ["ApiKey abc"]
            assert "abc" not in str(caught.value).split()
        # An internal error of the server is tried again, but not for ever.
        status = 500
        with pytest.raises(ArchiveError, match="because of this"):
            await source.shards()


async def test_an_answer_without_all_shards_is_not_used() -> None:
    calls = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        hits = [{"_index": "i", "_id": "a", "sort": [0], "_source": {"x": 1}}]
        return web.json_response(
            {
                "timed_out": calls == 1,
                "_shards": {"total": int(calls < 4), "failed": int(calls == 2)},
                "hits": {"hits": hits},
            }
        )

    async with fake_server(answer) as url, archive(url) as source:
        shard = Shard("i", "u", 0, 0, 1)
        assert [d.source for d in await everything(source, shard)] == [b'{"x": 1}']
        assert calls == 3
        with pytest.raises(ArchiveError, match="i has no shard 0 any more"):
            await everything(source, shard)
