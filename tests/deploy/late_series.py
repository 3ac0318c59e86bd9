"""What the service would publish, hour by hour, of a simulated model whose labels come late, and which
alerts fire on it."""

import re
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delays import Cohort, bucket_of
from processor.domain.statistics.labels import wilson
from processor.domain.tally.estimates import Estimates, Estimator
from processor.domain.timestamps import SECOND
from tests.support.late_worlds import DAY, HOUR, Events
from tests.support.manifests import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yml"

#: The values of each series, one a step; None where nothing is published.
Series = dict[str, list[float | None]]

#: Minutes between samples, which are those between evaluations of the rules too.
_INTERVAL = 60
#: Two weeks of hours are what the drift of 7 days looks at; older hours are known as their sum.
_KEPT_HOURS = 2 * 7 * 24
_MATURITY = 7.0 * DAY


class _Knowledge:
    """What is known of a world as time goes on. Each prediction and each label is counted once: to
    count all of them again for every hour would take minutes."""

    def __init__(self, events: Events, horizon: float = 30 * DAY) -> None:
        hours, predicted, actual = (
            values.tolist()
            for values in (events.time.astype(np.int64) // HOUR, events.predicted, events.actual)
        )
        self._predictions = deque(zip(hours, map(str, predicted), strict=True))
        came = events.time + events.delay
        order = np.argsort(came, kind="stable")
        order = order[events.labelled[order] & (events.delay[order] <= horizon)]
        self._came = came[order]
        self._right = np.concatenate([[0], np.cumsum(events.right[order])])
        delays = events.delay.tolist()
        self._labels = deque(
            (
                came,
                hours[n],
                Cell(str(actual[n]), str(predicted[n])),
                bucket_of(int(delays[n] * SECOND)),
            )
            for came, n in zip(self._came.tolist(), order.tolist(), strict=True)
        )
        self._hours: dict[int, Cohort] = {}
        self._whole = Cohort()

    def advance(self, now: float) -> Estimator:
        """Count what happened up to ``now`` (s), the end of an hour."""
        end = int(now // HOUR)
        while self._predictions and self._predictions[0][0] <= end:
            hour, label = self._predictions.popleft()
            for cohort in (self._whole, self._hours.setdefault(hour, Cohort())):
                cohort.add_predicted(label, 1)
        while self._labels and self._labels[0][0] <= now:
            _, hour, cell, bucket = self._labels.popleft()
            self._whole.add_judged(cell, bucket, 1)
            if hour in self._hours:
                self._hours[hour].add_judged(cell, bucket, 1)
        self._hours = {
            hour: cohort for hour, cohort in self._hours.items() if hour > end - _KEPT_HOURS
        }
        return Estimator(self._hours.items(), self._whole, now, _MATURITY)

    def by_feedback(self, start: float, end: float) -> tuple[int, int]:
        """How many items were judged from ``start`` to ``end`` (s), and how many of them right."""
        first, last = np.searchsorted(self._came, [start, end]).tolist()
        return last - first, int(self._right[last] - self._right[first])


def published(events: Events, start: int, end: int, step: int = 1) -> Series:
    """Return the series that the rules of labels, coverage, nowcast, drift and the budget of errors
    read, from day ``start`` to day ``end``, with a value for every ``step`` hours."""
    knowledge = _Knowledge(events)
    series: Series = {}
    for hour in range(start * 24, end * 24, step):
        now = (hour + 1) * HOUR - 1.0
        estimator = knowledge.advance(now)
        judged, right = knowledge.by_feedback(now - DAY, now)
        values = {
            name(family, window): value
            for window in ("24h", "7d")
            for family, value in _of_window(estimator.of_window(_SECONDS[window])).items()
        }
        values[name("model_judged", "24h", "feedback")] = judged
        values[name("model_accuracy_high_ratio", "24h", "feedback")] = wilson(right, judged)[1]
        for key, value in values.items():
            series.setdefault(key, []).append(value)
        judged, right = knowledge.by_feedback(0, now)
        for verdict, items in (("right", right), ("wrong", judged - right)):
            for family, n in (("model_outcomes", items), ("model_outcomes_retracted", 0)):
                key = f'{family}_total{{deployment="simulated", verdict="{verdict}", pod="a"}}'
                series.setdefault(key, []).append(n)
    return series


_SECONDS = {"24h": DAY, "7d": 7 * DAY}


def name(family: str, window: str, by: str = "request") -> str:
    """Return the series of a family, as Prometheus writes it."""
    return f'{family}{{deployment="simulated", window="{window}", by="{by}", pod="a"}}'


def _of_window(estimates: Estimates) -> dict[str, float | None]:
    nowcast, drift = estimates.nowcast, estimates.drift
    predicted, expected = nowcast.predicted, nowcast.expected_judged
    return {
        "model_predictions": predicted,
        "model_feedback_coverage_ratio": nowcast.judged / predicted if predicted else None,
        "model_feedback_expected_ratio": (
            expected / predicted if predicted and expected is not None else None
        ),
        "model_accuracy_nowcast_high_ratio": nowcast.accuracy_high,
        "model_nowcast_fit_ratio": nowcast.fit,
        "model_prediction_jensen_shannon_distance": drift.jensen_shannon if drift else None,
        "model_prediction_distance_by_chance": drift.by_chance if drift else None,
    }


def first_fired(
    promtool: str, series: Series, folder: Path, step: int = 1, rules: str | None = None
) -> dict[str, float]:
    """Return each alert that fires on some series, with the time at which it first does so, in days
    since the first sample. ``rules`` are those of the repository, or else their text."""
    (folder / "rules.yml").write_text(rules or RULES.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test.yml").write_text("\n".join(_test(series, step)), encoding="utf-8")
    run = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True
    )
    said = run.stdout + run.stderr
    # The test expects that no alert fires; of one that does, promtool says what it got instead.
    found = {
        alert: float(seconds) / DAY
        for alert, seconds in re.findall(r'\{alertname="(\w+)"\} ([\d.eE+]+)', said)
    }
    assert found or run.returncode == 0, said
    return found


def _test(series: Series, step: int) -> Iterator[str]:
    length = max(map(len, series.values())) * step
    yield "rule_files: [rules.yml]"
    yield f"evaluation_interval: {_INTERVAL}m"
    yield "tests:"
    yield f"  - interval: {_INTERVAL}m"
    yield "    input_series:"
    samples = step * 60 // _INTERVAL
    yield "      - series: processor_build_info"
    yield f"        values: 1x{length * 60 // _INTERVAL}"
    for key, values in series.items():
        text = " ".join(
            f"_x{samples}" if value is None else f"{value:.9g}x{samples - 1}" for value in values
        )
        yield f"      - series: {key}"
        yield f"        values: {text}"
    firing = f'timestamp(ALERTS{{alertstate="firing"}})[{length}h:{_INTERVAL}m]'
    yield "    promql_expr_test:"
    yield f"      - expr: min by (alertname) (min_over_time({firing}))"
    yield f"        eval_time: {length}h"
    yield "        exp_samples: []"
