"""The live page of a model whose labels come late, in a real Chromium."""

from urllib.parse import urlencode

import pytest

from processor.domain.model_rules import parse_rules
from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.domain.late_cohorts import END, late_hours, tallied
from tests.support.domain.late_numbers import NumberEvents
from tests.support.fakes import EXPERIMENT, FakeCounts, experiment_counts
from tests.support.valued_counts import number_counts

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("width", [390, 1280])
async def test_it_shows_what_the_labels_will_say(page: Page, width: int) -> None:
    source = FakeCounts({EXPERIMENT: experiment_counts()}, late={EXPERIMENT: tallied(late_hours())})
    server = await Site(source, clock=lambda: END).serve()
    await page.look(width, dark=width < 800)
    query = {"window": "24h", **EXPERIMENT._asdict()}
    await page.open(f"{server.make_url('/')}?{urlencode(query)}")
    await page.until(SHOWN)
    shown = await text(page, "#late")
    assert "While labels are late" in shown
    assert "From the delays seen so far, accuracy will be" in shown
    assert "at the usual pace" in shown
    assert "Jensen-Shannon distance" in shown
    assert "Accuracy by day in three ways" in shown
    # One dot a day with a nowcast; days whose labels are missing are shaded.
    assert await page.run("document.querySelectorAll('#late svg .point').length") >= 10
    assert 1 <= await page.run("document.querySelectorAll('#late rect.missing').length") < 12
    assert await page.run("document.querySelectorAll('#late polyline').length") == 3 + 4
    rows = await page.run("document.querySelectorAll('#late .shares tbody tr').length")
    assert rows == 11
    # The oldest day is 11 days old, so nothing is known of 14.
    assert (await text(page, "#late .shares thead")).split()[-2:] == ["7", "d"]
    assert await page.run("document.documentElement.scrollWidth") <= width
    await page.open(f"{server.make_url('/')}?{urlencode({**query, 'window': '5m'})}")
    await page.until(f"{SHOWN} && document.getElementById('late').innerText.includes('withheld')")


async def test_it_shows_what_the_errors_of_numbers_will_be(page: Page) -> None:
    numbers = NumberEvents(seed=9, days=12, per_day=1200).cohorts(END)
    counts = number_counts([(1, 2), (2, 2.5)] * 40)
    source = FakeCounts({EXPERIMENT: counts}, late={EXPERIMENT: tallied({}, numbers)})
    server = await Site(source, clock=lambda: END).serve()
    await page.open(
        f"{server.make_url('/')}?{urlencode({'window': '24h', **EXPERIMENT._asdict()})}"
    )
    await page.until(SHOWN)
    shown = await text(page, "#late")
    assert "the mean absolute error will be" in shown
    assert "Mean absolute error by day in three ways" in shown
    assert "larger errors" in shown
    assert await page.run("document.querySelectorAll('#late svg .point').length") >= 10


async def test_a_model_without_estimates_has_no_such_card(page: Page) -> None:
    site = Site(FakeCounts({EXPERIMENT: experiment_counts()}))
    entry = {"match": "seldon/*", "floor": 0.7, "feedback_every": "7d", "retired": True}
    site.rules = parse_rules({"models": [entry]}, "file")
    server = await site.serve()
    await page.open(f"{server.make_url('/')}?{urlencode(EXPERIMENT._asdict())}")
    await page.until(SHOWN)
    assert await page.run("document.getElementById('late').hidden")
    for limit in ("Limits: accuracy from 70", "feedback every 7", "retired"):
        assert limit in await text(page, "#name")
