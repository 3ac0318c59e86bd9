"""The items that were counted as right or wrong and are not any more, against the counting rules."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.join.fold import JoinFold
from processor.domain.log.deltas import DeltaBatch
from processor.domain.model_key import ModelKey
from processor.domain.statistics.verdicts import VERDICTS, verdicts
from processor.domain.tally.tally import Tally
from processor.telemetry import Telemetry
from tests.support.domain.join_batches import LOG_ID, MODEL, feedback, pack, prediction
from tests.support.domain.join_model import (
    Observation,
    expected,
    observations,
    retracted_of,
    unpacked,
)
from tests.support.domain.tally_model import VERSION, WINDOWS

ByVerdict = Counter[tuple[ModelKey, str]]


def current(seen: list[Observation]) -> ByVerdict:
    """The right and wrong items by the counting rules, of all observations at once."""
    found: ByVerdict = Counter()
    for (model, basis, _), counts in expected(seen)[0].items():
        if basis == 0:
            right, wrong = verdicts(counts)
            found.update({(model, "right"): right, (model, "wrong"): wrong})
    return found


def sent(seen: list[Observation], size: int = 1) -> list[DeltaBatch]:
    """The deltas of observations in batches of a size."""
    fold = JoinFold(LOG_ID, 0, 1, None, Telemetry())
    batches: list[DeltaBatch] = []
    for offset, first in enumerate(range(0, len(seen), size)):
        batches += unpacked(fold.apply(offset, 0, pack(*seen[first : first + size]))).values()
    return batches


@given(observations)
def test_what_is_taken_back_is_what_the_counts_lose(seen: list[Observation]) -> None:
    lost: ByVerdict = Counter()
    before: ByVerdict = Counter()
    for end in range(1, len(seen) + 1):
        now = current(seen[:end])
        lost += before - now  # where it is positive
        before = now
    assert retracted_of(sent(seen)) == lost


@given(observations, st.integers(1, 9))
def test_counters_of_the_tally_never_decrease(seen: list[Observation], size: int) -> None:
    tally = Tally(VERSION, LOG_ID, WINDOWS)
    before: ByVerdict = Counter()
    batches = sent(seen, size)
    for batch in batches:
        assert tally.apply(batch.offset, 0, batch)
        now: ByVerdict = Counter()
        for model, cohorts in tally.cohorts():
            outcomes = cohorts.outcomes()
            for verdict, counted in zip(VERDICTS, outcomes.counted, strict=True):
                now[model, verdict] = counted
        assert all(now[key] >= n for key, n in before.items())
        before = now
    taken = retracted_of(batches)
    assert +Counter({key: n - taken[key] for key, n in before.items()}) == +current(seen)


def test_a_correction_and_a_repetition() -> None:
    wrong, right = feedback("r1", "y", time=2), feedback("r1", "x", time=3)
    seen: list[Observation] = [prediction("r1", "x", 1), wrong, wrong, right, right]
    assert retracted_of(sent(seen, 5)) == {(MODEL, "wrong"): 1}
    # In the other order the earlier feedback never counts.
    assert retracted_of(sent([seen[0], right, wrong])) == {}
