"""The HTML report in a browser: readable at any width, without errors, and labels never run as code."""

import re
from pathlib import Path

import pytest

from processor.report.formats.text import printable
from tests.support.browser import chromium_page
from tests.support.reports.command import output_of
from tests.support.reports.traffic import HOSTILE, traffic, write

DATA = Path(__file__).resolve().parents[1] / "data" / "seed-experiment"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    names = {"deployment": "<b>pets</b>", "predictor": '"><script>console.error(1)</script>'}
    events = list(traffic(150, 30, HOSTILE, shadow=0.3))
    for each in events[::7]:
        each["headers"]["ce-inferenceservicename"] = names["deployment"]
        each["headers"]["ce-endpoint"] = names["predictor"]
    page = folder / "report.html"
    output_of(
        "report", write(folder / "events.ndjson", events), "--format", "html",
        "--compare", "predictor", "--output", page,
    )  # fmt: skip
    return page


@pytest.mark.integration
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_hostile_labels_are_text(
    hostile: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    async with chromium_page() as page:
        await page.look(width, dark=dark)
        await page.open(hostile.as_uri())
        shown = set(
            await page.run("[...document.querySelectorAll('.label')].map(e => e.textContent)")
        )
        assert {printable(label, 40) for label in HOSTILE} <= shown
        assert await page.run("document.querySelectorAll('script, img, iframe').length") == 0
        titles = await page.run("[...document.querySelectorAll('h2')].map(e => e.textContent)")
        assert "<b>pets</b>" in titles
        # The page does not scroll sideways: wide tables have scroll bars of their own.
        assert await page.run("document.documentElement.scrollWidth") <= width
        small = await page.run(
            "Math.min(...[...document.querySelectorAll('svg text')]"
            ".map(e => e.getBoundingClientRect().height))"
        )
        assert small >= 9, "text of the plots is too small to read"
        await page.photo(tmp_path / "page.png")
        assert page.errors == []
        assert [each for each in page.asked if not each.startswith("data:")] == [hostile.as_uri()]


@pytest.mark.integration
@pytest.mark.parametrize("width", [1280, 390])
async def test_plots_of_the_experiment(tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    output_of("report", DATA / "events.ndjson", "--format", "html", "--output", path)
    async with chromium_page() as page:
        await page.look(width)
        await page.open(path.as_uri())
        plots = "[...document.querySelectorAll('svg')].map(e => e.getAttribute('aria-label'))"
        assert await page.run(plots) == [
            "Judged items", "Predicted items", "Feedback delay", "Accuracy over time",
            "Items over time", "Reliability",
        ]  # fmt: skip
        pies = await page.run("[...document.querySelectorAll('.pie li')].map(e => e.textContent)")
        assert [re.sub(r"\s+", " ", each) for each in pies] == [
            "correct 73.0 % 46", "incorrect 27.0 % 17", "feedback 63.0 % 63", "no feedback 37.0 % 37",
        ]  # fmt: skip
        assert await page.run("document.querySelectorAll('.matrix td').length") == 9
        # The labels of an axis do not overlap.
        overlapping = await page.run("""
            [...document.querySelectorAll('.plot')].flatMap(plot => {
              const boxes = [...plot.querySelectorAll('.tick[text-anchor=middle]')]
                .map(e => e.getBoundingClientRect());
              return boxes.slice(1).filter((box, i) => box.left < boxes[i].right);
            }).length
        """)
        assert overlapping == 0
        assert page.errors == []


def test_the_file_stands_alone(hostile: Path) -> None:
    text = hostile.read_text()
    assert "default-src 'none'" in text
    for outside in ("<script", '<link rel="stylesheet', "@import", "url("):
        assert outside not in text
