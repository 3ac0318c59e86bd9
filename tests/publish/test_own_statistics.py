"""Scores of custom statistics on the metrics port: /metrics, the JSON and the page."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.sums import Sum, Sums
from processor.models_file import read_models
from processor.publish.collector import OwnCollector
from processor.publish.exposition import Exposition
from processor.publish.families import Row, all_families
from processor.settings import Settings
from processor.telemetry import Telemetry
from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.fakes import FakeCounts, FakeHealth
from tests.support.own_statistics import running

KEY = ModelKey("mail", "filter", "default", "bayes")
SUMS: Sums = {
    (Sum.CUSTOM_ITEMS, "picky", 0): 3,
    (Sum.CUSTOM, "picky\0cost", 0): 6,
    (Sum.CUSTOM_FAILED, "picky", 0): 2,
    (Sum.CUSTOM_ITEMS, "broken_one", 0): 3,
    (Sum.CUSTOM_ITEMS, "gone", 0): 3,
    (Sum.CUSTOM, "gone\0x", 0): 5,
}


def judged() -> Counts:
    return Counts(5, 5, 5, cells={Cell("x", "x"): 5}, sums=dict(SUMS))


@pytest.fixture
def _running() -> Iterator[None]:
    with running("Picky", "Broken"):
        yield


def exposed(groups: tuple[str, ...] = Settings().metrics) -> str:
    exposition = Exposition(64, groups)
    exposition.add(Row(KEY, "all", "request", judged(), True))
    return exposition.text()


@pytest.mark.usefixtures("_running")
def test_each_statistic_is_a_family_with_its_scores() -> None:
    """Those that the models file names no more, or whose scores fail, have none."""
    families = {each.name: each for each in parse_text(exposed())}
    custom = {name for name in families if "custom" in name}
    assert custom == {"model_custom_picky"}
    family = families["model_custom_picky"]
    assert family.documentation == "A statistic that fails on some items, in each way that one can."
    (sample,) = family.samples
    assert (sample.labels["score"], sample.value) == ("cost", 6)
    assert sample.labels["deployment"] == "filter"
    assert "model_custom" not in exposed(("labels",))


@pytest.mark.usefixtures("_running")
def test_a_help_text_is_escaped() -> None:
    (broken, _) = [each for each in all_families() if each.name.startswith("model_custom_")]
    assert broken == (
        "model_custom_broken_one",
        r"A statistic whose scores \\can't be read.",
        ("score",),
    )


def test_nothing_is_published_that_the_models_file_does_not_name() -> None:
    read_models({})
    assert "model_custom" not in exposed()


def test_failed_items_are_a_counter() -> None:
    telemetry = Telemetry()
    telemetry.custom_statistic_errors["picky"] += 2
    found = {each.name: each for each in OwnCollector(telemetry, FakeHealth()).collect()}
    (sample,) = [
        each
        for each in found["processor_custom_statistic_errors"].samples
        if each.name.endswith("_total")
    ]
    assert (sample.labels, sample.value) == ({"statistic": "picky"}, 2)


@pytest.mark.integration
@pytest.mark.usefixtures("_running")
@pytest.mark.parametrize("width", [390, 1280])
async def test_the_page_has_a_card_of_them(page: Page, width: int) -> None:
    server = await Site(FakeCounts({KEY: judged()})).serve()
    await page.look(width, dark=width < 800)
    await page.open(f"{server.make_url('/')}?{urlencode({'window': 'all', **KEY._asdict()})}")
    await page.until(SHOWN)
    shown = await text(page, "#custom")
    for word in ("picky", "cost", "6.00", "Failed on items", "2", "broken_one", "No scores"):
        assert word in shown
    tops = "[...document.querySelectorAll('#custom h3')].map(e => e.getBoundingClientRect().top)"
    assert width < 800 or len(set(await page.run(tops))) == 1
    assert await page.run("document.documentElement.scrollWidth") <= width


@pytest.mark.integration
async def test_the_page_has_no_card_without_them(page: Page) -> None:
    server = await Site(FakeCounts({KEY: Counts(1, 1, 1, cells={Cell("x", "x"): 1})})).serve()
    await page.open(f"{server.make_url('/')}?{urlencode({'window': 'all', **KEY._asdict()})}")
    await page.until(SHOWN)
    assert await page.run("document.getElementById('custom').hidden")
