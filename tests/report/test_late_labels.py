"""The nowcast, the hindcast and the drift in the text, the CSV and the HTML of a report."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from examples.late_labels.world import World
from processor import evaluate
from tests.support.reports.command import output_of, processor

DAY = ("--from", "2026-03-17", "--to", "2026-03-18", "--as-of", "2026-03-18")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("late") / "rows.jsonl"
    lines = (json.dumps(row) for row in World(18, 400, surge=99).rows(1))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_the_text_says_it_in_words(rows: Path) -> None:
    text = output_of("report", rows, "--nowcast", *DAY)
    for part in (
        "  12.5 % of 400 predictions are judged; from the delays seen so far, accuracy will be 77.7 to "
        "87.7 % (nowcast 82.7 %)\n",
        "  50 labels have arrived; at the usual pace it would be 45; judging by the labels of the "
        "newest day, 105 % of the usual number will arrive (fit 1.05)\n",
        "  nowcast of past days, at the age of   mean error  held by the interval  days\n",
        "  1 day                                +0.1 points                90.0 %    10\n",
        "  predicted labels are like those of the time before (Jensen-Shannon distance 0.011, by chance "
        "up to 0.059), and are like those of a week ago ",
    ):
        assert part in text
    assert "late" not in output_of("report", rows, *DAY)


def test_the_text_says_why_it_is_withheld(rows: Path) -> None:
    text = output_of("report", rows, "--nowcast", "--as-of", "2026-03-02")
    said = "the nowcast is withheld: no predictions are old enough to know the delays"
    assert said in text


def test_the_page_has_sentence_and_table(rows: Path) -> None:
    page = output_of("report", rows, "--nowcast", *DAY, "--format", "html")
    assert "accuracy will be 77.7 to 87.7 % (nowcast 82.7 %).</p>" in page
    assert "<td>+0.1 points</td>" in page
    assert "While labels are late" not in output_of("report", rows, *DAY, "--format", "html")


def test_the_page_has_plots(rows: Path) -> None:
    """Days with missing labels are shaded; the triangle has no share that is not known yet."""
    page = output_of("report", rows, "--nowcast", "--as-of", "2026-03-18", "--format", "html")
    assert 'aria-label="Accuracy by day"' in page
    assert 0 < page.count('class="missing"') < 17
    assert 'aria-label="Delays of labels by outcome"' in page
    assert "<title>actual fraud, predicted fine: " in page
    (last,) = re.findall(r'<th scope="row">17 Mar</th>(.*?)</tr>', page) or [""]
    assert "hit" not in last
    first = re.findall(r'<th scope="row">1 Mar</th>(.*?)</tr>', page)[0]
    assert first.count('class="hit') == 8


def test_csv_and_json_have_equal_numbers(rows: Path) -> None:
    (model,) = json.loads(output_of("replay", rows, "--nowcast", *DAY))["models"]
    lines = csv.DictReader(
        io.StringIO(output_of("report", rows, "--nowcast", *DAY, "--format", "csv"))
    )
    found = {(line["metric"], line["class"]): line["value"] for line in lines}
    nowcast = model["nowcast"]
    assert float(found["nowcast_accuracy", ""]) == nowcast["accuracy"]
    assert float(found["nowcast_recall", "fraud"]) == nowcast["classes"]["fraud"]["recall"]
    assert float(found["hindcast_cohorts", "3d"]) == nowcast["hindcast"][-1]["cohorts"] == 10
    assert float(found["drift_by_chance", ""]) == model["drift"]["by_chance"]
    (plain,) = json.loads(output_of("replay", rows, *DAY))["models"]
    assert plain == {**model, "nowcast": None, "drift": None}
    (own,) = evaluate(rows, start="2026-03-17", end="2026-03-18", as_of="2026-03-18").to_dict()[
        "models"
    ]
    assert own == model


@pytest.mark.parametrize("options", [("--by", "feedback"), ("--format", "openmetrics")])
def test_where_it_does_not_apply(rows: Path, options: tuple[str, str]) -> None:
    ran = processor("report", rows, "--nowcast", *options)
    assert ran.returncode == 2
    assert f"--nowcast does not apply to {' '.join(options)}: leave one out" in ran.stderr


def test_the_maturity_is_that_of_the_settings(rows: Path) -> None:
    arguments = ("replay", rows, "--nowcast", "--as-of", "2026-03-05T00:00:00Z")
    (model,) = json.loads(output_of(*arguments))["models"]
    assert model["nowcast"]["withheld"] == "no predictions are old enough to know the delays"
    (model,) = json.loads(output_of(*arguments, maturity="2d"))["models"]
    assert model["nowcast"]["withheld"] is None
