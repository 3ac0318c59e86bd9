"""The nowcast of a replay is that of the live service, and what one would have said at the time."""

from datetime import datetime
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.late_labels.__main__ import table
from examples.late_labels.world import START, World
from processor import evaluate
from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch
from processor.domain.log.observations import Feedback, Prediction
from processor.domain.model_rules import ModelRules
from processor.domain.statistics.error_delays import number_cohort_of
from processor.domain.tally.estimates import Estimates, Estimator
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import parse_window
from processor.domain.timestamps import HOUR, SECOND
from processor.replay.estimates import NO_TIMES
from processor.replay.fold import ReplayFold
from processor.replay.selection import Selection
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, MODEL, feedback, pack, prediction
from tests.support.domain.join_model import unpacked
from tests.support.domain.late_numbers import NumberEvents, number_observations

Observation = Prediction | Feedback
DAY = 24 * HOUR
MATURITY = 7 * 86_400
BEGIN = int(START.timestamp()) * SECOND


@cache
def observations(days: int, per_day: int) -> tuple[Observation, ...]:
    """The events of a simulated model, in the order of their times."""
    found: list[Observation] = []
    for row in World(days=days, per_day=per_day).rows(1):
        found.append(prediction(row["request_id"], row["prediction"], nanoseconds(row["time"])))
        if "actual" in row:
            time = nanoseconds(row["feedback_time"])
            found.append(feedback(row["request_id"], row["actual"], time))
    return tuple(sorted(found, key=lambda one: one.time))


def nanoseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1e6) * 1000


def live(seen: list[Observation], now: int, window: int, numbers: bool = False) -> Estimates:
    """The estimates of the live service at ``now`` for the last ``window`` seconds."""
    join, tally = JoinFold(LOG_ID, 0, 1, None, Telemetry()), None
    for offset in range(0, len(seen), 500):
        some = seen[offset : offset + 500]
        for batch in unpacked(join.apply(offset, now, pack(*some))).values():
            tally = tally or new_tally(batch)
            tally.apply(offset, now, batch)
    assert tally is not None
    ((key, cohorts),) = tally.cohorts()
    assert key == MODEL
    hours, whole = list(cohorts.hours()), cohorts.whole()
    if numbers:
        hours = [(hour, number_cohort_of(each.delays)) for hour, each in cohorts.by_hour.items()]
        whole = cohorts.whole_numbers()
    return Estimator(hours, whole, now / SECOND, MATURITY, numbers).of_window(window)


def new_tally(batch: DeltaBatch) -> Tally:
    return Tally(batch.version, LOG_ID, (parse_window("24h"), parse_window("all")))


def replayed(seen: list[Observation], selection: Selection) -> Estimates:
    fold = ReplayFold(ModelRules(), selection)
    for one in seen:
        fold.observe(one)
    return fold.estimates(MATURITY)[MODEL].estimates


def window(now: int, hours: int) -> Selection:
    """The whole hours of a live window that ends at ``now``."""
    end = (now // HOUR + 1) * HOUR
    return Selection(start=end - hours * HOUR, end=end, as_of=now)


@pytest.mark.parametrize("hours", [1, 24, 7 * 24])
def test_live_equals_replay(hours: int) -> None:
    now = BEGIN + 14 * DAY + 5 * HOUR + 1234 * SECOND
    seen = [one for one in observations(16, 300) if one.time <= now]
    found = live(seen, now, hours * 3600)
    assert replayed(seen, window(now, hours)) == found
    assert found.drift is not None
    assert found.drift_of_week is not None
    assert (found.nowcast.accuracy is None) == (hours == 1)
    assert found.hindcast[-1].cohorts == 7


@pytest.mark.parametrize("hours", [24, 7 * 24])
def test_live_equals_replay_for_numbers(hours: int) -> None:
    events, elapsed = NumberEvents(seed=8, days=15, per_day=400), 14 * DAY + 5 * HOUR
    now = BEGIN + elapsed
    seen = number_observations(events, BEGIN, elapsed / SECOND)
    found = live(seen, now, hours * 3600, numbers=True)
    assert replayed(seen, window(now, hours)) == found
    assert found.nowcast.mae is not None
    assert found.nowcast.accuracy is not None


def test_all_time_equals_replay() -> None:
    now = BEGIN + 14 * DAY
    seen = [one for one in observations(16, 300) if one.time <= now]
    assert replayed(seen, Selection(as_of=now)) == live(seen, now, 0)


def test_as_of_is_what_one_would_have_said() -> None:
    everything = observations(16, 300)
    then = [one for one in everything if one.time <= BEGIN + 13 * DAY]
    now = then[-1].time
    late = window(now, 24)
    found = replayed(list(everything), late)
    assert found == replayed(then, late._replace(as_of=None))
    assert (
        found.nowcast.judged < replayed(list(everything), late._replace(as_of=None)).nowcast.judged
    )


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(random: Random) -> None:
    now = BEGIN + 11 * DAY
    seen = [one for one in observations(12, 60) if one.time <= now]
    again = [*seen, *random.sample(seen, 50)]
    random.shuffle(again)
    selection = window(now, 48)
    assert replayed(again, selection) == replayed(seen, selection)
    assert live(again, now, 48 * 3600) == live(seen, now, 48 * 3600)


def test_rows_without_times_have_no_nowcast() -> None:
    rows = [{"prediction": "a", "actual": "a", "time": f"2026-03-{day:02}"} for day in range(1, 31)]
    (model,) = evaluate(rows).models
    assert model.nowcast is not None
    assert model.nowcast.withheld == NO_TIMES
    assert evaluate(rows, by="feedback").models[0].nowcast is None
    numbers = [{"prediction": 1.5, "actual": 1.25}]
    (model,) = evaluate(numbers).models
    assert model.nowcast is not None
    assert (model.nowcast.withheld, model.nowcast.mae) == (NO_TIMES, None)


def test_the_example() -> None:
    """With traffic times three, the nowcast alone is near the truth."""
    head, row = table(World(days=18, per_day=250, surge=17), shown=1)
    found = dict(zip(head, row, strict=True))
    truth, by_request, by_feedback, nowcast = (
        float(found[name]) for name in ("truth", "by request", "by feedback", "nowcast")
    )
    low, high = map(float, found["95 % interval"].split(" to "))
    assert low < truth < high
    assert abs(nowcast - truth) < 5 < truth - by_feedback < truth - by_request
