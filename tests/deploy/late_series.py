"""What the service would publish, hour by hour, of a simulated model whose labels come late, and which
alerts fire on it."""

import re
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from processor.domain.model_key import ModelKey
from processor.domain.statistics.counts import Cell, Counts
from processor.domain.statistics.delays import Cohort, bucket_of
from processor.domain.tally.estimates import Estimator
from processor.domain.tally.recent import RecentCounts
from processor.domain.timestamps import SECOND
from processor.publish.alert_families import recent_samples
from processor.publish.estimates.families import estimate_samples
from processor.publish.families import FAMILIES, LABELS
from processor.publish.family import Sample
from tests.support.late_worlds import DAY, HOUR, Events
from tests.support.manifests import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yml"

#: The values of each series, one a step; None where nothing is published.
Series = dict[str, list[float | None]]

#: Minutes between samples, which are those between evaluations of the rules too; and where values are
#: held for many hours. Both divide the offsets of the rules.
_INTERVAL, _LONG_INTERVAL = 60, 120
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
        labels = range(events.classes)
        #: The items of each cell among the first labels that came.
        self._cells = {
            Cell(str(a), str(p)): np.concatenate(
                [[0], np.cumsum((actual_of == a) & (predicted_of == p))]
            )
            for actual_of, predicted_of in [(events.actual[order], events.predicted[order])]
            for a in labels
            for p in labels
        }
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
        #: Predicted, judged and right items by hour of the prediction.
        self._by_request = np.zeros((int(events.time.max()) // HOUR + 1, 3), np.int64)

    def advance(self, now: float) -> Estimator:
        """Count what happened up to ``now`` (s), the end of an hour."""
        end = int(now // HOUR)
        while self._predictions and self._predictions[0][0] <= end:
            hour, label = self._predictions.popleft()
            self._by_request[hour, 0] += 1
            for cohort in (self._whole, self._hours.setdefault(hour, Cohort())):
                cohort.add_predicted(label, 1)
        while self._labels and self._labels[0][0] <= now:
            _, hour, cell, bucket = self._labels.popleft()
            self._whole.add_judged(cell, bucket, 1)
            self._by_request[hour] += (0, 1, cell.actual == cell.predicted)
            if hour in self._hours:
                self._hours[hour].add_judged(cell, bucket, 1)
        self._hours = {
            hour: cohort for hour, cohort in self._hours.items() if hour > end - _KEPT_HOURS
        }
        return Estimator(self._hours.items(), self._whole, now, _MATURITY)

    def recent(self, now: float) -> RecentCounts:
        """The counts of recent windows at ``now`` (s), the end of an hour, and the rhythm."""
        windows = {}
        for window, seconds in _SECONDS.items():
            end = int(now // HOUR) + 1
            hours = self._by_request[max(0, end - seconds // HOUR) : end]
            by_request = Counts(*hours.sum(axis=0).tolist())
            windows[window] = (by_request, self._judged(now - seconds, now))
        last = int(np.searchsorted(self._came, now))
        hours = np.unique(self._came[max(0, last - 200_000) : last] // HOUR)
        pauses = np.diff(hours[hours > now // HOUR - 31 * 24])
        return RecentCounts(
            windows,
            self._judged(0, now),
            int(now) // 60 * 60,
            int(self._came[last - 1]) // 60 * 60 if last else None,
            int(pauses.max()) * HOUR if len(pauses) else None,
        )

    def _judged(self, start: float, end: float) -> Counts:
        """What was judged from ``start`` to ``end`` (s)."""
        first, last = np.searchsorted(self._came, [start, end]).tolist()
        cells = {
            cell: items
            for cell, known in self._cells.items()
            if (items := int(known[last] - known[first]))
        }
        correct = sum(items for cell, items in cells.items() if cell.actual == cell.predicted)
        return Counts(judged=last - first, correct=correct, cells=cells)


def published(
    events: Events, start: int, end: int, step: int = 1, deployment: str = "simulated"
) -> Series:
    """Return the series that the rules of labels, coverage, nowcast, drift and the budget of errors
    read, from day ``start`` to day ``end``, with a value for every ``step`` hours."""
    knowledge = _Knowledge(events)
    series: Series = {}
    key = ModelKey("simulation", deployment, "default", "model")
    for number, hour in enumerate(range(start * 24, end * 24, step)):
        now = (hour + 1) * HOUR - 1.0
        estimator = knowledge.advance(now)
        estimates = {window: estimator.of_window(_SECONDS[window]) for window in ("24h", "7d")}
        labelled: list[tuple[tuple[str, ...], list[Sample]]] = [
            ((*key, window, "request"), estimate_samples(each, 64)[0])
            for window, each in estimates.items()
        ]
        recent = knowledge.recent(now)
        labelled += recent_samples(key, recent, 64)
        labelled += [((*key, *view), [Sample("model_judged", (), 1)]) for view in _VIEWS]
        for name, value in _outcomes(deployment, recent.of_all_time).items():
            series.setdefault(name, []).append(value)
        for labels, samples in labelled:
            for sample in samples:
                values = series.setdefault(_series(labels, sample), [])
                values += [None] * (number - len(values))
                # The first sample of the series is at the time 0.
                at = start * DAY if sample.family.endswith("timestamp_seconds") else 0
                values.append(sample.value - at)
    return series


def _outcomes(deployment: str, judged: Counts | None) -> dict[str, float]:
    """The counters of right and wrong outcomes; none was taken back."""
    assert judged is not None
    verdicts = {"right": judged.correct, "wrong": judged.judged - judged.correct}
    return {
        f'{family}_total{{{_NAMES % deployment}, verdict="{verdict}", pod="a"}}': n
        for verdict, items in verdicts.items()
        for family, n in (("model_outcomes", items), ("model_outcomes_retracted", 0))
    }


_NAMES = 'deployment_namespace="simulation", deployment="%s", predictor="default", model="model"'
#: Views of which the rules want to see that they are published.
_VIEWS = (("24h", "request"), ("7d", "request"), ("24h", "feedback"), ("all", "feedback"))
_SECONDS: Mapping[str, int] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
_OWN_LABELS = {family.name: family.labels for family in FAMILIES}


def _series(labels: tuple[str, ...], sample: Sample) -> str:
    """The series of a sample, as Prometheus writes it."""
    own = zip(_OWN_LABELS[sample.family], sample.labels, strict=False)
    pairs = [*zip(LABELS, labels, strict=False), *own, ("pod", "a")]
    return sample.family + "{" + ", ".join(f'{name}="{value}"' for name, value in pairs) + "}"


def first_fired(
    promtool: str,
    series: Series,
    folder: Path,
    step: int = 1,
    rules: str | None = None,
    counters: Series | None = None,
) -> dict[str, float]:
    """Return each alert that fires on some series, with the time at which it first does so, in days
    since the first sample. ``rules`` are those of the repository, or else their text; ``counters`` have
    a value for every half hour, since rates need two in an hour."""
    found = fired_by_deployment(promtool, series, folder, step, rules, counters)
    return {alert: min(each.values()) for alert, each in found.items()}


def fired_by_deployment(
    promtool: str,
    series: Series,
    folder: Path,
    step: int = 1,
    rules: str | None = None,
    counters: Series | None = None,
) -> dict[str, dict[str, float]]:
    """Return what `first_fired` does for each deployment; "" stands for alerts of none."""
    (folder / "rules.yml").write_text(rules or RULES.read_text(encoding="utf-8"), encoding="utf-8")
    groups = re.findall(
        r"^  - name: (\S+)", (folder / "rules.yml").read_text("utf-8"), re.MULTILINE
    )
    test = _test(series, step, counters or {}, groups)
    (folder / "test.yml").write_text("\n".join(test), encoding="utf-8")
    run = subprocess.run(
        [promtool, "test", "rules", "test.yml"], cwd=folder, capture_output=True, text=True
    )
    said = run.stdout + run.stderr
    # The test expects that no alert fires; of one that does, promtool says what it got instead.
    found: dict[str, dict[str, float]] = {}
    for alert, deployment, seconds in re.findall(
        r'\{alertname="(\w+)"(?:, deployment="([^"]*)")?\} ([\d.eE+]+)', said
    ):
        found.setdefault(alert, {})[deployment] = float(seconds) / DAY
    assert found or run.returncode == 0, said
    return found


def _test(series: Series, step: int, counters: Series, groups: list[str]) -> Iterator[str]:
    hours = [len(values) * step for values in series.values()]
    length = max(hours + [len(values) // 2 for values in counters.values()])
    every = _LONG_INTERVAL if step > 2 and not counters else _INTERVAL
    interval = every // 2 if counters else every
    yield "rule_files: [rules.yml]"
    yield f"evaluation_interval: {every}m"
    # Else promtool takes any order, and what one group records is too old for another an hour later.
    yield f"group_eval_order: [{', '.join(groups)}]"
    yield "tests:"
    yield f"  - interval: {interval}m"
    yield "    input_series:"
    samples = step * 60 // interval
    yield "      - series: processor_build_info"
    yield f"        values: 1x{length * 60 // interval}"
    for key, values in counters.items():
        yield f"      - series: {key}"
        yield f"        values: {' '.join('_' if value is None else str(value) for value in values)}"
    for key, values in series.items():
        text = " ".join(
            f"_x{samples}" if value is None else f"{value:.9g}x{samples - 1}" for value in values
        )
        yield f"      - series: {key}"
        yield f"        values: {text}"
    yield "    promql_expr_test:"
    # One question for each deployment: promtool refuses to read many samples for one.
    for name in sorted({"", *re.findall(r'deployment="([^"]*)"', " ".join(series))}):
        firing = f'ALERTS{{alertstate="firing", deployment="{name}"}}'
        times = f"min_over_time(timestamp({firing})[{length}h:{every}m])"
        yield f"      - expr: min by (alertname, deployment) ({times})"
        yield f"        eval_time: {length}h"
        yield "        exp_samples: []"
