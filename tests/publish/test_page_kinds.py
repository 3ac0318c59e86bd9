"""The live page of models of each kind, in a real Chromium."""

import re
from random import Random
from urllib.parse import urlencode

import pytest

from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.results import model_result
from processor.domain.statistics.counts import Counts
from processor.report.formats.curves import agreement_plot
from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.fakes import NOW
from tests.support.kinds import CHURN, PRICES, PRODUCTS, TAGS, KindsOfModels
from tests.support.large_counts import PastCounts
from tests.support.valued_counts import number_counts

pytestmark = pytest.mark.integration

#: The cards of the page that only some tasks have.
CARDS = ("numbers", "probabilities", "matrix", "classes")


@pytest.fixture(scope="module")
def counts() -> KindsOfModels:
    return KindsOfModels()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    ("key", "cards", "words"),
    [
        (PRICES, {"numbers"}, ("Mean absolute error", "RMSE", "Bias", "R²")),
        (CHURN, {"probabilities", "matrix", "classes"}, ("Accuracy", "ROC AUC", "kappa")),
        (PRODUCTS, {"probabilities", "matrix", "classes"}, ("Accuracy", "Macro F1")),
        (TAGS, {"classes"}, ("Exact match", "Jaccard index", "Hamming loss")),
    ],
)
async def test_a_model_has_the_panels_of_its_task(
    page: Page,
    counts: KindsOfModels,
    key: ModelKey,
    cards: set[str],
    words: tuple[str, ...],
    width: int,
) -> None:
    server = await Site(counts).serve()
    await page.look(width, dark=width < 800)
    query = urlencode({"window": "all", **key._asdict()})
    await page.open(f"{server.make_url('/')}?{query}")
    await page.until(SHOWN)
    shown = await page.run(
        f"{list(CARDS)}.filter(id => document.getElementById(id).offsetParent !== null)"
    )
    assert set(shown) == cards
    figures = await text(page, "#figures")
    assert [word for word in words if word not in figures] == []
    assert await page.run("document.documentElement.scrollWidth") <= width
    over_time = await text(page, "#over-time h3")
    assert over_time.startswith(words[0])
    assert await page.run("document.querySelectorAll('#over-time circle.point').length") > 3


async def test_the_panels_show_the_numbers_of_the_result(page: Page, counts: KindsOfModels) -> None:
    rules = ModelRules([Rule("shop/churn", threshold=0.4)])
    server = await Site(counts, rules=rules).serve()
    results = {each.deployment: each for each in counts.fold.result().models}
    await page.look(1280)

    async def show(key: ModelKey) -> None:
        query = urlencode({"window": "all", **key._asdict()})
        await page.open(f"{server.make_url('/')}?{query}")
        await page.until(SHOWN)

    await show(CHURN)
    churn = results["churn"]
    panel = await text(page, "#probabilities")
    for value in (churn.brier_score, churn.log_loss, churn.calibration_error, churn.roc_auc):
        assert f"{value:.3f}" in panel
    assert "current threshold 0.4" in await text(page, "#probabilities")
    marked = await page.run(
        "[...document.querySelectorAll('.thresholds .marked')].map(e => e.innerText.split('\\t'))"
    )
    by_remark = {row[-1]: row[0] for row in marked}
    assert by_remark["best F1"] == f"{churn.best_threshold:.3f}"
    assert 0.4 <= float(by_remark["current"]) < 0.5
    bubbles = "document.querySelectorAll('#probabilities circle.bubble').length"
    assert await page.run(bubbles) == len(churn.calibration)
    for name in ("Reliability", "ROC curve", "Precision and recall"):
        assert (
            await page.run(f"document.querySelectorAll('svg[aria-label=\"{name}\"]').length") == 1
        )

    await show(PRICES)
    prices = results["prices"]
    assert f"{prices.mae:,.0f}".replace(",", " ") in await text(page, "#figures")
    numbers = await text(page, "#numbers")
    assert f"{prices.absolute_error_quantiles['0.9']:,.0f}".replace(",", " ") in numbers
    fit = f"actual = {prices.slope:.3f} · predicted"
    assert fit in numbers
    assert "1 and 2 standard deviations" in numbers
    assert await page.run("document.querySelectorAll('#numbers polygon.ellipse').length") == 2
    means = "document.querySelectorAll('#numbers circle.point.actual').length"
    assert await page.run(means) == await page.run(means.replace("actual", "predicted"))
    assert await page.run(means) > 3
    # The list has the main score of each task.
    rows = await page.run("[...document.querySelectorAll('#models a')].map(e => e.innerText)")
    by_name = {row.split("\n")[0]: row for row in rows}
    assert "MAE of" in by_name["prices"].replace("\u202f", " ")
    assert "exact of" in by_name["tags"]
    assert "%" in by_name["churn"]


async def test_each_score_has_its_meaning(page: Page, counts: KindsOfModels) -> None:
    server = await Site(counts).serve()
    await page.look(1280)
    await page.open(f"{server.make_url('/')}?{urlencode({'window': '7d', **CHURN._asdict()})}")
    await page.until(SHOWN)
    assert "Shown: the last 7d, by time of the request" in await text(page, "#name")
    tip = "[...document.querySelectorAll('#figures dt')].find(e => e.innerText === 'ROC AUC').title"
    assert "0.5 is chance" in await page.run(tip)
    # The list is for those who have no pointer: the keyboard opens it.
    await page.run("document.querySelector('#meanings summary').focus()")
    await page.key("Enter")
    await page.until("document.querySelector('#meanings').open")
    listed = await page.run("[...document.querySelectorAll('#meanings dt')].map(e => e.innerText)")
    assert {"Accuracy", "ROC AUC", "recall", "Brier score"} <= set(listed)
    assert not {"RMSE", "Hamming loss"} & set(listed)


def _spread(mean: float, deviation: float) -> Counts:
    """Numbers around a mean, with errors of a third of their deviation."""
    random = Random(1)
    pairs = []
    for _ in range(40):
        actual = random.gauss(mean, deviation)
        pairs.append((random.gauss(actual, deviation / 3), actual))
    return number_counts([(round(p, 6), round(y, 6)) for p, y in pairs])


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "counts",
    [
        pytest.param(_spread(2e11, 3e10), id="huge"),
        pytest.param(_spread(1e-4, 4e-5), id="tiny"),
        pytest.param(_spread(1e9, 1), id="large beside their differences"),
        pytest.param(number_counts([(3.0, 2.0)]), id="one"),
        pytest.param(number_counts([(3e6, 2e6), (3e6, 5e6)]), id="one prediction"),
    ],
)
async def test_numbers_of_any_size_fit_as_in_the_report(
    page: Page, counts: Counts, width: int
) -> None:
    minute = int(NOW) // 60
    past = {minute - 1440 * day: counts for day in range(5)}
    server = await Site(PastCounts({PRICES: past})).serve()
    await page.look(width)
    await page.open(f"{server.make_url('/')}?{urlencode({'window': 'all', **PRICES._asdict()})}")
    await page.until(SHOWN)
    assert await page.run("document.documentElement.scrollWidth") <= width
    cut = await page.run(
        "[...document.querySelectorAll('svg')].flatMap(svg => [...svg.querySelectorAll('text')]"
        ".filter(e => e.getBoundingClientRect().left < svg.getBoundingClientRect().left - 1"
        " || e.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1)"
        ".map(e => e.textContent))"
    )
    assert cut == []
    assert await page.run("document.body.innerText.includes('NaN')") is False
    # The report has the same axes.
    plot = "svg[aria-label='Predicted against actual']"
    shown = await page.run(f'[...document.querySelectorAll("{plot} text")].map(e => e.textContent)')
    whole = Counts()
    for each in past.values():
        whole.add(each)
    texts = re.findall("<text[^>]*>([^<]+)", agreement_plot(model_result(PRICES, whole, "request")))
    assert sorted(text.replace("\u202f", ",") for text in shown) == sorted(texts)
