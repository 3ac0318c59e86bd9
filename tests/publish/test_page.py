"""The live page in a real Chromium."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestServer

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts
from processor.publish.site import make_site
from processor.settings import Settings
from processor.telemetry import RecentDeadLetter, Telemetry
from tests.support.browser import Page, chromium_page
from tests.support.demo import Demo
from tests.support.fakes import EXPERIMENT, NOW, FakeBoard, FakeHealth
from tests.support.large_board import ManyBoard, busy_health

SHOWN = "Boolean(document.querySelector('#name h2'))"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A tab; what it does wrong, or asks of anybody else, fails the test."""
    async with chromium_page() as page:
        yield page
        assert page.errors == []
        outside = [url for url in page.asked if not re.match(r"http://127\.0\.0\.1:|data:", url)]
        assert outside == []


@dataclass
class Site:
    """A site of plain data, served."""

    board: FakeBoard
    health: FakeHealth = field(default_factory=FakeHealth)
    telemetry: Telemetry = field(default_factory=Telemetry)

    async def serve(self) -> TestServer:
        site = make_site(self.board, self.health, self.telemetry, Settings(), lambda: NOW)
        self.server = TestServer(site)
        await self.server.start_server()
        return self.server


async def text(page: Page, selector: str) -> str:
    found = await page.run(f"document.querySelector({selector!r}).innerText")
    # Narrow spaces stand in numbers.
    return str(found).replace("\u202f", " ")


async def names_of_controls(page: Page) -> list[tuple[str, str]]:
    """Role and name of what a screen reader can act on."""
    tree = await page.call("Accessibility.getFullAXTree")
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree["nodes"]
        if node.get("role", {}).get("value")
        in ("button", "link", "searchbox", "combobox", "navigation", "group", "main")
        and not node.get("ignored")
    ]


async def test_the_demo_is_the_notebooks_experiment(page: Page, demo: Demo) -> None:
    await page.look(1280)
    await page.open(demo.page)
    await page.until(SHOWN)
    figures = await text(page, "#figures")
    for part in ("73.0 %", "61.0 % to 82.4 %", "46 right of 63 judged", "27.0 %", "63.0 %", "37"):
        assert part in figures
    assert "13\n87 %" in await text(page, "#matrix")
    assert "0.839" in await text(page, "#classes")
    assert re.search(r"per \d\d minutes", await text(page, "#over-time"))
    assert await page.run("document.querySelectorAll('#over-time rect.band').length") > 3
    assert "up to 12 h" in await text(page, "#delay")
    assert "every event was understood" in await text(page, "#letters")
    assert await page.run("document.title") == "73.0\u202f% sklearn · Model quality"
    # One model needs no list.
    assert await page.run("document.querySelector('#list').offsetParent === null")

    # Its requests came in the evening before.
    await page.run("document.querySelector('#windows button').click()")
    await page.until("document.querySelector('#matrix').innerText.includes('No feedback counts')")
    assert "window=5m" in await page.run("location.search")
    await page.run("[...document.querySelectorAll('#bases button')][1].click()")
    await page.until("document.querySelector('#over-time').innerText.includes('of the feedback')")
    assert (
        await page.run("document.querySelector('#figures').innerText.includes('without')") is False
    )


@pytest.mark.parametrize("width", [390, 1280])
async def test_two_hundred_models(page: Page, width: int) -> None:
    site = Site(ManyBoard(200), busy_health())
    server = await site.serve()
    await page.look(width)
    await page.open(str(server.make_url("/")))
    await page.until("document.querySelectorAll('#models a').length === 200")
    await page.until("document.querySelectorAll('#models svg').length === 200")
    assert await page.run("document.documentElement.scrollWidth") <= width
    small = width < 800
    assert await page.run("document.querySelector('#detail').offsetParent === null") is small

    await page.run("document.activeElement.blur()")
    await page.key("/")
    await page.run("document.execCommand('insertText', false, 'model-01')")
    await page.until("document.querySelectorAll('#models a').length === 10")
    assert await text(page, "#count") == "10 of 200 models"
    await page.key("ArrowDown")
    await page.key("ArrowDown")
    focused = await page.run("document.activeElement.querySelector('b').innerText")
    await page.key("Enter")
    await page.until(f"document.querySelector('#name h2')?.innerText === {focused!r}")
    assert focused in (await page.run("location.search"))
    assert await page.run("document.querySelector('#detail').offsetParent !== null")
    if small:
        assert await page.run("document.querySelector('#list').offsetParent === null")
        await page.run("document.querySelector('#back').click()")
        await page.until("document.querySelector('#list').offsetParent !== null")
    assert await page.run("document.documentElement.scrollWidth") <= width
    # Who comes back by the same address sees the same.
    await page.open(str(server.make_url("/?order=accuracy")))
    await page.until("document.querySelectorAll('#models a').length === 200")
    shares = await page.run(
        "[...document.querySelectorAll('#models .share > b')].map((b) => parseFloat(b.innerText))"
    )
    assert shares == sorted(shares)
    await server.close()


async def test_tells_how_far_it_is(page: Page) -> None:
    site = Site(ManyBoard(2), busy_health())
    site.telemetry.dead_letters["bad_json"] = 7
    letter = RecentDeadLetter(int(NOW * 1e9), "bad_json", "Expecting value", "source", 3, 1234)
    site.telemetry.recent_dead_letters.append(letter)
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    notices = await text(page, "#notices")
    assert "Reading the archive: 1 200 documents so far" in notices
    assert "95 s ago" in notices
    assert "12 345 records behind" in await text(page, "#status")
    dead_letters = await text(page, "#letters")
    assert "7 since its start" in dead_letters
    assert "bad_json Expecting value" in dead_letters
    assert "source/3@1234" in dead_letters

    site.health.is_ready = False
    await page.until(
        "document.querySelector('#notices').innerText.includes('Not ready: the broker')"
    )
    site.health = FakeHealth()
    await server.close()
    await page.until("document.querySelector('#status').innerText.includes('No news since')")
    page.errors.clear()  # what a refused connection says on the console


async def test_follows_what_changes(page: Page) -> None:
    site = Site(FakeBoard({EXPERIMENT: Counts(2, 1, 1, cells={Cell("a", "a"): 1})}))
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until(
        "document.querySelector('#figures')?.innerText.includes('1 right of 1 judged')"
    )
    await page.run("document.querySelector('.chart').focus()")
    await page.key("ArrowRight")
    assert "accuracy 100.0 %" in await text(page, ".tip")
    site.board.models[EXPERIMENT].add(Counts(2, 2, 1, cells={Cell("a", "a"): 1, Cell("b", "a"): 1}))
    await page.until("document.querySelector('#figures').innerText.includes('2 right of 3 judged')")
    # The reader's place is kept.
    assert await page.run("document.activeElement.className") == "chart"
    assert "accuracy 66.7 %" in await text(page, ".tip")
    # A model that moves to another worker is not shown as if it were still here.
    await page.run("document.querySelector('#models a').click()")
    site.board.models.clear()
    site.board.models[ModelKey("n", "other", "p", "m")] = Counts(1)
    await page.until("document.querySelector('#notices').innerText.includes('does not hold')")
    await server.close()


async def test_names_are_text(page: Page) -> None:
    nasty = '<img src=x onerror="document.title=1">'
    cells = {Cell(nasty, nasty): 1, Cell("", "__proto__"): 1}
    counts = Counts(3, 3, 1, 1, cells=cells)
    site = Site(FakeBoard({ModelKey(nasty, nasty, nasty, nasty): counts, EXPERIMENT: counts}))
    site.telemetry.dead_letters["bad_shape"] = 1
    site.telemetry.recent_dead_letters.append(RecentDeadLetter(0, "bad_shape", nasty, nasty, 0, 0))
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    await page.until("document.querySelectorAll('#models a').length === 2")
    assert await page.run("document.querySelectorAll('img').length") == 0
    assert nasty in await text(page, "#name h2")
    assert "(empty)" in await text(page, "#matrix")
    assert nasty in await text(page, "#letters")
    await server.close()


async def test_no_model_yet(page: Page) -> None:
    server = await Site(FakeBoard()).serve()
    await page.open(str(server.make_url("/")))
    await page.until("!document.querySelector('#empty').hidden")
    assert "processor send events.ndjson --to http://127.0.0.1:8080/" in await text(page, "#empty")
    await server.close()


async def test_a_screen_reader_finds_its_way_and_dark_is_dark(page: Page) -> None:
    server = await Site(ManyBoard(3)).serve()
    await page.look(1280)
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    controls = await names_of_controls(page)
    assert [each for each in controls if each[0] != "main" and not each[1]] == []
    assert {("navigation", "Models"), ("group", "Window"), ("button", "all")} <= set(controls)
    headings = await page.run("[...document.querySelectorAll('h1,h2')].map((h) => h.innerText)")
    assert headings[0] == "Model quality"
    unscoped = "[...document.querySelectorAll('th')].filter((h) => h.innerText && !h.scope)"
    assert await page.run(f"{unscoped}.map((h) => h.innerText)") in ([], ["actual ↓", "items"])
    back = "getComputedStyle(document.body).backgroundColor"
    light = await page.run(back)
    await page.look(1280, dark=True)
    assert await page.run(back) != light
    await server.close()
