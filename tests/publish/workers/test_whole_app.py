"""The routes of the whole app: several workers give what one worker with all models gives."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from processor.publish.interfaces import NoGroup
from processor.publish.workers import other_workers
from processor.publish.workers.answers import InvalidAnswerError
from processor.publish.workers.views import page_decoder
from tests.publish.workers.fakes import (
    PARTITIONS,
    App,
    FakeGroup,
    partition,
    serve_app,
    some_models,
)
from tests.support.fakes import EXPERIMENT, experiment_counts
from tests.support.large_counts import ManyModels, PastCounts

MODELS = some_models(11) | {EXPERIMENT: experiment_counts()}
SHARES = ((0, 3, 5), (1, 4), (2, 6, 7))
NAMES = "&".join(f"{name}={value}" for name, value in EXPERIMENT._asdict().items())


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = await serve_app(MODELS, SHARES)
    yield app
    await app.close()


@pytest.fixture
async def alone() -> AsyncIterator[App]:
    app = await serve_app(MODELS, [range(PARTITIONS)])
    yield app
    await app.close()


@pytest.mark.parametrize("worker", range(3))
@pytest.mark.parametrize(
    "path", ["/api/models?window=all&by=request", "/api/models", "/api/models?by=feedback"]
)
async def test_results_are_those_of_a_single_worker(
    app: App, alone: App, path: str, worker: int
) -> None:
    whole, wanted = await app.get(worker, path), await alone.get(0, path)
    assert "workers" not in wanted
    assert [one["ok"] for one in whole.pop("workers")] == [True] * 3
    assert whole.pop("missing_partitions") == []
    assert whole == wanted


async def test_events_are_those_of_all_workers(app: App) -> None:
    for number, site in enumerate(app.sites):
        site.telemetry.events["request"] = 10**number
        site.telemetry.dead_letters["bad_json"] = number
    found = await app.get(1, "/api/models?window=all&by=request")
    assert found["events"]["read"] == 111
    assert found["events"]["dead_letters"] == {"bad_json": 3}


async def test_the_page_has_all_models_and_the_details_of_any(app: App, alone: App) -> None:
    wanted = await alone.get(0, f"/api/page?window=all&{NAMES}")
    assert wanted["detail"]["result"]["deployment"] == "sklearn"
    assert "workers" not in wanted
    for worker in range(3):
        found = await app.get(worker, f"/api/page?window=all&{NAMES}")
        assert found["models"] == wanted["models"]
        assert found["detail"] == wanted["detail"]
        # What a worker does is its own.
        assert found["work"]["ready"]["partitions"]["deltas"] == list(SHARES[worker])
        assert [one["answering"] for one in found["workers"]] == [i == worker for i in range(3)]
        assert "missing_partitions" not in found


async def test_workers(app: App) -> None:
    found = await app.get(1, "/api/workers")
    first, second, third = found["workers"]
    assert found["missing_partitions"] == []
    assert second == {
        "id": "worker-b",
        "address": f"127.0.0.1:{app.servers[1].port}",
        "scheme": "http",
        "partitions": [1, 4],
        "models": sum(partition(key) in SHARES[1] for key in MODELS),
        "age_seconds": 0.0,
        "ok": True,
        "reason": "",
        "member": True,
        "answering": True,
    }
    assert (first["id"], third["id"]) == ("worker-a", "worker-c")
    assert first["models"] + second["models"] + third["models"] == len(MODELS)
    assert third["partitions"] == [2, 6, 7]


async def test_a_single_worker_lists_itself(alone: App) -> None:
    found = await alone.get(0, "/api/workers")
    assert [(one["id"], one["models"]) for one in found["workers"]] == [("worker-a", len(MODELS))]
    assert found["missing_partitions"] == []


async def test_without_a_group_nothing_is_left_out(alone: App) -> None:
    wanted = {
        path: await alone.get(0, path) for path in ("/api/models", "/api/history", "/api/page")
    }
    alone.sites[0].group = NoGroup()
    assert {path: await alone.get(0, path) for path in wanted} == wanted
    assert len(wanted["/api/history"]["models"]) == len(MODELS)


async def test_a_worker_s_own_answer(app: App) -> None:
    own = await app.get(1, "/api/worker/models?window=all&by=request")
    assert (own["worker"], own["positions"]) == ("worker-b", {"1": 100, "4": 100})
    assert len(own["body"]["models"]) == own["models"]
    assert (await app.get(1, "/api/worker"))["body"] is None
    async with app.session.get(app.servers[1].make_url("/api/worker/nothing")) as response:
        assert response.status == 404
    for path in ("history?until=now", "history?since=-1", "page?window=3m"):
        async with app.session.get(app.servers[1].make_url(f"/api/worker/{path}")) as response:
            assert response.status == 400
            assert "error" in await response.json()


async def test_details_that_the_page_could_not_show_are_refused(alone: App) -> None:
    answer = await alone.get(0, f"/api/worker/page?window=all&{NAMES}")
    body = answer["body"]
    assert set(body) == {"models", "detail"}
    assert page_decoder(json.dumps(body).encode()).detail is not None
    changes: list[dict[str, Any]] = [{"confusion": None}, {"judged": "63"}, {"classes": []}]
    for wrong in changes:
        result = body["detail"]["result"] | wrong
        changed = body | {"detail": body["detail"] | {"result": result}}
        with pytest.raises(InvalidAnswerError):
            page_decoder(json.dumps(changed).encode())


async def test_models_of_a_dead_worker_are_shown_with_their_age(
    app: App, alone: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/models?window=all&by=request"
    wanted = (await alone.get(0, path))["models"]
    assert (await app.get(0, path))["models"] == wanted
    monkeypatch.setattr(other_workers, "_FRESH", 0.0)
    await app.stop(1)
    found = await app.get(0, path)
    aged = [model for model in found["models"] if "age_seconds" in model]
    assert {model["deployment"] for model in aged} == {
        key.deployment for key in MODELS if partition(key) in SHARES[1]
    }
    assert all(model.pop("age_seconds") > 0 for model in aged)
    assert found["models"] == wanted
    assert [one["ok"] for one in found["workers"]] == [True, False, True]
    assert found["missing_partitions"] == []
    # The page is another view; it shows what is known, but for the details.
    (key, *_) = [key for key in sorted(MODELS) if partition(key) in SHARES[1]]
    names = "&".join(f"{name}={value}" for name, value in key._asdict().items())
    page = await app.get(0, f"/api/page?window=all&{names}")
    assert [one["deployment"] for one in page["models"]] == [one["deployment"] for one in wanted]
    assert {one["deployment"] for one in page["models"] if one.get("age_seconds")} == {
        one["deployment"] for one in aged
    }
    assert page["detail"] is None
    # In a window that nobody asked for before, they are not known: never zero.
    found = await app.get(0, "/api/models?window=1h&by=request")
    assert len(found["models"]) == len(wanted) - len(aged)
    assert found["missing_partitions"] == [1, 4]
    # One that has not answered yet asks in vain too.
    found = await app.get(2, path)
    assert (len(found["models"]), found["missing_partitions"]) == (
        len(wanted) - len(aged),
        [1, 4],
    )


async def test_a_partition_that_is_read_again_is_shown_as_it_was(
    app: App, alone: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/models?window=all&by=request"
    wanted = (await alone.get(0, path))["models"]
    app.sites[1].telemetry.events["request"] = 5
    await app.get(0, path)
    monkeypatch.setattr(other_workers, "_FRESH", 0.0)
    # After a rebalance this worker reads partition 3 again, and another one partition 4.
    for worker, number in ((0, 3), (1, 4)):
        site = app.sites[worker]
        assert isinstance(site.group, FakeGroup)
        del site.group.offsets[number]
        site.counts_source.models = {
            key: counts
            for key, counts in site.counts_source.models.items()
            if partition(key) != number
        }
    for _ in range(2):
        found = await app.get(0, path)
        aged = {m["deployment"] for m in found["models"] if m.pop("age_seconds", None)}
        assert aged == {key.deployment for key in MODELS if partition(key) in (3, 4)}
        assert found["models"] == wanted
        assert found["missing_partitions"] == []
        assert [one["ok"] for one in found["workers"]] == [True] * 3
        assert found["events"]["read"] == 5


async def test_all_windows_answer_for_each_of_them(
    app: App, alone: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await alone.get(0, "/api/models?window=1h&by=feedback")
    await app.get(0, "/api/models")
    monkeypatch.setattr(other_workers, "_FRESH", 0.0)
    await app.stop(1)
    found = await app.get(0, "/api/models?window=1h&by=feedback")
    ages = [model.pop("age_seconds", None) for model in found["models"]]
    assert any(ages)
    assert found["models"] == wanted["models"]
    page = await app.get(0, "/api/page?window=1h&by=feedback")
    alone_page = await alone.get(0, "/api/page?window=1h&by=feedback")
    assert any(one.pop("age_seconds", None) for one in page["models"])
    for one in page["models"]:
        one.pop("age_seconds", None)
    assert page["models"] == alone_page["models"]
    # Another model of the page: the list stays.
    await app.get(0, f"/api/page?window=1h&by=feedback&{NAMES}")
    assert len((await app.get(0, "/api/page?window=1h&by=feedback"))["models"]) == len(MODELS)


async def test_partitions_that_move_show_each_model_once(app: App, alone: App) -> None:
    path = "/api/models?window=all&by=request"
    wanted = (await alone.get(0, path))["models"]
    first, second, _ = app.sites
    # The first one has taken over all of the second one's, which has not heard of it yet.
    first.counts_source.models |= second.counts_source.models
    assert isinstance(first.group, FakeGroup)
    first.group.offsets |= {1: 101, 4: 101}
    for worker in range(3):
        assert (await app.get(worker, path))["models"] == wanted


async def test_series_have_one_axis_whose_models_are_of_many_ages() -> None:
    past = ManyModels(24)._past
    newest = max(minute for minutes in past.values() for minute in minutes)
    # Models of the second worker are an hour old, those of the others some twenty.
    past = {
        key: {
            m: c for m, c in minutes.items() if partition(key) not in SHARES[1] or m > newest - 60
        }
        for key, minutes in past.items()
    }
    app = await serve_app(past, SHARES, PastCounts)
    alone = await serve_app(past, [range(PARTITIONS)], PastCounts)
    try:
        for window in ("all", "24h", "1h"):
            wanted = await alone.get(0, f"/api/history?window={window}")
            assert len(wanted["models"]) == 24
            for worker in range(3):
                assert await app.get(worker, f"/api/history?window={window}") == wanted
    finally:
        await app.close()
        await alone.close()
