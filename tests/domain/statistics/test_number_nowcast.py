"""The nowcast of numbers by class of the error, in simulated worlds and in the limit."""

from random import Random

import pytest

from processor.domain.join.fold import JoinFold
from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays
from processor.domain.statistics.delays import ENDS, Cohort, bucket_of, total
from processor.domain.statistics.error_delays import (
    NO_TOLERANCE,
    WITHIN,
    MeasuredItem,
    add_measured,
    class_of,
    largest_of,
    number_cohort_of,
    verdict_of,
)
from processor.domain.statistics.nowcast import nowcast
from processor.domain.tally.estimates import Estimator, put_together
from processor.domain.tally.tally import Tally
from processor.domain.timestamps import SECOND
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, pack
from tests.support.domain.join_model import unpacked
from tests.support.domain.late_numbers import NumberEvents, number_observations
from tests.support.domain.tally_model import VERSION, WINDOWS
from tests.support.late_worlds import DAY, HOUR

MATURITY = 7 * DAY


def estimator(hours: dict[int, Cohort], now: float) -> Estimator:
    return Estimator(hours.items(), total(hours.values()), now, MATURITY, numbers=True)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000, 2**60])
def test_a_class_holds_errors_of_a_factor_of_two(size: int) -> None:
    for within, verdict in ((None, NO_TOLERANCE), (True, WITHIN)):
        found = class_of(size, within)
        assert verdict_of(found) == verdict
        assert size <= largest_of(found) <= 2 * size
    assert class_of(2 * size + 1, None) > class_of(size, None)


def test_it_is_the_error_itself_once_all_truths_are_in() -> None:
    random = Random(3)
    cohort, sizes, within = Cohort(), [], 0
    for _ in range(400):
        size = int(random.lognormvariate(10, 2))
        is_within = size < 30_000
        sizes.append(size)
        within += is_within
        cohort.add_predicted("-2", 1)
        item = MeasuredItem("-2", class_of(size, is_within), size)
        add_measured(cohort, item, bucket_of(random.randrange(DAY) * SECOND))
    found = nowcast(
        {0: cohort}, Delays({0: cohort}, numbers=True), (ENDS[-1] + 2.0) * 2, numbers=True
    )
    assert found.withheld is None
    assert found.mae == pytest.approx(sum(sizes) / 400 / 100)
    assert found.accuracy == pytest.approx(within / 400)
    assert found.fit == pytest.approx(1)
    assert found.cells == {}


def test_rare_errors_take_the_delays_of_errors_of_their_size() -> None:
    cohort = Cohort()
    for digits, bucket, items in ((4, 2, 40), (10, 8, 20), (11, 9, 25), (20, 15, 100)):
        add_measured(cohort, MeasuredItem("", class_of(1 << digits - 1, None), 1), bucket, items)
    cohort.add_predicted("", 200)
    delays = Delays({0: cohort}, numbers=True)

    def shares(digits: int) -> list[float]:
        found = delays.of_cell(Cell(str(class_of(1 << digits - 1, None)), ""))
        return [found.share(ENDS[bucket]) for bucket in (2, 8, 9, 15)]

    assert shares(4) == [1, 1, 1, 1]  # enough items of its own
    assert shares(10) == [0, 20 / 45, 1, 1]  # with the nearest ones
    assert shares(13) == [0, 20 / 45, 1, 1]  # none of its own
    assert shares(30) == [0, 0, 0, 1]
    assert delays.items()[Cell(str(class_of(512, None)), "")] == 20


def test_numbers_without_a_tolerance_have_no_accuracy() -> None:
    cohort = Cohort()
    cohort.add_predicted("", 50)
    add_measured(cohort, MeasuredItem("", class_of(8, None), 8), 3, 50)
    found = nowcast(
        {0: cohort}, Delays({0: cohort}, numbers=True), (ENDS[-1] + 2.0) * 2, numbers=True
    )
    assert (found.accuracy, found.accuracy_low, found.accuracy_high) == (None, None, None)
    assert found.mae == pytest.approx(8e-6)


def test_truths_of_large_errors_that_come_first() -> None:
    """The seed was not chosen after a look."""
    events, held, errors = NumberEvents(seed=1, per_day=1500), 0, []
    moments = [day * DAY + 11.5 * HOUR for day in range(16, 31)]
    for now in moments:
        truth, share = events.truth(now - DAY, now)
        assert events.so_far(now - DAY, now) > 1.5 * truth
        found = estimator(events.cohorts(now), now).of_window(DAY).nowcast
        assert found.withheld is None
        assert found.accuracy is not None
        assert found.mae is not None
        assert found.mae_low is not None
        assert found.mae_high is not None
        assert abs(found.accuracy - share) < 0.06
        errors.append(found.mae / truth - 1)
        held += found.mae_low <= truth <= found.mae_high
    assert abs(sum(errors)) / len(errors) < 0.04
    assert max(map(abs, errors)) < 0.15
    assert held >= len(moments) - 2


def test_errors_twice_as_large_and_slower_truths() -> None:
    now = 24.0 * DAY - 1
    larger = NumberEvents(seed=2, days=25, per_day=1500, drop=22)
    found = estimator(larger.cohorts(now), now).of_window(DAY).nowcast
    truth, _ = larger.truth(now - DAY, now)
    assert truth > 1.8 * larger.truth(0, 22 * DAY)[0]
    assert found.mae == pytest.approx(truth, rel=0.15)
    slower = NumberEvents(seed=2, days=25, per_day=1500, slow=22)
    found = estimator(slower.cohorts(now), now).of_window(DAY).nowcast
    assert found.withheld == "the pace of labels has changed"
    assert (found.mae, found.accuracy) == (None, None)


def test_the_hindcast_is_in_parts_of_the_final_error() -> None:
    now = 30.0 * DAY
    events = NumberEvents(seed=4, per_day=1500)
    for past in estimator(events.cohorts(now), now).of_window(DAY).hindcast:
        if past.age in ("1d", "3d"):
            assert past.cohorts > 15
            assert past.mean_error is not None
            assert past.coverage is not None
            assert abs(past.mean_error) < 0.05
            assert past.coverage > 0.8


@pytest.mark.parametrize("is_native", [True, False])
def test_cohorts_of_the_tally_are_those_of_the_events(
    is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_native:
        monkeypatch.setattr("processor.domain.join.fold.use_native", False)
        monkeypatch.setattr("processor.domain.join.requests.table.use_native", False)
    events, start, now = NumberEvents(seed=5, days=5, per_day=300), 20_000 * DAY, 4.9 * DAY
    seen = number_observations(events, start * SECOND, now)
    fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
    tally, at = Tally(VERSION, LOG_ID, WINDOWS), round((start + now) * SECOND)
    for offset, first in enumerate(range(0, len(seen), 400)):
        for batch in unpacked(fold.apply(offset, at, pack(*seen[first : first + 400]))).values():
            assert tally.apply(offset, at, batch)
    [(_, cohorts)] = tally.cohorts()
    expected = {start // HOUR + hour: each for hour, each in events.cohorts(now).items()}
    found = {hour: number_cohort_of(counts.delays) for hour, counts in cohorts.by_hour.items()}
    assert found.keys() == expected.keys()
    for hour, cohort in found.items():
        assert cohort.predicted == expected[hour].predicted
        assert cohort.judged == expected[hour].judged
        assert cohort.sizes == expected[hour].sizes
    whole = cohorts.whole_numbers()
    assert whole.sizes == total(expected.values()).sizes
    assert cohorts.whole().is_empty()


def test_labels_and_numbers_of_one_model() -> None:
    now = 12.0 * DAY - 60
    numbers = estimator(NumberEvents(seed=6, days=12, per_day=600).cohorts(now), now)
    of_numbers = numbers.of_window(DAY)
    labels = Cohort()
    labels.add_predicted("x", 40)
    labels.add_judged(Cell("x", "x"), 0, 30)
    of_labels = Estimator([(0, labels)], labels, now, MATURITY).of_window(0)
    both = put_together(of_labels, of_numbers).nowcast
    assert both.mae == of_numbers.nowcast.mae
    assert both.accuracy == of_labels.nowcast.accuracy
    assert both.predicted == of_numbers.nowcast.predicted + 40
    assert both.judged == of_numbers.nowcast.judged + 30
