"""The nowcast against a computation over the single events, written anew from counting rule 30."""

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def by_events(events: Sequence[Event], now: float, hours: int, maturity: float) -> Expected:
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
        found = 0.0
        for event in sample:
            start = max([0, *(end for end in ENDS if end < event.delay)])
            ends = [end for end in ENDS if end >= event.delay]
            if limit > ENDS[-1]:
                found += 1
            elif ends and limit > start:
                found += min(1.0, (limit - start) / (ends[0] - start))
        return found / len(sample)

    end = math.floor(now / _HOUR)
    window = [event for event in seen if end - hours < hour(event) <= end]
    labels = sorted({event.predicted for event in window})
    in_window = judged.intersection(window)
    cells = sorted({(event.actual or "", event.predicted) for event in in_window})
    mature = [event for event in seen if is_mature(event)]
    old = [e for e in judged if is_mature(e)]
    sample = {cell: [e for e in old if e[1:3] == cell[::-1]] for cell in cells}
    by_label = {p: [e for e in old if e.predicted == p] for p in labels}
    rate = {p: len(by_label[p]) / sum(e.predicted == p for e in mature) for p in labels}
    ages = sorted({hour(event) for event in window})

    @cache
    def shares(cell: tuple[str, str]) -> dict[int, float]:
        return {h: share(sample[cell], age(h)) for h in ages}

    def estimate(cell: tuple[str, str], which: int | None) -> float:
        result = 0.0
        for day in sorted({math.floor(age(h) / _DAY) for h in ages}):
            if which is not None and day != which:
                continue
            of_day = [h for h in ages if math.floor(age(h) / _DAY) == day]
            in_day = [e for e in window if hour(e) in of_day and e.predicted == cell[1]]
            observed = sum(e in judged and e.actual == cell[0] for e in in_day)
            if observed:
                mean = sum(shares(cell)[hour(e)] for e in in_day) / len(in_day)
                result += observed / mean
        return result

    est = {cell: estimate(cell, None) for cell in cells}
    last = {cell: estimate(cell, 0) for cell in cells}
    count = {p: sum(e.predicted == p for e in window) for p in labels}
    today = {p: sum(e.predicted == p and age(hour(e)) < _DAY for e in window) for p in labels}
    fit = sum(sum(last[c] for c in cells if c[1] == p) / rate[p] for p in labels)
    fit /= sum(today.values())
    known = [p for p in labels if any(c[1] == p for c in cells)]
    whole = sum(count[p] for p in known)
    accuracy = variance = 0.0
    for p in known:
        own = {c: est[c] / sum(est[d] for d in cells if d[1] == p) for c in cells if c[1] == p}
        right = own.get((p, p), 0.0)
        accuracy += count[p] / whole * right
        for c, part in own.items():
            observed = sum(e.actual == c[0] and e.predicted == p for e in in_window)
            e = observed / est[c]
            relative = max(0.0, 1 - e * rate[p]) / observed
            relative += max(0.0, (1 - e) / (e * len(sample[c])))
            slope = count[p] / whole * right * ((c[0] == p) - part)
            variance += slope**2 * relative
    half = 1.959963984540054 * math.sqrt(variance)
    due_at = {(p, h): rate[p] * share(by_label[p], age(h)) for p in labels for h in ages}
    due = sum(due_at[e.predicted, hour(e)] for e in window)
    return Expected(accuracy, max(0.0, accuracy - half), min(1.0, accuracy + half), fit, due)


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
@given(seed=st.integers(0, 10**6), moment=st.integers(90 * _HOUR, 110 * _HOUR))
def test_it_is_that_of_the_events(hours: int, seed: int, moment: int) -> None:
    events = world(seed)
    now, maturity = float(moment), 36.0 * _HOUR
    cohorts = tables(events, now)
    end, first = hour_of(now), first_immature(now, maturity)
    mature = Cohort()
    for hour, cohort in cohorts.items():
        if hour < first:
            mature.add(cohort)
    window = {hour: cohort for hour, cohort in cohorts.items() if end - hours < hour <= end}
    found = nowcast(window, Delays(mature), now)
    if found.withheld is not None:
        return
    expected = by_events(events, now, hours, maturity)
    assert found.accuracy == pytest.approx(expected.accuracy, abs=1e-9)
    assert found.accuracy_low == pytest.approx(expected.low, abs=1e-9)
    assert found.accuracy_high == pytest.approx(expected.high, abs=1e-9)
    assert found.expected_judged == pytest.approx(expected.expected, abs=1e-9)
    if found.fit is not None and hours <= 24:
        assert found.fit == pytest.approx(expected.fit, abs=1e-9)


def test_a_prediction_of_the_future_is_not_mature() -> None:
    """A clock that runs ahead says nothing about delays."""
    future = Cohort()
    future.add_predicted("a", 100)
    future.add_judged(Cell("a", "a"), 0, 100)
    estimator = Estimator([(1000, future)], future, 900.0 * _HOUR, float(_DAY))
    assert not estimator.delays.are_known
