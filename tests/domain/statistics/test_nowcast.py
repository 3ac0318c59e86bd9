"""The nowcast against a computation over the single events, written anew from counting rule 30."""

import math
import random
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]
from scipy.optimize import brentq  # type: ignore[import-untyped]

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays
from processor.domain.statistics.delays import (
    ENDS,
    UNKNOWN,
    Cohort,
    bucket_of,
    cohort_of,
    contribute,
    contribute_prediction,
)
from processor.domain.statistics.label_days import USUAL_LEVEL, Level, recent_level
from processor.domain.statistics.nowcast import (
    first_immature,
    hour_of,
    nowcast,
)
from processor.domain.statistics.sums import Sums
from processor.domain.tally.estimates import Estimator
from processor.domain.timestamps import SECOND

_HOUR, _DAY = 3600, 86_400


class Event(NamedTuple):
    """A prediction at a time (s), and its judgement, if there is one: actual label and delay (s)."""

    time: float
    predicted: str
    actual: str | None
    delay: float


def tables(events: Sequence[Event], now: float) -> dict[int, Cohort]:
    """The cohorts by hour of all that is known at ``now``, by the sums of the family."""
    sums: dict[int, Sums] = {}
    for event in events:
        if event.time > now:
            continue
        of_hour = sums.setdefault(hour_of(event.time), {})
        contribute_prediction(event.predicted, of_hour)
        if event.actual is not None and event.time + event.delay <= now:
            bucket = bucket_of(round(event.delay * SECOND))
            contribute(Cell(event.actual, event.predicted), bucket, of_hour)
    return {hour: cohort_of(of_hour) for hour, of_hour in sums.items()}


class Expected(NamedTuple):
    """What the rule gives, event by event."""

    accuracy: float
    low: float
    high: float
    fit: float
    expected: float


Amounts = dict[tuple[str, str], float]


class Labels(NamedTuple):
    """How many labels of a day are due, of which share of its predictions, and the variance of their
    logarithm."""

    due: float
    rate: float
    variance: float


def right_share(
    label: str, observed: Amounts, final: Amounts, labels: Labels, shift: float = 0.0
) -> float:
    """The share of right outcomes, where `shift` is the logarithm of the usual number of labels."""

    def share(cell: tuple[str, str], log_scale: float) -> float:
        multiplier = (log_scale - shift) / labels.variance
        chance = labels.rate * math.exp(log_scale) * observed[cell] / final[cell]
        divisor = labels.due / labels.rate * chance + (1 - chance) * multiplier
        return observed[cell] / divisor if divisor > 0 else math.inf

    def excess(log_scale: float) -> float:
        return min(1e9, sum(share(cell, log_scale) for cell in observed)) - 1

    highest = min(2, labels.variance * labels.due / labels.rate + shift)
    found = brentq(excess, -2, highest, xtol=1e-15, rtol=1e-15)
    return share((label, label), found) if (label, label) in observed else 0.0


def by_events(
    events: Sequence[Event], now: float, hours: int, maturity: float, level: Level
) -> Expected:
    """The nowcast by the text of rule 30, in sums over events."""
    seen = [event for event in events if event.time <= now]
    judged = {
        event for event in seen if event.actual is not None and event.time + event.delay <= now
    }

    def hour(event: Event) -> int:
        return math.floor(event.time / _HOUR)

    def age(of_hour: int) -> float:
        return max(0.0, now - of_hour * _HOUR - _HOUR / 2)

    def is_mature(event: Event) -> bool:
        return (hour(event) + 1) * _HOUR <= now - maturity

    def share(sample: Sequence[Event], limit: float) -> float:
        if limit > ENDS[-1]:
            return 1.0
        counts = [sum(e.delay <= end for e in sample) / len(sample) for end in ENDS]
        if limit <= ENDS[0]:
            return limit / ENDS[0] * counts[0]
        logs = [math.log(end) for end in ENDS]
        # Flat at both ends.
        knots = [logs[0] - 1, *logs, logs[-1] + 1]
        curve = PchipInterpolator(knots, [counts[0], *counts, counts[-1]])
        return float(curve(math.log(limit)))

    end = math.floor(now / _HOUR)
    window = [event for event in seen if end - hours < hour(event) <= end]
    labels = sorted({event.predicted for event in window})
    in_window = judged.intersection(window)
    mature = [event for event in seen if is_mature(event)]
    old = [e for e in judged if is_mature(e)]
    cells = sorted(
        {(e.actual or "", e.predicted) for e in {*in_window, *old} if e.predicted in labels}
    )
    sample = {cell: [e for e in old if e[1:3] == cell[::-1]] for cell in cells}
    by_label = {p: [e for e in old if e.predicted == p] for p in labels}
    rate = {p: len(by_label[p]) / sum(e.predicted == p for e in mature) for p in labels}
    ages = sorted({hour(event) for event in window})

    @cache
    def shares(cell: tuple[str, str]) -> dict[int, float]:
        return {h: share(sample[cell], age(h)) for h in ages}

    def mean_share(cell: tuple[str, str], items: Sequence[Event]) -> float:
        """The mean share that is in."""
        return sum(shares(cell)[hour(e)] for e in items) / len(items)

    days = sorted({math.floor(age(h) / _DAY) for h in ages})

    def of_day(day: int, label: str) -> list[Event]:
        return [
            e for e in window if e.predicted == label and math.floor(age(hour(e)) / _DAY) == day
        ]

    def parts(cell: tuple[str, str], day: int) -> list[tuple[float, float]]:
        """Judged items and `mean_share` of a day, if there are any."""
        items = of_day(day, cell[1])
        observed = sum(e in judged and e.actual == cell[0] for e in items)
        return [(float(observed), mean_share(cell, items))] if observed else []

    last = {cell: sum(o / e for o, e in parts(cell, 0)) for cell in cells}
    count = {p: sum(e.predicted == p for e in window) for p in labels}
    fit = sum(sum(last[c] for c in cells if c[1] == p) / rate[p] for p in labels)
    fit /= sum(len(of_day(0, p)) for p in labels)
    accuracy = variance = 0.0
    of_sample: Amounts = {}
    of_due: dict[str, float] = {}
    known = {p: sum(len(of_day(day, p)) for day in days) for p in labels}
    for p, day in product(labels, days):
        items = of_day(day, p)
        if not items:
            continue
        usual = min(1.0, rate[p] * level.ratio)
        due = len(items) * usual
        own = {c: parts(c, day) for c in cells if c[1] == p}
        missing = max(0.0, 1 - sum(o for each in own.values() for o, _ in each) / due)
        mean = {c: mean_share(c, items) for c in own}
        whole = sum(len(sample[c]) * mean[c] for c in own)
        for c in own:
            if missing and mean[c]:
                own[c].append((missing * len(sample[c]) * mean[c] / whole, mean[c]))
                due += missing * len(sample[c]) / whole
        own = {c: each for c, each in own.items() if each}
        observed = {c: sum(o for o, _ in each) for c, each in own.items()}
        final = {c: sum(o / e for o, e in each) for c, each in own.items()}
        due_labels = Labels(due, usual, level.variance)
        part = count[p] / len(window) * len(items) / known[p]
        accuracy += part * right_share(p, observed, final, due_labels)
        step = 1e-5

        def slope(
            cell: Cell | None,
            change: float,
            p: str = p,
            observed: Amounts = observed,
            final: Amounts = final,
            due_labels: Labels = due_labels,
        ) -> float:
            """The share of right ones after a relative change of a cell, or of the labels due."""
            if cell is None:
                return right_share(p, observed, final, due_labels, change)
            moved = {c: n * (1 + change * (c == cell)) for c, n in observed.items()}
            shifted = {c: n * (1 + change * (c == cell)) for c, n in final.items()}
            return right_share(p, moved, shifted, due_labels)

        for c, each in own.items():
            found = part * (slope(Cell(*c), step) - slope(Cell(*c), -step)) / (2 * step)
            relative = sum(max(0.0, 1 - e * rate[p]) * o / e**2 for o, e in each) / final[c] ** 2
            variance += found**2 * relative
            error = sum(o / e * math.sqrt(max(0.0, 1 - e) / e) for o, e in each) / final[c]
            of_sample[c] = of_sample.get(c, 0.0) + found * error / math.sqrt(len(sample[c]))
        found = part * (slope(None, step) - slope(None, -step)) / (2 * step)
        of_due[p] = of_due.get(p, 0.0) + found * math.sqrt(level.variance)
    variance += sum(error**2 for error in (*of_sample.values(), *of_due.values()))
    half = 1.959963984540054 * math.sqrt(variance)
    usual_at = {(p, h): rate[p] * share(by_label[p], age(h)) for p in labels for h in ages}
    expected = sum(usual_at[e.predicted, hour(e)] for e in window)
    low, high = max(0.0, accuracy - half), min(1.0, accuracy + half)
    return Expected(accuracy, low, high, fit, expected)


def world(seed: int, labels: Sequence[str] = ("a", "b")) -> list[Event]:
    """A hundred hours of predictions, ten an hour, nearly all judged within two days: wrong ones
    sooner."""
    source = random.Random(seed)
    events = []
    for number in range(400):
        predicted, actual = source.choice(labels), source.choice([*labels, labels[0], UNKNOWN])
        if source.random() < 0.6:
            actual = predicted
        delay = source.expovariate(1 / (36_000 if actual == predicted else 9_000))
        is_judged = source.random() < 0.8
        events.append(
            Event(number * 900.0, predicted, actual if is_judged else None, round(delay, 3))
        )
    return events


@pytest.mark.parametrize("hours", [6, 24, 48])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    moment=st.integers(90 * _HOUR, 110 * _HOUR),
    level=st.builds(Level, st.floats(0.7, 1.2), st.floats(1e-4, 1e-2)),
)
def test_it_is_that_of_the_events(hours: int, seed: int, moment: int, level: Level) -> None:
    events = world(seed)
    now, maturity = float(moment), 36.0 * _HOUR
    cohorts = tables(events, now)
    end, first = hour_of(now), first_immature(now, maturity)
    mature = Cohort()
    for hour, cohort in cohorts.items():
        if hour < first:
            mature.add(cohort)
    window = {hour: cohort for hour, cohort in cohorts.items() if end - hours < hour <= end}
    found = nowcast(window, Delays({0: mature}), now, level=level)
    if found.withheld is not None:
        return
    expected = by_events(events, now, hours, maturity, level)
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-9)
    assert found.accuracy_low == pytest.approx(expected.low, abs=1e-6)
    assert found.accuracy_high == pytest.approx(expected.high, abs=1e-6)
    assert found.expected_judged == pytest.approx(expected.expected, abs=1e-9)
    if found.fit is not None and hours <= 24:
        assert found.fit == pytest.approx(expected.fit, abs=1e-9)


def test_the_level_is_that_of_recent_days() -> None:
    """Half of the labels do not come any more: 9 in 10 of all did, in halves after 6 and 30 h."""
    old, hours = Cohort(), {}
    old.add_predicted("a", 1000)
    old.add_judged(Cell("a", "a"), ENDS.index(6 * _HOUR), 450)
    old.add_judged(Cell("b", "a"), ENDS.index(36 * _HOUR), 450)
    delays = Delays({0: old})
    for day, right in enumerate((40, 40, 50, 45)):
        hours[24 * day] = cohort = Cohort()
        cohort.add_predicted("a", 200)
        cohort.add_judged(Cell("a", "a"), ENDS.index(6 * _HOUR), right)
        cohort.add_judged(Cell("b", "a"), ENDS.index(36 * _HOUR), 45 if day < 3 else 0)
    now = 24.0 * _HOUR * 4 - _HOUR
    found = recent_level(hours, delays, now)
    # The last day is not over.
    ratios = [(right + 45) / 180 for right in (40, 40, 50)]
    mean = sum(ratios) / 3
    assert found.ratio == pytest.approx(mean, abs=1e-12)
    spread = sum((each / mean - 1) ** 2 for each in ratios) / 3 * 4 / 2
    assert found.variance == pytest.approx(spread, rel=1e-9)
    assert recent_level({0: hours[0], 24: hours[24]}, delays, now) == USUAL_LEVEL
    for cohort in hours.values():
        cohort.judged.clear()
    assert recent_level(hours, delays, now) == USUAL_LEVEL


def test_a_prediction_of_the_future_is_not_mature() -> None:
    """A clock that runs ahead says nothing about delays."""
    future = Cohort()
    future.add_predicted("a", 100)
    future.add_judged(Cell("a", "a"), 0, 100)
    estimator = Estimator([(1000, future)], future, 900.0 * _HOUR, float(_DAY))
    assert not estimator.delays.are_known
