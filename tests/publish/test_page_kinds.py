"""The live page of models of each kind, in a real Chromium."""

from urllib.parse import urlencode

import pytest

from processor.domain.model_key import ModelKey
from tests.publish.served import SHOWN, Site, text
from tests.support.browser import Page
from tests.support.kinds import CHURN, PRICES, PRODUCTS, TAGS, KindsOfModels

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
    await server.close()


async def test_the_panels_show_the_numbers_of_the_result(page: Page, counts: KindsOfModels) -> None:
    server = await Site(counts).serve()
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
    assert f"{churn.best_threshold:.3f}" in await text(page, ".thresholds .marked")
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
    # The list has the main score of each task.
    rows = await page.run("[...document.querySelectorAll('#models a')].map(e => e.innerText)")
    by_name = {row.split("\n")[0]: row for row in rows}
    assert "MAE of" in by_name["prices"].replace("\u202f", " ")
    assert "exact of" in by_name["tags"]
    assert "%" in by_name["churn"]
    await server.close()
