"""Watching an archive, with a server that answers as Elasticsearch does (its bodies are recorded)."""

from typing import Any

import pytest
from aiohttp import web

from processor.archive.elasticsearch.watch import ArchiveWatch
from processor.settings import Settings
from tests.archive.fake_server import Answer, fake_server
from tests.support.servers.process import free_port

_NO_INDEX = {
    "error": {
        "root_cause": [{"type": "index_not_found_exception", "reason": "no such index [x]"}],
        "type": "index_not_found_exception",
    },
    "status": 404,
}
_BLOCKED = {
    "inference-log-b": {"settings": {"index.blocks.read_only_allow_delete": "true"}},
    "inference-log-a": {"settings": {}},
}


def _answering(status: int, content: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/inference-log-*/_settings/index.blocks.*"
        return web.json_response(content, status=status)

    return answer


async def _watch(url: str, **settings: str) -> ArchiveWatch:
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    watch = ArchiveWatch(Settings.from_env({"PROCESSOR_ARCHIVE": url, **env}))
    assert watch.up is None
    await watch.check()
    await watch._http.close()
    return watch


@pytest.mark.parametrize(
    ("status", "content", "settings", "reason", "text"),
    [
        (200, {}, {}, None, ""),
        (401, {"error": "security_exception"}, {}, "credentials", "refuses the credentials (401)"),
        (403, {"error": "security_exception"}, {}, "rights", "does not allow reading the settings"),
        (404, _NO_INDEX, {}, "no_index", "has no index 'inference-log-*'"),
        (404, _NO_INDEX, {"request_logger": "on"}, None, ""),
        (200, _BLOCKED, {}, None, ""),
        (200, _BLOCKED, {"outcomes": "on"}, "read_only", "inference-log-b be written"),
        (503, {"error": "no master"}, {}, "busy", "(503)"),
        (400, {"error": "a surprise"}, {}, "other", "a surprise"),
    ],
)
async def test_what_the_server_says_is_told(
    status: int, content: Any, settings: dict[str, str], reason: str | None, text: str
) -> None:
    async with fake_server(_answering(status, content)) as url:
        watch = await _watch(url, **settings)
    if reason is None:
        assert (watch.up, watch.error, watch.refused) == (1, None, {})
        return
    assert watch.error is not None
    assert text in watch.error.what
    assert (watch.up, watch.error.reason) == (0, reason)
    assert watch.refused == ({} if reason == "busy" else {reason: 1})


async def test_a_server_that_is_away_is_told_with_the_reason() -> None:
    watch = await _watch(f"http://127.0.0.1:{free_port()}")
    assert watch.error is not None
    assert "can't be reached (connection refused)" in watch.error.what
    assert (watch.up, watch.refused) == (0, {})
