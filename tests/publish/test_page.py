"""The live page in a real Chromium."""

import re
from dataclasses import replace

import pytest

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts
from processor.publish.interfaces import Gauges, Problem
from processor.setting_values import Secret
from processor.settings import Settings
from processor.telemetry import RecentDeadLetter
from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.demo import Demo
from tests.support.fakes import EXPERIMENT, NOW, FakeCounts, FakeHealth
from tests.support.large_counts import ManyModels, PastCounts, busy_health, many_labels

pytestmark = pytest.mark.integration


async def names_of_controls(page: Page) -> list[tuple[str, str]]:
    """Role and name of the elements that a screen reader can act on."""
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
    site = Site(ManyModels(200), busy_health())
    server = await site.serve()
    await page.look(width)
    await page.open(str(server.make_url("/")))
    # As many as the page beside them is long, and the others on demand: the list scrolls with the page.
    await page.until("document.querySelectorAll('#models a').length === 25")
    assert await text(page, "#more-models") == "Show 175 more"
    await page.run("document.querySelector('#more-models').click()")
    await page.until("document.querySelectorAll('#models svg:not(:empty)').length === 200")
    assert await page.run("document.activeElement.querySelector('b').innerText") == "model-025"
    scrolls = "((e) => e.scrollHeight > e.clientHeight)(document.querySelector('#models'))"
    assert await page.run(scrolls) is False
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
    # The same address shows the same view again.
    await page.open(str(server.make_url("/?order=judged")))
    await page.until("document.querySelectorAll('#models a').length === 25")
    judged = await page.run(
        "[...document.querySelectorAll('#models .share small')]"
        ".map((each) => Number(each.innerText.replace(/\\D/g, '')))"
    )
    assert judged == sorted(judged, reverse=True)


async def test_the_page_shows_the_requests_over_http(page: Page) -> None:
    site = Site(ManyModels(2), FakeHealth(held=Gauges(ingress_in_flight=3)))
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    assert "3" in await text(page, "#requests")
    site.telemetry.ingress_requests.update(
        {("/", "202"): 1200, ("/feedback", "202"): 34, ("/", "401"): 2, ("/feedback", "401"): 4}
    )
    site.telemetry.ingress_refused["token"] = 6
    for seconds in (0.004, 0.004, 0.2, 40.0):
        site.telemetry.ingress.observe(seconds)
    await page.until("document.querySelector('#requests').innerText.includes('token')")
    said = (await text(page, "#requests")).split()
    assert " ".join(said[:19]) == (
        "Requests over HTTP, since its start Answered 1 240 Refused: token 6 In flight 3 "
        "Time to their answers"
    )
    rows = await page.run(
        "[...document.querySelectorAll('#requests .bars tr')].map((row) => row.innerText)"
    )
    plain = [" ".join(row.replace("\u202f", " ").split()) for row in rows]
    assert plain[0] == "up to 5 ms 2"
    assert plain[5] == "up to 250 ms 1"
    assert plain[-1] == "over 30 s 1"
    assert page.errors == []


async def test_the_page_shows_lag_and_dead_letters(page: Page) -> None:
    site = Site(ManyModels(2), busy_health(), settings=replace(Settings(), broker=("kafka:9092",)))
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
    # Its id, once the broker has it; until then where the event was.
    assert "UTC · source/3@1234" in dead_letters
    letter.id = "0/17"
    await page.until(
        "document.querySelector('#letters').innerText.includes('dead-letters show 0/17')"
    )

    site.health.is_ready = False
    await page.until(
        "document.querySelector('#notices').innerText.includes('Not ready: the broker')"
    )
    since = "2026-11-20T09:00:00Z"
    problems = (
        Problem("disk", "the disk of data is full", since, "make room", True),
        Problem("archive", "<b>it</b> is away", since, "start it", False),
    )
    site.health = FakeHealth(is_ready=False, complete=False, open_problems=problems)
    await page.until(
        "document.querySelector('#notices p.bad')?.innerText.startsWith('The disk of data is full, ')"
    )
    lines = (await text(page, "#notices")).split("\n")
    assert lines[0].endswith(": make room.")
    assert next(line for line in lines if "<b>it</b> is away, since" in line).endswith("start it.")
    assert any("What was stored when this worker started" in line for line in lines)
    assert not any("Not ready" in line for line in lines)  # the disk says why
    site.health = FakeHealth()
    await server.close()
    await page.until("document.querySelector('#status').innerText.includes('No news since')")
    page.errors.clear()  # a refused connection logs an error on the console


async def test_follows_what_changes(page: Page) -> None:
    site = Site(FakeCounts({EXPERIMENT: Counts(2, 1, 1, cells={Cell("a", "a"): 1})}))
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until(
        "document.querySelector('#figures')?.innerText.includes('1 right of 1 judged')"
    )
    await page.run("document.querySelector('.chart').focus()")
    await page.key("ArrowRight")
    assert "accuracy 100.0 %" in await text(page, ".tip")
    site.counts_source.models[EXPERIMENT].add(
        Counts(2, 2, 1, cells={Cell("a", "a"): 1, Cell("b", "a"): 1})
    )
    await page.until("document.querySelector('#figures').innerText.includes('2 right of 3 judged')")
    # The reader's place is kept.
    assert await page.run("document.activeElement.className") == "chart"
    assert "accuracy 66.7 %" in await text(page, ".tip")
    # A model that moves to another worker is not shown as if it were still here.
    await page.run("document.querySelector('#models a').click()")
    site.counts_source.models.clear()
    site.counts_source.models[ModelKey("n", "other", "p", "m")] = Counts(1)
    await page.until("document.querySelector('#notices').innerText.includes('does not hold')")


async def test_names_are_text(page: Page) -> None:
    nasty = '<img src=x onerror="document.title=1">'
    cells = {Cell(nasty, nasty): 1, Cell("", "__proto__"): 1}
    counts = Counts(3, 3, 1, 1, cells=cells)
    site = Site(FakeCounts({ModelKey(nasty, nasty, nasty, nasty): counts, EXPERIMENT: counts}))
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


async def test_what_is_surely_low_comes_first(page: Page) -> None:
    """Half of two items may be 9 or 91 %; two of a deployment are told apart, and names order it."""

    def right(judged: int, correct: int) -> Counts:
        return Counts(judged, judged, correct, cells={Cell("a", "a"): correct})

    counts_source = FakeCounts(
        {
            ModelKey("z", "apple", "p", "m"): right(2, 1),
            ModelKey("a", "pear", "p", "m"): right(1000, 600),
            ModelKey("b", "fig", "default", "m"): right(1000, 900),
            ModelKey("b", "fig", "canary", "m"): right(1000, 950),
        }
    )
    server = await Site(counts_source).serve()
    titles = "[...document.querySelectorAll('#models .names b')].map((b) => b.innerText)"
    for order, expected in (
        ("name", ["apple", "fig canary", "fig default", "pear"]),
        ("accuracy", ["pear", "apple", "fig default", "fig canary"]),
    ):
        await page.open(str(server.make_url(f"/?order={order}")))
        await page.until(SHOWN)
        assert await page.run(titles) == expected
        assert await text(page, "#name h2") == expected[0]
    assert "upper end" in await text(page, "#count")


async def test_feedback_time_shows_no_empty_columns(page: Page) -> None:
    server = await Site(ManyModels(2)).serve()
    head = "document.querySelector('#windows-compared thead').innerText"
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    assert "coverage" in await page.run(head)
    await page.open(str(server.make_url("/?by=feedback&order=coverage")))
    await page.until(SHOWN)
    assert not re.search("coverage|predicted", await page.run(head))
    assert await page.run("document.querySelector('#order [value=coverage]').hidden")


async def test_a_running_step_is_hollow(page: Page) -> None:
    minute = int(NOW) // 60
    past = {
        minute - n: Counts(3, 2, 1, cells={Cell("a", "a"): 1, Cell("b", "a"): 1}) for n in range(20)
    }
    server = await Site(PastCounts({EXPERIMENT: past})).serve()
    await page.open(str(server.make_url("/?window=1h")))
    await page.until(SHOWN)
    for shape in ("rect.band", "rect.judged", "rect.predicted", "circle.point"):
        selector = f"#over-time {shape}"
        assert await page.run(f"document.querySelectorAll('{selector}').length") == 20
        assert await page.run(f"document.querySelectorAll('{selector}.running').length") == 1
    assert await page.run("document.querySelectorAll('#over-time .line.running').length") == 1
    assert "not over yet" in await text(page, "#over-time .key")
    assert "times in UTC" in await text(page, "#over-time .key")
    await page.run("document.querySelector('.chart').focus()")
    await page.key("End")
    assert "09:03 to 09:04 UTC" in await text(page, ".tip")


async def test_many_labels(page: Page) -> None:
    counts_source = FakeCounts({EXPERIMENT: many_labels(100)})
    server = await Site(counts_source, settings=replace(Settings(), max_classes=100)).serve()
    await page.look(1280)
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    first = (await text(page, "#confused tbody tr")).split()
    assert first == ["33", "→", "99", "171", "63.6", "%"]
    assert "And 291 other pairs" in await text(page, "#confused")
    cells = "document.querySelectorAll('#matrix rect:is(.right, .wrong)').length"
    assert await page.run(cells) == 100 + 301
    box = await page.run("document.querySelector('#matrix svg').getBoundingClientRect().toJSON()")
    assert box["width"] < 700
    await page.run("document.querySelector('.map-frame').focus()")
    for name in ("ArrowRight", "ArrowRight"):
        await page.key(name)
    assert "actual 0 → predicted 1: 11 items, 11.2 % of actual 0" in await text(page, ".readout")
    # What changes does not take the reader's place.
    counts_source.models[EXPERIMENT].add(Counts(1, 1, 0, cells={Cell("0", "1"): 1}))
    await page.until("document.querySelector('.readout').innerText.includes('12 items')")
    assert await page.run("document.activeElement.className") == "map-frame"


async def test_labels_that_cannot_be_seen_are_shown(page: Page) -> None:
    labels = {" ": "␣", "\t": "⇥", "": "(empty)", "\u200b": "⟨U+200B⟩", " a b ": "␣a b␣"}
    cells = {Cell(label, label): 1 for label in labels}
    server = await Site(FakeCounts({EXPERIMENT: Counts(5, 5, 5, cells=cells)})).serve()
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    shown = await page.run(
        "[...document.querySelectorAll('#classes tbody .label')].map((each) => each.textContent)"
    )
    assert sorted(shown) == sorted(labels.values())


async def test_no_model_yet(page: Page) -> None:
    site = Site(FakeCounts(), settings=Settings(ingress_token=Secret("secret")))
    server = await site.serve()
    await page.open(str(server.make_url("/")))
    await page.until("!document.querySelector('#empty').hidden")
    assert "processor send" not in await text(page, "#empty")
    assert "as soon as the worker takes events in" in await text(page, "#empty")
    site.ingress_url = "https://127.0.0.1:18443/"
    await page.until("document.querySelector('#empty').innerText.includes('processor send')")
    shown = await text(page, "#empty pre")
    assert shown == "processor send events.ndjson --to https://127.0.0.1:18443/"
    assert "needs the service's PROCESSOR_INGRESS_TOKEN" in await text(page, "#empty")


async def test_a_screen_reader_finds_its_way_and_dark_is_dark(page: Page) -> None:
    server = await Site(ManyModels(3)).serve()
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


async def test_a_login_in_the_address(page: Page) -> None:
    """Browsers take ``http://name:token@host/``, but fetch refuses URLs that are relative to it."""
    settings = Settings(metrics_token=Secret("secret"))
    server = await Site(ManyModels(2), busy_health(), settings=settings).serve()
    await page.open(str(server.make_url("/").with_user("me").with_password("secret")))
    await page.until("document.querySelectorAll('#models a').length === 2")
    assert "secret" not in await page.run("document.documentElement.outerHTML")
