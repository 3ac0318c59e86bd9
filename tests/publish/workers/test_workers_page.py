"""The page of an app with several workers, one of which does not answer, in a real Chromium."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from processor.publish.workers import other_workers
from tests.publish.served import SHOWN, text
from tests.publish.workers.fakes import App, FakeGroup, partition, serve_app
from tests.support.browser import Page
from tests.support.demo import Demo
from tests.support.large_counts import ManyModels, PastCounts

pytestmark = pytest.mark.integration

SHARES = ((0, 3, 5), (1, 4), (2, 6, 7))
PAST = ManyModels(12)._past


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = await serve_app(PAST, SHARES, PastCounts)
    yield app
    await app.close()


async def test_the_page_of_any_worker(
    page: Page, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_workers, "_FRESH", 0.1)
    await page.look(1280)
    (key, *_) = [key for key in sorted(PAST) if partition(key) in SHARES[1]]
    names = "&".join(f"{name}={value}" for name, value in key._asdict().items())
    await page.open(str(app.servers[0].make_url(f"/?window=all&{names}")))
    await page.until(SHOWN)
    # The details are of a model of another worker.
    assert await text(page, "#name h2") == key.deployment
    await page.until("document.querySelectorAll('#models svg:not(:empty)').length === 12")
    assert "3 workers" in await text(page, "#status")
    assert "Shown: the models of all 3 workers." in await text(page, "footer")
    workers = await text(page, "#workers")
    assert "worker-a" in workers
    assert workers.count("answers") == 2
    assert "shows this page" in workers
    assert await text(page, "#notices") == ""
    figures = await text(page, "#figures")

    await app.stop(1)
    await page.until("document.querySelector('#notices').innerText.includes('2 of 3 workers')")
    held = sum(partition(key) in SHARES[1] for key in PAST)
    notice = await text(page, "#notices")
    assert "worker-b: no connection: Connection refused" in notice
    assert f"its {held} models are as of " in notice
    # Its models stay, with their age and their numbers.
    assert await page.run("document.querySelectorAll('#models a').length") == 12
    assert await page.run("document.querySelectorAll('#models .aged').length") == held
    assert "As of" in await text(page, "#name")
    assert await text(page, "#figures") == figures
    assert "silent" in await text(page, "#workers")
    for width in (1280, 390):
        await page.look(width)
        assert await page.run("document.documentElement.scrollWidth") <= width


async def test_the_embedded_mode_is_one_worker(demo: Demo) -> None:
    async with ClientSession() as session:
        async with session.get(f"{demo.page}api/workers") as answer:
            found = await answer.json()
        async with session.get(f"{demo.page}api/models") as answer:
            assert set(await answer.json()) == {"at", "windows"}
    (only,) = found["workers"]
    assert (only["ok"], only["answering"], only["models"]) == (True, True, 1)
    assert only["partitions"] == [0]
    assert only["address"] == urlsplit(demo.page).netloc
    assert found["missing_partitions"] == []


async def test_names_of_workers_are_text(page: Page, app: App) -> None:
    group = app.sites[0].group
    assert isinstance(group, FakeGroup)
    group.urls = {**group.urls, "http://<img src=x onerror='document.title=1'>:1": [1]}
    await page.look(390)
    await page.open(str(app.servers[0].make_url("/?window=all")))
    await page.until("document.querySelector('#workers').innerText.includes('<img src=x')")
    assert await page.run("document.querySelectorAll('#workers img').length") == 0
    assert await page.run("document.documentElement.scrollWidth") <= 390
