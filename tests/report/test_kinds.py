"""Reports of models of each kind: numbers, probabilities, label sets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from examples.kinds_of_models import write
from processor import compare, evaluate
from tests.support.browser import chromium_page
from tests.support.fakes import NOW
from tests.support.reports.command import output_of
from tests.support.reports.csv_form import from_csv, without_tasks

PRICES, TAGS, CHURN, PRODUCTS = range(4)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    """The arguments of a command that reads the four models."""
    path = tmp_path_factory.mktemp("kinds") / "kinds.ndjson"
    return (path, "--models", write(path, 300, NOW))


@pytest.fixture(scope="module")
def models(kinds: tuple[str | Path, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output_of("replay", *kinds))["models"]
    return found


def test_csv_holds_every_number_of_the_json(kinds: tuple[str | Path, ...]) -> None:
    expected = without_tasks(json.loads(output_of("replay", *kinds)))
    assert from_csv(output_of("report", *kinds, "--format", "csv")) == expected


def test_text_shows_what_the_task_has(kinds: tuple[str | Path, ...], models: list[Any]) -> None:
    _, *parts = re.split(r"\n(?=\S+/\S+/\S+/\S+\n)", output_of("report", *kinds))
    assert [model["task"] for model in models] == [
        "regression", "multilabel", "classification", "classification",
    ]  # fmt: skip
    prices, tags, churn, products = parts
    for words in ("MAE", "RMSE", "bias", "R2", "MAPE", "WAPE", "90% ", "tolerance"):
        assert words in prices, words
    assert f"{models[PRICES]['mae']:,.0f}" in prices
    for words in ("accuracy", "kappa", "Brier", "actual \\ predicted", "(macro)"):
        assert words not in prices, words
    for words in ("exact match", "Jaccard index", "Hamming loss", "label ", "beach", "(macro)"):
        assert words in tags, words
    for words in ("accuracy", "kappa", "Brier", "actual \\ predicted", "MAE"):
        assert words not in tags, words
    for words in ("accuracy", "Brier", "log loss", "calibration error", "ROC AUC", "best F1"):
        assert words in churn, words
    assert "top 2" not in churn
    assert "top 10" in products
    assert "best F1" not in products
    for words in ("MAE", "Jaccard"):
        assert words not in churn + products, words


def test_html_shows_what_the_task_has(kinds: tuple[str | Path, ...]) -> None:
    cards = output_of("report", *kinds, "--format", "html").split("<article")[1:]
    titles = [set(re.findall(r"<h3>([^<]+)", card)) for card in cards]
    plots = [set(re.findall(r'aria-label="([^"]+)"', card)) for card in cards]
    assert {"Mean absolute error", "RMSE", "Within the tolerance"} <= titles[PRICES]
    assert {
        "Histogram of absolute errors", "Mean absolute error over time", "Predicted against actual",
        "Mean predicted and mean actual over time",
    } <= plots[PRICES]  # fmt: skip
    assert "best fit: actual = " in cards[PRICES]
    assert not {"Accuracy", "Macro F1", "Brier score"} & titles[PRICES]
    assert {"Exact match", "Jaccard index", "Scores by label, one against the rest"} <= titles[TAGS]
    assert "Exact match over time" in plots[TAGS]
    assert {"Reliability", "ROC curve", "Precision and recall"} <= plots[CHURN]
    assert "If another threshold decided" in titles[CHURN]
    assert "current threshold 0.5" in cards[CHURN]
    assert "Reliability" in plots[PRODUCTS]
    assert "ROC curve" not in plots[PRODUCTS]


@pytest.mark.integration
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_html_is_readable_at_any_width(
    kinds: tuple[str | Path, ...], tmp_path: Path, width: int, dark: bool
) -> None:
    report = tmp_path / "report.html"
    output_of("report", *kinds, "--format", "html", "--output", report)
    async with chromium_page() as page:
        await page.look(width, dark=dark)
        await page.open(report.as_uri())
        assert await page.run("document.documentElement.scrollWidth") <= width
        small = await page.run(
            "Math.min(...[...document.querySelectorAll('svg text')]"
            ".map(e => Math.min(e.getBoundingClientRect().height, e.getBoundingClientRect().width)))"
        )
        assert small >= 4
        clipped = await page.run(
            "[...document.querySelectorAll('svg')].flatMap(svg => [...svg.querySelectorAll('text')]"
            ".filter(e => e.getBoundingClientRect().left < svg.getBoundingClientRect().left - 1"
            " || e.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1)"
            ".map(e => e.textContent))"
        )
        assert clipped == []
        assert page.errors == []


def test_a_comparison_has_the_scores_of_both_sides() -> None:
    truth = [10.5, 20.25, 30.75, 40.5]
    old, new = (
        evaluate([{"prediction": each + off, "actual": each} for each in truth], task="regression")
        for off in (2.25, 1.25)
    )
    found = compare(old, new)
    assert found[0].differences["mae"] == -1
    assert found[0].differences["bias"] == -1
    assert "exact_match" not in found[0].differences
    assert found[0].difference is None
    assert found[0].tests == ()
    text = str(found)
    assert re.search(r"MAE +2\.25 +1\.25 +-1\.00", text)
    assert "accuracy" not in text
    assert "<td>-1.00</td>" in found._repr_html_().replace("&lt;", "<").replace("&gt;", ">")
