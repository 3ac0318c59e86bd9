"""``processor report`` and ``processor replay`` of a table, as a user runs them."""

import json
import random
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn import metrics

from tests.support.report_command import done, processor

LABELS = ("bird", "cat", "dog")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """500 rows of a kind that data scientists have; a tenth without a true label yet."""
    chance = random.Random(7)
    rows = []
    for i in range(500):
        truth = chance.choice(LABELS)
        guess = truth if chance.random() < 0.7 else chance.choice(LABELS)
        rows.append((f"r{i}", guess, truth if chance.random() < 0.9 else None, ("a", "b")[i % 2]))
    frame = pd.DataFrame(rows, columns=["id", "y_pred", "y_true", "arm"])
    frame.insert(1, "ts", pd.date_range("2026-11-20", periods=500, freq="min"))
    return frame


@pytest.fixture(scope="module")
def folder(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    table.to_csv(folder / "predictions.csv", index=False)
    table.to_parquet(folder / "predictions.parquet")
    table.to_json(folder / "predictions.jsonl", orient="records", lines=True, date_format="iso")
    return folder


OPTIONS = ("--predicted", "y_pred", "--actual", "y_true", "--id", "id", "--time", "ts")


def result(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("replay", *arguments))
    return found


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_numbers_are_those_of_scikit_learn(folder: Path, table: pd.DataFrame, suffix: str) -> None:
    path = folder / f"predictions.{suffix}"
    found = result(path, *OPTIONS)
    assert done("report", path, *OPTIONS, "--format", "json") == done("replay", path, *OPTIONS)
    known = table.dropna(subset=["y_true"])
    truth, guess = known["y_true"], known["y_pred"]
    (model,) = found["models"]
    assert (model["namespace"], model["deployment"], model["predictor"]) == ("", "data", "")
    assert (model["predictions"], model["judged"]) == (500, len(known))
    assert model["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert model["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, guess))
    assert model["macro"]["f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro"))
    matrix = metrics.confusion_matrix(truth, guess, labels=LABELS)
    cells = {(each["actual"], each["predicted"]): each["count"] for each in model["confusion"]}
    assert cells == {
        (row, column): n
        for row, counts in zip(LABELS, matrix.tolist(), strict=True)
        for column, n in zip(LABELS, counts, strict=True)
        if n
    }


def test_a_deployment_is_a_column_or_a_name(folder: Path) -> None:
    path = folder / "predictions.csv"
    found = result(path, *OPTIONS, "--deployment", "arm")
    assert [(each["deployment"], each["predictions"]) for each in found["models"]] == [
        ("a", 250), ("b", 250),
    ]  # fmt: skip
    found = result(path, *OPTIONS, "--deployment", "churn")
    assert [(each["deployment"], each["predictions"]) for each in found["models"]] == [
        ("churn", 500)
    ]


def test_two_tables_with_columns_of_their_own(folder: Path, table: pd.DataFrame) -> None:
    made, truth = folder / "made.csv", folder / "truth.parquet"
    table.drop(columns="y_true").to_csv(made, index=False)
    table[["id", "y_true"]].to_parquet(truth)
    options = ("--predicted", "y_pred", "--actual", "y_true", "--id", "id")
    apart = result(made, truth, *options)
    assert apart["models"] == result(folder / "predictions.csv", *options)["models"]
    ran = processor("report", made, truth, *options[:2], "--actual", "y_tru", "--id", "id")
    assert ran.returncode == 2
    assert "has no column 'y_tru'" in ran.stderr


def test_times_bound_what_counts(folder: Path) -> None:
    found = result(
        folder / "predictions.csv", *OPTIONS,
        "--from", "2026-11-20T01:00:00Z", "--to", "2026-11-20T02:00:00Z",
    )  # fmt: skip
    assert found["models"][0]["predictions"] == 60


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_proposed_command_runs(folder: Path, suffix: str) -> None:
    path = folder / f"predictions.{suffix}"
    asked = processor("report", path)
    assert asked.returncode == 1
    assert asked.stdout == ""
    said, proposal = asked.stderr.splitlines()
    assert said.startswith(f"processor: {path} has the columns id, ts, y_pred, y_true, arm")
    words = shlex.split(proposal)
    assert words[:3] == ["processor", "report", str(path)]
    assert "500 predicted" in done(*words[1:])


def test_what_is_wrong_is_said(folder: Path) -> None:
    path = folder / "predictions.csv"
    for arguments, code, why in (
        ((path, "--predicted", "y_prd"), 2, "has no column 'y_prd' (--predicted): it has id, ts"),
        ((folder / "no.csv",), 1, "no.csv"),
        ((path, "--predicted", "y_pred", "--time", "id"), 1, "none of its 500 rows could be read"),
        (("--stored", "--predicted", "y"), 2, "--predicted has no place beside --stored"),
    ):
        ran = processor("report", *arguments)
        assert (ran.returncode, ran.stdout) == (code, "")
        assert why in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_column_of_truth_that_is_not_named_is_hinted_at(folder: Path) -> None:
    ran = processor("report", folder / "predictions.csv", "--predicted", "y_pred")
    assert ran.returncode == 0
    assert "nothing is judged: add --actual y_true" in ran.stderr


def test_a_table_from_standard_input(folder: Path) -> None:
    for name in ("predictions.csv", "predictions.jsonl"):
        ran = subprocess.run(
            [sys.executable, "-m", "processor", "replay", "-", *OPTIONS],
            input=(folder / name).read_bytes(), capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        assert json.loads(ran.stdout)["models"][0]["predictions"] == 500


def test_no_time_no_course(folder: Path) -> None:
    page = done("report", folder / "predictions.csv", *OPTIONS[:4], "--format", "html")
    assert "Confusion matrix" in page
    assert "over time" not in page
    page = done("report", folder / "predictions.csv", *OPTIONS, "--format", "html")
    assert "Accuracy over time" in page
    assert "Feedback delay" not in page
