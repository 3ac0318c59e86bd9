"""Three workers on a real Kafka, of which one is frozen and one killed: the page of the third shows all
models at every moment, each once, with the numbers of a single worker."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.support.load import Expected, Load
from bench.support.load import produce as produce_load
from bench.support.measure import differences
from tests.support.browser import Page, chromium_page
from tests.support.faults.cluster import Worker, freeze, timeless, until
from tests.support.servers import Broker
from tests.support.workers import TOKEN, Get, Start, kafka_settings

PATH = "/api/models?window=all&by=request"
LOAD = Load.of_events(3_000, models=12)


class Reader:
    """Reads the models of the whole app from one worker."""

    def __init__(self, get: Get, worker: Worker, truth: Expected) -> None:
        self._get, self._worker, self._truth = get, worker, truth

    async def answer(self) -> dict[str, Any]:
        _, body = await self._get(self._worker, PATH)
        found: dict[str, Any] = json.loads(body or '{"models": []}')
        return found

    async def is_whole(self, workers: int) -> bool:
        """Whether so many workers answer, and all models are exact and of now."""
        answer = await self.answer()
        members = [one for one in answer.get("workers", [{"ok": True}]) if one.get("member", True)]
        aged = any("age_seconds" in model for model in answer["models"])
        exact = not self._wrong(answer) and not aged and not answer.get("missing_partitions")
        return exact and [one["ok"] for one in members] == [True] * workers

    def _wrong(self, answer: dict[str, Any]) -> list[str]:
        names = Counter(model["deployment"] for model in answer["models"])
        twice = [f"{name} shown {n} times" for name, n in names.items() if n > 1]
        return twice + differences(self._truth, answer["models"])

    @asynccontextmanager
    async def always_exact(self) -> AsyncIterator[None]:
        """Every answer within the block has every model, once, with its numbers."""

        async def watch() -> None:
            while True:
                answer = await self.answer()
                assert not self._wrong(answer), (self._wrong(answer), answer.get("workers"))
                await asyncio.sleep(0.2)

        watching = asyncio.create_task(watch())
        try:
            yield
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def test_a_frozen_and_a_killed_worker(
    kafka: Broker,
    topic: Callable[..., str],
    app_id: str,
    start: Start,
    get: Get,
    tmp_path: Path,
) -> None:
    source = topic(partitions=8)
    settings = kafka_settings(kafka, source, app_id, session_timeout="8s", metrics_token=TOKEN)
    shown, frozen, killed = (start(data=f"data-{n}", **settings) for n in range(3))
    await produce_load(kafka.bootstrap, source, LOAD)
    for worker in (shown, frozen, killed):
        reader = Reader(get, worker, LOAD.expected())
        await until(lambda reader=reader: reader.is_whole(3), 60, "all models at each worker")
    reader = Reader(get, shown, LOAD.expected())
    before = timeless((await reader.answer())["models"])
    chosen = timeless(await own_models(get, frozen))[0]

    async with chromium_page() as page:
        await page.look(1280)
        query = "&".join(
            f"{n}={chosen[n]}" for n in ("namespace", "deployment", "predictor", "model")
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        await page.call("Network.setExtraHTTPHeaders", headers=headers)
        await page.open(f"http://127.0.0.1:{shown.port}/?window=all&{query}")
        await page.until("document.querySelectorAll('#models svg:not(:empty)').length === 12")
        await page.until("document.querySelector('#status').innerText.includes('3 workers')")
        assert (
            await page.run("document.querySelector('#name h2').innerText") == chosen["deployment"]
        )
        figures = await page.run("document.querySelector('#figures').innerText")

        async with reader.always_exact():
            await freeze(frozen.pid)
            await page.until(
                "document.querySelector('#notices').innerText.includes('2 of 3 workers')"
            )
            assert await page.run("document.querySelector('#figures').innerText") == figures
            assert await page.run("document.querySelectorAll('#models .aged').length") > 0
            await take_pictures(page, tmp_path)
            await until(lambda: reader.is_whole(2), 60, "its models are with the others")
            killed.kill()
            await until(lambda: reader.is_whole(1), 60, "all models are with one worker")
            await page.until("document.querySelector('#status').innerText.includes('1 worker')")
        assert page.errors == []

    # What they showed together is what one worker shows alone.
    assert timeless(await own_models(get, shown)) == before
    assert timeless((await reader.answer())["models"]) == before

    # The frozen one does not know yet that its partitions have gone.
    os.kill(frozen.pid, signal.SIGCONT)
    back = Reader(get, frozen, LOAD.expected())
    await until(lambda: back.is_whole(2), 60, "the worker is back")
    for worker in (shown, frozen):
        assert await worker.terminate() == 0


async def own_models(get: Get, worker: Worker) -> list[dict[str, Any]]:
    """The models that a worker has itself."""
    _, body = await get(worker, f"/api/worker{PATH.removeprefix('/api')}")
    found: list[dict[str, Any]] = json.loads(body)["body"]["models"]
    return found


async def take_pictures(page: Page, folder: Path) -> None:
    """The page on a large and a small screen, light and dark; nothing of it is cut off."""
    for width in (1280, 390):
        for dark in (False, True):
            await page.look(width, dark=dark)
            assert await page.run("document.documentElement.scrollWidth") <= width
            await page.photo(folder / f"page-{width}-{'dark' if dark else 'light'}.png")
