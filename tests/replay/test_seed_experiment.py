"""The experiment by date of request and of feedback, compared with pandas and scikit-learn."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from processor.domain.model_rules import ModelRules
from processor.domain.results import ModelResult
from processor.domain.timestamps import parse_time
from processor.replay.selection import Selection
from processor.replay.sources import Access, fold_sources
from processor.settings import Settings

DATA = Path(__file__).parents[1] / "data" / "seed-experiment"
RANGES = {
    "request": [
        (None, "2026-11-20T10:00:00Z"),
        ("2026-11-20T09:30:00Z", "2026-11-20T11:15:00.5Z"),
        ("2026-11-20T11:00:00Z", None),
    ],
    "feedback": [
        (None, "2026-11-20T12:00:00Z"),
        ("2026-11-20T10:00:00Z", "2026-11-20T18:30:00Z"),
        ("2026-11-20T15:00:00Z", None),
    ],
}


def experiment() -> pd.DataFrame:
    """A row for each prediction: its label and time, and the truth and time of its feedback."""
    rows = pd.read_json(DATA / "rows.ndjson", lines=True).set_index("requestid")
    events = [json.loads(line) for line in (DATA / "events.ndjson").open()]
    flat = pd.DataFrame(
        {
            "kind": event["headers"]["ce-type"].rpartition(".")[2],
            "requestid": event["headers"]["ce-requestid"],
            "time": pd.Timestamp(event["headers"]["ce-time"]),
            "reward": event["data"].get("reward"),
        }
        for event in events
    ).set_index("requestid")
    feedback = flat[flat.kind == "feedback"]
    return pd.DataFrame(
        {
            "predicted": rows.predicted.str[0],
            "actual": rows.truth.str[0],
            "request": flat[flat.kind == "response"].time,
            "feedback": feedback.time,
            "reward": feedback.reward.astype(float),
        }
    )


def within(times: "pd.Series[Any]", start: str | None, end: str | None) -> "pd.Series[bool]":
    chosen = times.notna()
    if start:
        chosen &= times >= pd.Timestamp(start)
    if end:
        chosen &= times < pd.Timestamp(end)
    return chosen


def wilson(correct: int, judged: int) -> tuple[float, float]:
    z = 1.959963984540054
    share = correct / judged
    middle = (share + z * z / (2 * judged)) / (1 + z * z / judged)
    half = z / (1 + z * z / judged)
    half *= sqrt(share * (1 - share) / judged + z * z / (4 * judged * judged))
    return middle - half, middle + half


def specificities(matrix: Any) -> Any:
    right = matrix.diagonal()
    false_positives = matrix.sum(axis=0) - right
    true_negatives = matrix.sum() - matrix.sum(axis=0) - matrix.sum(axis=1) + right
    return true_negatives / (true_negatives + false_positives)


async def replayed(by: str, start: str | None, end: str | None) -> ModelResult:
    times = [None if text is None else parse_time(text) for text in (start, end)]
    selection = Selection(by, start=times[0], end=times[1])
    access = Access(Settings.from_env({}))
    fold = await fold_sources([str(DATA / "events.ndjson")], ModelRules(), selection, access)
    (model,) = fold.result().models
    return model


@pytest.mark.parametrize(("by", "number"), [(by, n) for by in RANGES for n in range(3)])
async def test_a_range_of_dates_equals_scikit_learn(by: str, number: int) -> None:
    start, end = RANGES[by][number]
    model = await replayed(by, start, end)
    chosen = experiment()
    chosen = chosen[within(chosen[by], start, end)]
    judged = chosen[chosen.actual.notna()]
    assert 5 < len(judged) < 63, "a range that chooses"
    actual, predicted = judged.actual, judged.predicted
    correct = int((actual == predicted).sum())
    assert (model.judged, model.correct, model.unknown_actual) == (len(judged), correct, 0)
    if by == "request":
        assert model.predictions == len(chosen)
        assert model.coverage == pytest.approx(len(judged) / len(chosen), abs=1e-9)
    else:
        assert (model.predictions, model.coverage) == (None, None)
    assert model.accuracy == pytest.approx(metrics.accuracy_score(actual, predicted), abs=1e-9)
    interval = (model.accuracy_low, model.accuracy_high)
    assert interval == pytest.approx(wilson(correct, len(judged)), abs=1e-9)
    assert model.rewards == judged.reward.notna().sum()
    assert model.reward_mean == pytest.approx(judged.reward.mean(), abs=1e-9)

    table = pd.crosstab(actual, predicted).stack()
    cells = {(str(a), str(p)): int(n) for (a, p), n in table.items() if n}  # type: ignore[misc]
    assert {(cell.actual, cell.predicted): cell.count for cell in model.confusion} == cells
    labels = sorted({*actual, *predicted})
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    specificity = specificities(metrics.confusion_matrix(actual, predicted, labels=labels))
    assert list(model.classes) == labels
    for at, label in enumerate(labels):
        found = model.classes[label]
        assert found.support == support[at]
        scores = (found.precision, found.recall, found.specificity, found.f1)
        wanted = (precision[at], recall[at], specificity[at], f1[at])
        assert [score or 0.0 for score in scores] == pytest.approx(wanted, abs=1e-9)
    for mean, weights in (model.macro, None), (model.weighted, support):
        wanted_means = [
            np.average(each, weights=weights) for each in (precision, recall, specificity, f1)
        ]
        found_means = (mean.precision, mean.recall, mean.specificity, mean.f1)
        assert found_means == pytest.approx(tuple(wanted_means), abs=1e-9)
    assert model.micro.f1 == pytest.approx(
        metrics.f1_score(actual, predicted, average="micro"), abs=1e-9
    )
    assert model.mcc == pytest.approx(metrics.matthews_corrcoef(actual, predicted), abs=1e-9)
    assert model.kappa == pytest.approx(metrics.cohen_kappa_score(actual, predicted), abs=1e-9)
