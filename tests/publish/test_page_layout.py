"""The layout of the page: nothing overflows or overlaps, at any width."""

import json
from typing import Any

import pytest

from processor.telemetry import RecentDeadLetter
from tests.publish.served import SHOWN, Site
from tests.support.browser import Page
from tests.support.fakes import EXPERIMENT, NOW, FakeCounts, experiment_counts
from tests.support.large_counts import ExtremeModels, ManyModels

pytestmark = pytest.mark.integration

WIDTHS = range(320, 1921, 16)

#: Finds a page that is too wide, an element or text that reaches beyond its card or row, and a text
#: that reaches beyond its element. Content that is scrolled or cut on purpose counts as its box.
_OVERFLOWS = """
(() => {
  const found = [];
  const name = (e) => `${e.tagName}.${e.className.baseVal ?? e.className}`;
  const note = (what, e, by) =>
    found.push(`${what} ${name(e)} "${e.textContent.slice(0, 30)}" by ${by.toFixed(1)}`);
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`the page by ${wide}`);
  const known = new Map();
  const overflow = (e) => {
    if (!known.has(e)) known.set(e, getComputedStyle(e).overflowX);
    return known.get(e);
  };
  const contained = (e, top) => {
    for (let at = e; at !== top; at = at.parentElement) {
      if (at !== e && overflow(at) !== "visible") return true;
    }
    return false;
  };
  for (const box of document.querySelectorAll(".card, .row, .tools, .top, footer")) {
    if (box.offsetParent === null && getComputedStyle(box).position !== "sticky") continue;
    const style = getComputedStyle(box);
    const outer = box.getBoundingClientRect();
    const right = outer.right - parseFloat(style.paddingRight) + 1;
    const left = outer.left + parseFloat(style.paddingLeft) - 1;
    for (const e of box.querySelectorAll("*")) {
      const place = e.getBoundingClientRect();
      if (!place.width || e.closest(".hidden, .tip") || contained(e, box)) continue;
      if (place.right > right) note("right of its card:", e, place.right - right);
      if (place.left < left) note("left of its card:", e, left - place.left);
      if (e.closest("svg") || overflow(e) !== "visible") continue;
      for (const child of e.childNodes) {
        if (child.nodeType !== Node.TEXT_NODE) continue;
        const range = document.createRange();
        range.selectNodeContents(child);
        const by = range.getBoundingClientRect().right - place.right;
        if (by > 1) note("text beyond", e, by);
      }
    }
  }
  return found;
})()
"""

#: Texts on the time axis that touch each other or are cut off at an end of the chart.
_AXIS = """
(() => {
  const svg = document.querySelector("#over-time svg").getBoundingClientRect();
  const texts = [...document.querySelectorAll("#over-time text.time")];
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const found = boxes.flatMap((box, i) => (i && box.left < boxes[i - 1].right + 4) || box.left < svg.left
    || box.right > svg.right ? [texts[i].textContent] : []);
  return { found, count: texts.length };
})()
"""


async def at_width(page: Page, width: int, script: str) -> Any:
    """The script's value once the page is as wide and has been drawn."""
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    # Charts follow in the frame after the one that has the new size.
    frames = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    await page.until(f"innerWidth === {width}")
    return await page.run(f"{frames}.then(() => {script})")


def long_work(site: Site) -> None:
    """Add dead letters whose texts have no place for a line break, and as long a card of requests."""
    site.telemetry.ingress_requests["/", "202"] = 1_234_567_890
    site.telemetry.ingress_refused["not_cloudevent"] = 1_234_567_890
    for bound in site.telemetry.ingress.bounds:
        site.telemetry.ingress.observe(bound)
    site.telemetry.dead_letters["bad_header"] = 1_234_567
    letter = RecentDeadLetter(int(NOW * 1e9), "bad_header", "x" * 200, "t" * 200, 31, 1_234_567)
    site.telemetry.recent_dead_letters.append(letter)


@pytest.mark.parametrize(("number", "by"), [(1, "request"), (1, "feedback"), (200, "request")])
async def test_nothing_overflows_at_any_width(page: Page, number: int, by: str) -> None:
    site = Site(ExtremeModels(number))
    long_work(site)
    server = await site.serve()
    await page.look(1280)
    await page.open(str(server.make_url(f"/?by={by}")))
    await page.until(SHOWN)
    await page.until("document.querySelectorAll('#models svg:not(:empty)').length > 0")
    if number > 1:
        await page.run("document.querySelector('#more-models').click()")
        # On a small screen the list and the model take turns: see both.
        address = await page.run("document.querySelector('#models a').search")
    found = {width: await at_width(page, width, _OVERFLOWS) for width in WIDTHS}
    if number > 1:
        await page.open(str(server.make_url("/")) + address.lstrip("/"))
        await page.until(SHOWN)
        found |= {
            -width: await at_width(page, width, _OVERFLOWS) for width in WIDTHS if width < 900
        }
    assert {width: each for width, each in found.items() if each} == {}


async def test_small_numbers_do_not_overflow_either(page: Page) -> None:
    """The page of the demo, which most users see first, was 5 px too wide at 1280."""
    server = await Site(FakeCounts({EXPERIMENT: experiment_counts()})).serve()
    await page.look(1280)
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    found = {width: await at_width(page, width, _OVERFLOWS) for width in WIDTHS}
    assert {width: each for width, each in found.items() if each} == {}


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu"])
async def test_times_on_the_axis_do_not_touch(page: Page, zone: str) -> None:
    server = await Site(ManyModels(1)).serve()
    await page.call("Emulation.setTimezoneOverride", timezoneId=zone)
    for window in ("5m", "1h", "24h", "7d", "all"):
        await page.look(1280)
        await page.open(str(server.make_url(f"/?window={window}")))
        await page.until(SHOWN)
        for width in range(320, 1921, 160):
            axis = await at_width(page, width, _AXIS)
            assert axis["found"] == [], (window, width)
            assert axis["count"] >= 2, (window, width)


async def test_what_has_no_room_on_a_phone_stands_below(page: Page) -> None:
    server = await Site(ExtremeModels(1)).serve()
    await page.look(390)
    await page.open(str(server.make_url("/")))
    await page.until(SHOWN)
    for selector, words in (
        ("#windows-compared", ["95 % interval", "of predicted", "of 4 400 000", "93.8 % to"]),
        ("#classes", ["support", "440 000"]),
    ):
        shown = await page.run(f"document.querySelector({json.dumps(selector)}).innerText")
        shown = shown.replace("\u202f", " ")
        assert [word for word in words if word not in shown] == []
    # What is still wider is scrolled, and fades out at the edge where there is more.
    edge = "document.querySelector('#matrix .scroll').className"
    assert "more-right" in await page.run(edge)
    await page.run("document.querySelector('#matrix .scroll').scrollBy(1000, 0)")
    await page.until("!document.querySelector('#matrix .more-right')")
    assert "more-left" in await page.run(edge)
