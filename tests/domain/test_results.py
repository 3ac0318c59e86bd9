"""The documented JSON of results: names, order of keys, nulls."""

import json
from typing import Any

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import Events, Replay, model_result, model_results
from processor.domain.statistics.counts import MICRO, Cell, Counts

KEY = ModelKey("seldon", "sklearn", "default", "classifier")
CELLS = {Cell("b", "a"): 1, Cell("a", "a"): 2, Cell("a", "b"): 3}


def as_json(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


def test_keys_and_their_order() -> None:
    result = as_json(model_result(KEY, Counts(8, 6, 2, 0, 6, 2 * MICRO, 0, CELLS), "request"))
    assert list(result) == [
        *("namespace", "deployment", "predictor", "model"),
        *("predictions", "judged", "correct", "unknown_actual", "coverage", "accuracy"),
        *("accuracy_low", "accuracy_high", "rewards", "reward_sum", "reward_mean"),
        *("disagreements", "confusion", "classes", "macro", "micro", "weighted", "mcc", "kappa"),
        *("task", "measured", "brier_score", "log_loss", "roc_auc", "roc_auc_error_bound"),
        *("average_precision", "calibration_error", "top_k_accuracy", "reciprocal_rank"),
        *(
            "calibration",
            "thresholds",
            "threshold",
            "best_threshold",
            "bias",
            "mae",
            "mae_low",
            "mae_high",
        ),
        *("rmse", "r2", "correlation", "mape", "wape", "within_tolerance"),
        *("absolute_error_quantiles", "error_histogram", "mean_actual", "mean_predicted"),
        *("deviation_actual", "deviation_predicted", "slope", "intercept"),
        *("exact_match", "hamming_loss", "jaccard", "custom", "custom_failed"),
        *("nowcast", "drift", "targets"),
    ]
    assert list(result["classes"]["a"]) == [
        *("precision", "recall", "specificity", "f1", "support", "roc_auc", "average_precision")
    ]
    for mean in ("macro", "micro", "weighted"):
        assert list(result[mean]) == ["precision", "recall", "specificity", "f1"]
    assert tuple(result[name] for name in ModelKey._fields) == KEY
    assert result["predictions"] == 8
    assert result["coverage"] == 0.75
    assert result["accuracy"] == 2 / 6
    assert result["reward_sum"] == 2.0


def test_cells_and_classes_are_sorted_by_label() -> None:
    result = as_json(model_result(KEY, Counts(6, 6, 2, cells=CELLS), "request"))
    assert result["confusion"] == [
        {"actual": "a", "predicted": "a", "count": 2},
        {"actual": "a", "predicted": "b", "count": 3},
        {"actual": "b", "predicted": "a", "count": 1},
    ]
    assert list(result["classes"]) == ["a", "b"]
    assert result["classes"]["b"]["support"] == 1


def test_nothing_judged_keeps_every_key() -> None:
    result = as_json(model_result(KEY, Counts(predictions=5), "request"))
    assert result["confusion"] == []
    assert result["classes"] == {}
    undefined = {"precision": None, "recall": None, "specificity": None, "f1": None}
    assert result["macro"] == result["micro"] == result["weighted"] == undefined
    for name in ("accuracy", "accuracy_low", "accuracy_high", "reward_mean", "mcc", "kappa"):
        assert result[name] is None
    assert result["coverage"] == 0.0
    assert result["reward_sum"] == 0


def test_feedback_basis_has_no_predictions_and_no_coverage() -> None:
    result = as_json(model_result(KEY, Counts(8, 6, 2, cells=CELLS), "feedback"))
    assert result["predictions"] is None
    assert result["coverage"] is None
    assert result["accuracy"] is not None


def test_models_are_sorted_by_their_four_names() -> None:
    keys = [ModelKey(*names) for names in ("bxyz", "axza", "axyb", "axya")]
    results = model_results({key: Counts() for key in keys}, "request")
    assert [r.namespace + r.deployment + r.predictor + r.model for r in results] == [
        *("axya", "axyb", "axza", "bxyz")
    ]


def test_replay_encodes_from_and_to() -> None:
    replay = Replay(None, "2026-11-20T00:00:00Z", "request", (), Events(dead_letters={"no_id": 1}))
    result = as_json(replay)
    assert list(result) == ["from", "to", "by", "models", "events"]
    assert result["from"] is None
    assert list(result["events"]) == [
        *("read", "other", "failed", "explanation"),
        *("duplicates", "superseded", "corrections", "unmatched_feedback", "late"),
        *("says_nothing", "rows_differ", "ambiguous", "not_scorable", "dead_letters"),
    ]
    assert result["events"]["dead_letters"] == {"no_id": 1}
    assert msgspec.json.decode(msgspec.json.encode(replay), type=Replay) == replay
