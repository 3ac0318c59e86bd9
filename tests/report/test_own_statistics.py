"""The scores of custom statistics in every output of a replay, and the example's own page."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from processor import JudgedItem, compare, evaluate
from processor.models_file import read_models
from tests.support.own_statistics import PLACE
from tests.support.reports.command import output_of, processor
from tests.support.reports.traffic import traffic, write

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "cost_matrix"
PLACES = ["examples.cost_matrix:CostMatrix", PLACE + "Picky"]
MODELS = {"models": [{"match": "*/*", "statistics": PLACES}]}


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PROCESSOR_CUSTOM_STATISTICS", "on")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield
    read_models({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve predictions by two predictors; on those of "a" the second statistic fails."""
    rows = [
        ("2026-11-20T09:00:00Z", predictor, str(i), label, truth)
        for predictor, labels in (("default", "aaspam"), ("canary", "spamsp"))
        for i, (label, truth) in enumerate(zip(labels, "aspams", strict=True))
    ]
    columns = ["time", "predictor", "request_id", "prediction", "actual"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(MODELS))
    return tmp_path


def output(folder: Path, *options: str) -> str:
    models = folder / "models.yaml"
    return output_of(
        "report", folder / "rows.csv", "--models", models, *options, custom_statistics="on"
    )


def test_a_frame_has_a_column_for_each_score(folder: Path) -> None:
    evaluation = evaluate(folder / "rows.csv", models=folder / "models.yaml")
    frame = evaluation.to_frame().set_index("predictor")
    assert frame["custom.cost_matrix.mean"].to_dict() == {"default": 500 / 6, "canary": 100.0}
    assert frame["custom.picky.cost"].to_dict() == {"default": 6.0, "canary": 10.0}
    assert frame["custom_failed.picky"].to_dict() == {"default": 3, "canary": 1}


def test_every_format_has_the_scores(folder: Path) -> None:
    # default: a/a, a/s, s/p, p/a, a/m, m/s; canary: s/a, p/s, a/p, m/a, s/m, p/s: all wrong.
    custom = {
        "default": {"cost_matrix": {"mean": 500 / 6, "total": 500.0}, "picky": {"cost": 6.0}},
        "canary": {"cost_matrix": {"mean": 100.0, "total": 600.0}, "picky": {"cost": 10.0}},
    }
    result = json.loads(output(folder, "--format", "json"))
    assert {each["predictor"]: each["custom"] for each in result["models"]} == custom
    assert {each["predictor"]: each["custom_failed"] for each in result["models"]} == {
        "default": {"picky": 3}, "canary": {"picky": 1},
    }  # fmt: skip

    rows = csv.DictReader(io.StringIO(output(folder, "--format", "csv")))
    found = [
        (row["predictor"], row["metric"], row["class"], float(row["value"]))
        for row in rows
        if row["metric"].startswith("custom")
    ]
    assert found[:4] == [
        ("canary", "custom_cost_matrix", "mean", 100.0),
        ("canary", "custom_cost_matrix", "total", 600.0),
        ("canary", "custom_picky", "cost", 10.0),
        ("canary", "custom_failed", "picky", 1.0),
    ]
    assert len(found) == 8

    text = output(folder, "--compare", "predictor")
    assert "  cost_matrix  mean 83.3  total 500\n" in text
    assert "  picky failed on 3 items, which it does not have\n" in text
    (line,) = [line for line in text.splitlines() if "cost_matrix.mean" in line]
    assert line.split() == ["cost_matrix.mean", "83.3", "100", "+16.7"]

    page = output(folder, "--format", "html")
    for part in ("<h3>cost_matrix</h3>", "<td>83.3</td>", '<th scope="row">failed on items</th>'):
        assert part in page

    backfill = output(folder, "--format", "openmetrics", "--step", "1h")
    assert re.search(
        r"^# HELP model_custom_cost_matrix Cost of wrong answers in cents: the mean per judged item, "
        r"and the total\.\n# TYPE model_custom_cost_matrix gauge\n",
        backfill,
        re.MULTILINE,
    )
    end = 'window="all",by="request",score="total"} 500 '
    (series,) = {line.partition(end)[0] for line in backfill.splitlines() if end in line}
    assert series.startswith("model_custom_cost_matrix{")
    assert 'predictor="default"' in series


def test_evaluate_equals_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = json.loads(output(folder, "--format", "json", "--nowcast"))
    evaluation = evaluate(folder / "rows.csv", models=MODELS)
    assert evaluation.to_dict() == {**command, **evaluation.to_dict()}
    assert evaluation.to_dict()["models"] == command["models"]
    first, second = evaluation.models
    assert compare(first, second)[0].differences == {
        "custom.cost_matrix.mean": pytest.approx(-100 / 6),
        "custom.cost_matrix.total": -100.0,
        "custom.picky.cost": -4.0,
    }
    assert "cost_matrix" in evaluation._repr_html_()
    # By the time of the feedback it is the same.
    (canary, _) = evaluate(folder / "rows.csv", models=MODELS, by="feedback").models
    assert canary.custom == second.custom or canary.custom == first.custom
    monkeypatch.setenv("PROCESSOR_CUSTOM_STATISTICS", "off")
    with pytest.raises(Exception, match="runs only with PROCESSOR_CUSTOM_STATISTICS=on"):
        evaluate(folder / "rows.csv", models=MODELS)


def test_a_class_of_a_notebook_is_its_newest_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prediction": "a", "actual": "b"}]
    models = {"models": [{"match": "*/*", "statistics": ["__main__:Fees"]}]}

    def fees(fee: int) -> type:
        class Fees:
            def contribute(self, item: JudgedItem) -> dict[str, int]:
                return {"fee": fee}

            def scores(self, sums: dict[str, int]) -> dict[str, float | None]:
                return {"fee": sums["fee"]}

        return Fees

    for fee in (3, 5):
        monkeypatch.setattr("__main__.Fees", fees(fee), raising=False)
        assert evaluate(rows, models=models)["data"].custom == {"fees": {"fee": fee}}


def test_an_events_file_with_repeats_and_corrections(tmp_path: Path) -> None:
    """The mean cost is that of the final labels, in whatever order the events come."""
    events = [*traffic(200, 5, ("cat", "dog", "eel"), shadow=0.3)]
    path = write(tmp_path / "events.ndjson", events + events[::-1])
    models = {"models": [{"match": "*/*", "statistics": [PLACE + "Everything"]}]}
    evaluation = evaluate(path, models=models)
    judged = 0
    for model in evaluation.models:
        if not model.judged:
            continue
        found = model.custom["everything"]
        cells = {f"{each.actual}/{each.predicted}": each.count for each in model.confusion}
        assert found["items"] == model.judged
        assert found["wrong"] == model.judged - model.correct
        assert {name: found[name] for name in cells} == cells
        judged += model.judged
    assert judged
    assert (
        evaluation.to_dict()["models"]
        == evaluate(write(tmp_path / "again.ndjson", events), models=models).to_dict()["models"]
    )


def test_the_page_of_the_example_says_what_it_prints() -> None:
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r"^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    env.pop("PROCESSOR_CUSTOM_STATISTICS")
    run = subprocess.run(
        ["sh", "-ec", script],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert line in run.stdout


def test_a_statistic_that_is_switched_off_is_refused(folder: Path) -> None:
    models = folder / "models.yaml"
    run = processor("report", folder / "rows.csv", "--models", models)
    assert run.returncode == 2
    assert f"models file {models}, line 4: models[0].statistics: " in run.stderr
    assert "set it, or remove the statistic" in run.stderr
