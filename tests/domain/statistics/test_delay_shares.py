"""The delays of mature predictions of which some are too young for the longest ones."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr  # type: ignore[import-untyped]

from processor.domain.statistics.counts import Cell
from processor.domain.statistics.delay_shares import Delays, completed, reached
from processor.domain.statistics.delays import BUCKETS, ENDS, Cohort, total
from processor.domain.tally.estimates import Estimator
from tests.support.late_worlds import DAY, Events, World

_CELL, _NOW = Cell("a", "a"), 30.0 * DAY
_delays = st.lists(st.integers(0, 40), min_size=BUCKETS, max_size=BUCKETS)


def part(delays: Sequence[int]) -> Cohort:
    cohort = Cohort()
    cohort.judged[_CELL] = list(delays)
    cohort.add_predicted("a", sum(delays))
    return cohort


def one_by_one(parts: Mapping[int, Sequence[int]]) -> list[float]:
    """The completed items: each part is followed by itself from bucket to bucket."""
    whole = [0.0] * BUCKETS
    for own, delays in parts.items():
        so_far = 0.0
        for bucket in range(BUCKETS):
            older = [each for n, each in parts.items() if n > bucket]
            before = sum(sum(each[:bucket]) for each in older)
            items: float = delays[bucket]
            if own <= bucket and before >= 30:
                items = so_far / before * sum(each[bucket] for each in older)
            so_far += items
            whole[bucket] += items
    return whole


@given(st.dictionaries(st.integers(0, len(ENDS)), _delays, min_size=1, max_size=4))
def test_young_predictions_get_the_labels_that_older_ones_got(
    parts: dict[int, list[int]],
) -> None:
    found = completed({n: part(delays) for n, delays in parts.items()})
    assert found[_CELL] == pytest.approx(one_by_one(parts))


def test_predictions_of_one_age_stay_as_they_are() -> None:
    delays = list(range(BUCKETS))
    for age in (0, 7 * DAY, 200 * DAY):
        assert completed({reached(age): part(delays)})[_CELL] == delays


def test_few_older_predictions_say_nothing() -> None:
    old, young = [0] * BUCKETS, [0] * BUCKETS
    old[0], old[-1], young[0] = 20, 10, 1000
    assert completed({BUCKETS: part(old), 5: part(young)})[_CELL][-1] == 10
    old[0] = 40
    assert completed({BUCKETS: part(old), 5: part(young)})[_CELL][-1] == 10 + 250


def test_the_share_of_a_young_model_is_that_of_its_delays() -> None:
    """In a model's first weeks the latest labels of mature predictions are not in yet."""
    cohorts = Events(World(), seed=1).cohorts(_NOW)
    delays = Estimator(cohorts.items(), total(cohorts.values()), _NOW, 7.0 * DAY).delays
    right = delays.of_cell(Cell("0", "0"))
    known = total(each for hour, each in cohorts.items() if hour < 23 * 24)
    for days in (5, 7, 10):
        # Feedback is matched for 30 days.
        share, horizon = (ndtr((_log(n) - _log(1.8)) / 0.75) for n in (days, 30))
        assert right.share(days * DAY) == pytest.approx(share / horizon, abs=0.002)
    alone = Delays({0: known})
    assert alone.of_cell(Cell("0", "0")).share(5 * DAY) > right.share(5 * DAY) + 0.002
    assert delays.rate("0") == pytest.approx(0.9, abs=0.002)
    assert alone.rate("0") < delays.rate("0") - 0.002


def _log(number: float) -> float:
    return float(np.log(number))
