"""The live page of a model whose labels come late, in a real Chromium."""

from urllib.parse import urlencode

import pytest

from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.domain.late_cohorts import END, late_hours, tallied
from tests.support.fakes import EXPERIMENT, FakeCounts, experiment_counts

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
    assert await page.run("document.documentElement.scrollWidth") <= width
    await page.open(f"{server.make_url('/')}?{urlencode({**query, 'window': '5m'})}")
    await page.until(f"{SHOWN} && document.getElementById('late').innerText.includes('withheld')")
    await server.close()


async def test_a_model_without_estimates_has_no_such_card(page: Page) -> None:
    server = await Site(FakeCounts({EXPERIMENT: experiment_counts()})).serve()
    await page.open(f"{server.make_url('/')}?{urlencode(EXPERIMENT._asdict())}")
    await page.until(SHOWN)
    assert await page.run("document.getElementById('late').hidden")
    await server.close()
