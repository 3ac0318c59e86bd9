"""Replay documents of the request logger: the results equal the recorded ones."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

import processor.archive.elasticsearch.archive as archive_module
from processor.archive.elasticsearch.archive import ElasticsearchArchive, Page, Shard
from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay
from processor.errors import SettingsError
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings
from tests.support.reports.command import run_command
from tests.support.servers.elasticsearch import (
    PASSWORD,
    USER,
    secure_server,
)
from tests.support.servers.indices import DATA, Indices, stored
from tests.support.servers.proxy import Proxy

pytestmark = pytest.mark.integration


def processor(*arguments: str, **settings: str) -> tuple[int, dict[str, Any], str]:
    """Run a command; returns its exit code, the JSON of stdout, and stderr."""
    env = {f"PROCESSOR_{name.upper()}": value for name, value in settings.items()}
    done = run_command(arguments, env)
    result: dict[str, Any] = {}
    with suppress(ValueError):
        result = json.loads(done.stdout)
    return done.returncode, result, done.stderr


def check_against(result: dict[str, Any], contract: str) -> None:
    expected = json.loads((DATA / contract).read_text())
    assert result["by"] == expected["by"]
    assert _like(result["models"], expected["models"]) == _rounded(expected["models"])


def _like(content: Any, wanted: Any) -> Any:
    """The content with the fields that are wanted: the contract does not name all of them."""
    if isinstance(wanted, dict) and isinstance(content, dict):
        return {name: _like(content.get(name), value) for name, value in wanted.items()}
    if isinstance(wanted, list) and isinstance(content, list) and len(content) == len(wanted):
        return [_like(one, other) for one, other in zip(content, wanted, strict=True)]
    return content


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return pytest.approx(content, abs=1e-9) if isinstance(content, float) else content


def test_the_experiment_from_its_documents(indices: Indices) -> None:
    indices.add(indices.make("experiment", shards=3), stored())
    code, result, errors = processor("replay", indices.url, "--index", indices.pattern)
    assert code == 0, errors
    check_against(result, "contract-es.json")
    assert result["events"]["read"] == 100
    assert result["events"]["dead_letters"] == {}
    # Together with the whole stream, in either order, the results are those of the stream.
    events = str(DATA / "events.ndjson")
    settings = {"archive": indices.url, "index": indices.pattern}
    for sources in ((indices.url, events), (events, "elasticsearch:")):
        code, result, errors = processor("replay", *sources, **settings)
        assert code == 0, errors
        check_against(result, "contract.json")
        assert result["events"]["superseded"] == 0
        assert result["events"]["duplicates"] == 59


def test_the_notebooks_own_types(indices: Indices) -> None:
    folder = DATA / "notebook-types"
    indices.add(indices.make("notebook"), stored(folder / "elasticsearch.ndjson"))
    for sources in ((), (str(folder / "events.ndjson"),)):
        code, result, errors = processor(
            "replay", indices.url, *sources, "--index", indices.pattern
        )
        assert code == 0, errors
        check_against(result, "contract.json")


async def replayed(indices: Indices, url: str = "", **options: Any) -> Replay:
    selection = Selection(**options)
    settings = Settings.from_env({})
    access = Access(settings, indices.pattern)
    return (await fold_sources([url or indices.url], ModelRules(), selection, access)).result()


def part(request_id: str, predictor: str = "default", **parts: Any) -> dict[str, Any]:
    return {
        "RequestId": request_id, "Ce-Namespace": "ns", "Ce-Inferenceservicename": "dep",
        "Ce-Endpoint": predictor, "Ce-Modelid": "clf", **parts,
    }  # fmt: skip


def test_batches_and_orphans(indices: Indices) -> None:
    """Documents as the logger writes them: one for each item, and feedback under the request id."""
    main, canary = indices.make("main", shards=2), indices.make("canary")
    time, later = "2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"
    answer = {"ce-time": time, "payload": {"data": {"ndarray": ["a", "b", "c", "d"]}}}
    truth = {"ce-time": later, "truth": {"data": {"ndarray": ["a", "b", "x", "d"]}}}
    for i in range(4):
        indices.merge(main, f"whole-item-{i}", part("whole", response=answer))
    indices.merge(main, "whole", part("whole", feedback=truth))
    indices.merge(main, "third-item-3", part("third", response=answer))
    indices.merge(main, "third", part("third", feedback={"ce-time": later, "reward": 1}))
    indices.merge(main, "orphan", part("orphan", feedback=truth))
    # Truth given to one predictor is true of the other's answer as well (rule 11).
    indices.merge(canary, "whole-item-0", part("whole", "canary", response=answer))
    # Two feedbacks: the second is merged into the first, whose truth stays.
    single = {"ce-time": time, "payload": {"data": {"ndarray": ["a"]}}}
    indices.merge(main, "merged", part("merged", response=single))
    first = {"ce-time": later, "reward": 0, "truth": {"data": {"ndarray": ["b"]}}}
    indices.merge(main, "merged", part("merged", feedback=first))
    indices.merge(main, "merged", part("merged", feedback={"reward": 1, "ce-time": later}))
    indices.add(main, [{"_id": "foreign", "_source": {"hello": "world"}}])
    indices.merge(main, "asked", part("asked", request={"dataType": "tabular"}))

    code, result, errors = processor("replay", indices.url, "--index", indices.pattern)
    assert code == 0, errors
    of_canary, of_main = result["models"]
    assert (of_canary["predictor"], of_main["predictor"]) == ("canary", "default")
    assert [of_main[name] for name in ("predictions", "judged", "correct")] == [9, 9, 7]
    assert [of_canary[name] for name in ("predictions", "judged", "correct")] == [4, 4, 3]
    assert of_main["disagreements"] == 1
    assert result["events"]["unmatched_feedback"] == 1
    assert (result["events"]["dead_letters"], result["events"]["other"]) == ({}, 1)
    assert result["events"]["duplicates"] == 0


async def test_times_select(indices: Indices) -> None:
    indices.add(indices.make("experiment"), stored())
    noon = 1795176000 * 10**9
    whole = await replayed(indices)
    halves = [await replayed(indices, end=noon), await replayed(indices, start=noon)]
    counted = [sum(model.predictions or 0 for model in half.models) for half in halves]
    assert sum(counted) == 100
    early = await replayed(indices, as_of=noon)
    assert early.models[0].judged < whole.models[0].judged


def test_errors_are_one_clear_line(indices: Indices) -> None:
    for pattern in ("no-such-*", "no-such-index"):
        code, _, errors = processor("replay", indices.url, "--index", pattern)
        assert code == 1
        assert f"has no index '{pattern}': set PROCESSOR_INDEX (or --index)" in errors
        assert errors.count("\n") == 1
    code, _, errors = processor("replay", "elasticsearch:")
    assert code == 2
    assert "means PROCESSOR_ARCHIVE, which is not set" in errors
    assert errors.count("\n") == 1


def test_wrong_credentials_are_one_clear_line() -> None:
    server = secure_server()
    indices = Indices(server.url, ca_certs=str(server.ca), basic_auth=(USER, PASSWORD))
    indices.add(indices.make("experiment"), stored())
    settings = {"es_ca": str(server.ca), "es_user": USER, "index": indices.pattern}
    code, _, errors = processor("replay", server.url, **settings, es_password="not-the-pass")
    assert code == 1
    assert "refuses the credentials (401): set PROCESSOR_ES_USER" in errors
    assert errors.count("\n") == 1
    assert "not-the-pass" not in errors
    code, result, errors = processor("replay", server.url, **settings, es_password=PASSWORD)
    assert code == 0, errors
    check_against(result, "contract-es.json")
    indices.close()


@pytest.mark.long
async def test_a_server_that_is_away_in_the_middle(
    indices: Indices, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices.add(indices.make("experiment", shards=2), stored())
    place = urlsplit(indices.url)
    waiting: list[asyncio.Task[None]] = []

    async def come(proxy: Proxy) -> None:
        await asyncio.sleep(1)
        await proxy.resume()

    class Interrupted(ElasticsearchArchive):
        async def pages(  # type: ignore[override]
            self, shard: Shard, after: int = -1, ahead: int = 1
        ) -> AsyncGenerator[Page, None]:
            async for page in super().pages(shard, after, size=7, ahead=ahead):
                if not waiting and page.documents[-1].seq_no > 10:
                    await proxy.cut()
                    waiting.append(asyncio.create_task(come(proxy)))
                yield page

    monkeypatch.setattr(archive_module, "ElasticsearchArchive", Interrupted)
    async with Proxy((place.hostname or "", place.port or 9200)) as proxy:
        result = await replayed(indices, f"http://127.0.0.1:{proxy.port}")
    assert waiting[0].done()
    (model,) = result.models
    assert (model.predictions, model.judged, model.correct) == (100, 59, 42)
    assert result.events.read == 100
    assert result.events.duplicates == 0


async def test_sources_that_cannot_be() -> None:
    for source in ("elasticsearch:x", "kafka:topic"):
        with pytest.raises(SettingsError, match="source"):
            await fold_sources([source], ModelRules(), Selection(), Access(Settings.from_env({})))
