"""The counts of delays that a tally gives, of events that went through the join."""

from random import Random

import pytest

from processor.domain.join.fold import JoinFold
from processor.domain.statistics.delays import Cohort, total
from processor.domain.tally.estimates import Estimator
from processor.domain.tally.tally import Tally
from processor.domain.timestamps import SECOND
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, MODEL, feedback, pack, prediction
from tests.support.domain.join_model import Observation, unpacked
from tests.support.domain.tally_model import VERSION, WINDOWS
from tests.support.late_worlds import DAY, HOUR, Events, World

START = 20_000 * DAY
END = START + 6 * DAY - 60


def as_numbers(cohort: Cohort) -> tuple[dict[str, int], dict[tuple[str, str], list[int]]]:
    """The counts that are not 0."""
    predicted = {label: items for label, items in cohort.predicted.items() if items}
    return predicted, {cell: delays for cell, delays in cohort.judged.items() if any(delays)}


def folded(events: Events, seed: int) -> Tally:
    """The tally of all that is known at `END`; events come in any order, and some of them twice."""
    seen: list[Observation] = []
    for number, (at, delay) in enumerate(zip(events.time, events.delay, strict=True)):
        time, name = START + float(at), f"r{number}"
        feedback_at = time + float(delay)
        if time < END:
            seen.append(prediction(name, str(events.predicted[number]), int(time * SECOND)))
        if events.labelled[number] and feedback_at <= END:
            seen.append(feedback(name, str(events.actual[number]), int(feedback_at * SECOND)))
    random = Random(seed)
    seen += random.sample(seen, len(seen) // 10)
    random.shuffle(seen)
    fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
    tally = Tally(VERSION, LOG_ID, WINDOWS)
    now = int(END * SECOND)
    for offset, first in enumerate(range(0, len(seen), 500)):
        deltas = fold.apply(offset, now, pack(*seen[first : first + 500]))
        for batch in unpacked(deltas).values():
            assert tally.apply(offset, now, batch)
    return tally


@pytest.mark.parametrize("classes", [2, 3])
def test_cohorts_are_those_of_the_events(classes: int) -> None:
    events = Events(World(days=6, per_day=500, classes=classes), seed=classes)
    expected = {
        START // HOUR + hour: cohort for hour, cohort in events.cohorts(END - START).items()
    }
    [(key, cohorts)] = folded(events, seed=1).cohorts()
    assert key == MODEL
    found = dict(cohorts.hours())
    assert found.keys() == expected.keys()
    for hour, cohort in found.items():
        assert as_numbers(cohort) == as_numbers(expected[hour])
    assert as_numbers(cohorts.whole()) == as_numbers(total(expected.values()))
    ours = Estimator(found.items(), cohorts.whole(), END, 3 * DAY)
    theirs = Estimator(expected.items(), total(expected.values()), END, 3 * DAY)
    for window in (DAY, 0):
        nowcast, reference = ours.of_window(window).nowcast, theirs.of_window(window).nowcast
        assert nowcast.accuracy == pytest.approx(reference.accuracy)
        assert (nowcast.judged, nowcast.predicted) == (reference.judged, reference.predicted)
        assert nowcast.withheld == reference.withheld
    assert ours.of_window(0).nowcast.accuracy is not None
