"""Tables of numbers, probabilities and label sets: the scores are those of scikit-learn."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

from processor import ProcessorError, evaluate
from processor.api import Model
from tests.support.reports.command import processor

Rows = list[dict[str, Any]]
#: The largest difference between a probability and its q / 65535.
CLOSE = 2e-5


def as_frame(rows: Rows, folder: Path) -> Any:
    return pd.DataFrame(rows)


def as_dicts(rows: Rows, folder: Path) -> Any:
    return rows


def as_csv(rows: Rows, folder: Path) -> Any:
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def as_parquet(rows: Rows, folder: Path) -> Any:
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def as_json_lines(rows: Rows, folder: Path) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


FORMS = (as_frame, as_dicts, as_csv, as_parquet, as_json_lines)
Form = Callable[[Rows, Path], Any]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = request.param
    return found


def only(source: Any, **options: Any) -> Model:
    (model,) = evaluate(source, **options).models
    return model


def regression(random: Random) -> Rows:
    # Some are whole numbers, some between 0 and 1, as in any regression.
    actual = [random.choice([3.0, 0.25, random.gauss(20, 8)]) for _ in range(500)]
    return [
        {"prediction": round(y + random.gauss(0.4, 2), 3), "actual": round(y, 3)} for y in actual
    ]


def test_numbers(form: Form, tmp_path: Path) -> None:
    rows = regression(Random(5))
    model = only(form(rows, tmp_path), task="regression")
    actual = np.array([row["actual"] for row in rows])
    predicted = np.array([row["prediction"] for row in rows])
    assert (model.task, model.measured, model.accuracy) == ("regression", 500, None)
    assert model.mae == pytest.approx(metrics.mean_absolute_error(actual, predicted), rel=1e-9)
    assert model.rmse == pytest.approx(metrics.root_mean_squared_error(actual, predicted), rel=1e-9)
    assert model.r2 == pytest.approx(metrics.r2_score(actual, predicted), rel=1e-9)
    assert model.bias == pytest.approx((predicted - actual).mean(), rel=1e-9)
    assert model.correlation == pytest.approx(np.corrcoef(actual, predicted)[0, 1], rel=1e-9)
    nonzero = actual != 0
    mape = metrics.mean_absolute_percentage_error(actual[nonzero], predicted[nonzero])
    assert model.mape == pytest.approx(mape, rel=1e-5)
    largest = np.quantile(np.abs(predicted - actual), 0.9, method="inverted_cdf")
    assert largest <= model.absolute_error_quantiles["0.9"] <= largest * 1.0911


def binary(random: Random) -> Rows:
    rows = []
    for _ in range(600):
        p = round(random.betavariate(1, 1.4), 5)
        row: dict[str, Any] = {"score_no": round(1 - p, 5), "score_yes": p}
        rows.append({**row, "actual": "yes" if random.random() < p**1.3 else "no"})
    return rows


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_two_classes(form: Form, tmp_path: Path, threshold: float | None) -> None:
    rows = binary(Random(6))
    probability = np.array([row["score_yes"] for row in rows])
    if threshold is not None:
        # A column of labels beside the scores: a threshold that the scores do not tell.
        for row in rows:
            row["prediction"] = "yes" if row["score_yes"] >= threshold else "no"
    model = only(form(rows, tmp_path))
    actual = np.array([row["actual"] == "yes" for row in rows])
    predicted = probability >= (threshold or 0.5)
    assert model.accuracy == pytest.approx((actual == predicted).mean(), abs=0.005)
    assert model.brier_score == pytest.approx(
        metrics.brier_score_loss(actual, probability), abs=CLOSE
    )
    assert model.log_loss == pytest.approx(metrics.log_loss(actual, probability), abs=1e-3)
    assert model.roc_auc is not None
    assert model.roc_auc_error_bound is not None
    difference = abs(model.roc_auc - metrics.roc_auc_score(actual, probability))
    assert difference <= model.roc_auc_error_bound + 1e-9
    recall = metrics.recall_score(actual, probability >= 0.5)
    at_half = next(each for each in model.thresholds if each.threshold >= 0.5)
    assert at_half.recall == pytest.approx(recall, abs=0.01)


def test_several_classes(form: Form, tmp_path: Path) -> None:
    random = Random(7)
    names = ("bird", "cat", "dog", "eel")
    rows: Rows = []
    for _ in range(500):
        weights = [random.expovariate(1) ** 2 for _ in names]
        scores = [round(weight / sum(weights), 6) for weight in weights]
        row: dict[str, Any] = {
            f"score_{name}": score for name, score in zip(names, scores, strict=True)
        }
        rows.append({**row, "actual": random.choices(names, weights)[0]})
    model = only(form(rows, tmp_path))
    matrix = np.array([[row[f"score_{name}"] for name in names] for row in rows])
    matrix /= matrix.sum(axis=1, keepdims=True)
    actual = [row["actual"] for row in rows]
    assert set(model.classes) == set(names)
    assert model.log_loss == pytest.approx(metrics.log_loss(actual, matrix, labels=names), abs=1e-3)
    for k, share in model.top_k_accuracy.items():
        expected = metrics.top_k_accuracy_score(actual, matrix, k=int(k), labels=names)
        assert share == pytest.approx(expected, abs=0.003)
    for i, name in enumerate(names):
        area = metrics.roc_auc_score([each == name for each in actual], matrix[:, i])
        assert model.classes[name].roc_auc == pytest.approx(area, abs=0.02)


def test_label_sets(form: Form, tmp_path: Path) -> None:
    random = Random(8)
    names = ("beach", "city", "food", "night")
    rows: Rows = []
    for _ in range(300):
        actual = [name for name in names if random.random() < 0.4]
        predicted = [name for name in names if (name in actual) != (random.random() < 0.15)]
        rows.append({"prediction": predicted, "actual": actual})
    model = only(form(rows, tmp_path), task="multilabel")
    binarizer = MultiLabelBinarizer(classes=names)
    predicted, actual = (
        binarizer.fit_transform([row[key] for row in rows]) for key in ("prediction", "actual")
    )
    assert (model.task, model.judged) == ("multilabel", 300)
    assert model.exact_match == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert model.hamming_loss == pytest.approx(metrics.hamming_loss(actual, predicted))
    jaccard = metrics.jaccard_score(actual, predicted, average="samples", zero_division=1)
    assert model.jaccard == pytest.approx(jaccard, abs=1e-6)
    assert model.macro.f1 == pytest.approx(metrics.f1_score(actual, predicted, average="macro"))
    recalls = metrics.recall_score(actual, predicted, average=None)
    assert [model.classes[name].recall for name in names] == pytest.approx(list(recalls))


def test_score_columns_of_a_command(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["score_no", "p2", "truth"])
        writer.writerows([[0.75, 0.25, "no"], [0.25, 0.75, "yes"], [0.5, 0.5625, "no"]])
    done = processor(
        "replay", path, "--score", "score_no", "--score", "p2=yes", "--actual", "truth"
    )  # fmt: skip
    (model,) = json.loads(done.stdout)["models"]
    assert set(model["classes"]) == {"no", "yes"}
    assert model["correct"] == 2
    assert model["task"] == "classification"


def test_a_task_of_the_command_is_for_models_without_one(tmp_path: Path) -> None:
    path, models = tmp_path / "rows.csv", tmp_path / "models.yaml"
    path.write_text("deployment,prediction,actual\na,3,5\nb,1,1\n", encoding="utf-8")
    models.write_text("models: [{match: '*/b', task: classification}]\n", encoding="utf-8")
    done = processor("replay", path, "--task", "regression", "--models", models)
    a, b = json.loads(done.stdout)["models"]
    assert (a["task"], a["mae"], a["accuracy"]) == ("regression", 2.0, None)
    assert (b["task"], b["mae"], b["accuracy"]) == ("classification", None, 1.0)
    assert processor("report", path, "--task", "guessing").returncode == 2


def test_numbers_that_are_taken_for_labels_are_reported(tmp_path: Path) -> None:
    path = as_csv([{"prediction": 21.5, "actual": 20}, {"prediction": 3, "actual": 3}], tmp_path)
    done = processor("report", path)
    assert "1 predictions are numbers, and 1 are whole" in done.stderr
    assert "--task regression" in done.stderr
    assert "taken for labels" not in processor("report", path, "--task", "regression").stderr
    with pytest.warns(match='task="regression"'):
        evaluate(pd.DataFrame([{"prediction": 21.5}, {"prediction": 3}]))


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(ProcessorError, match="task is 'clustering': use 'classification'"):
        evaluate([], task="clustering")  # type: ignore[arg-type]
