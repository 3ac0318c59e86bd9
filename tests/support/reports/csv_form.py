"""A report in CSV, read back as the JSON that it stands for."""

import csv
import io
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec

from processor.domain.model_key import ModelKey
from processor.domain.results import ModelResult, model_result
from processor.domain.statistics.counts import Counts

NAMES = ("namespace", "deployment", "predictor", "model")

FOUR = ("precision", "recall", "specificity", "f1")

NOBODY = ModelKey("", "", "", "")

_IS_REQUIRED = {field.name: field.required for field in msgspec.structs.fields(ModelResult)}

#: The fields of a model's JSON that CSV has only where they have a value, and what they are without.
OPTIONAL: dict[str, Any] = {
    name: value
    for name, value in json.loads(
        msgspec.json.encode(model_result(NOBODY, Counts(), "request"))
    ).items()
    if name != "task" and not _IS_REQUIRED[name]
}

#: The lists of a model's JSON, with the key that tells their entries apart.
LISTS = {"calibration": "low", "thresholds": "threshold", "error_histogram": "up_to"}


def _number(text: str) -> int | float | None:
    return json.loads(text) if text else None


def from_csv(text: str) -> dict[str, Any]:
    """The JSON of a replay but for the tasks, from its CSV."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    models: dict[tuple[str, ...], dict[str, Any]] = {}
    events: dict[str, Any] = {"not_scorable": {}, "dead_letters": {}}
    for row in rows:
        metric, value = row["metric"], _number(row["value"])
        if metric.startswith("events_"):
            name = metric.removeprefix("events_")
            if row["class"]:
                events[name][row["class"]] = value
            else:
                events[name] = value
            continue
        names = tuple(row[name] for name in NAMES)
        empty: dict[str, Any] = {
            "confusion": [],
            "classes": {},
            "macro": {},
            "micro": {},
            "weighted": {},
        }
        empty |= deepcopy(OPTIONAL)
        model = models.setdefault(names, {**dict(zip(NAMES, names, strict=True)), **empty})
        _put(model, metric, row, value)
    return {
        "from": rows[0]["from"] or None, "to": rows[0]["to"] or None, "by": rows[0]["by"],
        "models": list(models.values()), "events": events,
    }  # fmt: skip


def _put(model: dict[str, Any], metric: str, row: Mapping[str, str], value: object) -> None:
    """Put the number of one row at its place in a model's JSON."""
    score, _, mean = metric.rpartition("_")
    part = next((name for name in LISTS if metric.startswith(name + "_")), None)
    if metric == "confusion":
        cell = {"actual": row["actual"], "predicted": row["predicted"], "count": value}
        model["confusion"].append(cell)
    elif metric in (*FOUR, "support", "roc_auc", "average_precision") and row["class"]:
        none = {"roc_auc": None, "average_precision": None}
        model["classes"].setdefault(row["class"], none)[metric] = value
    elif metric in ("top_k_accuracy", "absolute_error_quantile"):
        model[metric if metric[0] == "t" else f"{metric}s"][row["class"]] = value
    elif part is not None and row["class"]:
        entries, key = model[part], {LISTS[part]: float(row["class"])}
        if not entries or key.items() - entries[-1].items():
            entries.append(key)
        entries[-1][metric.removeprefix(f"{part}_")] = value
    elif score in FOUR and mean in ("macro", "micro", "weighted"):
        model[mean][score] = value
    else:
        model[metric] = value


def without_tasks(replay: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a replay without the one field that is no number."""
    for model in replay["models"]:
        del model["task"]
    return replay
