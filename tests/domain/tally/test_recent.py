"""The counts of recent windows, which do not depend on the windows of the settings."""

from random import Random

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.statistics.counts import BASES
from processor.domain.tally.recent import RecentCounts
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import DAY, HOUR, MINUTE, RECENT, parse_window
from processor.domain.timestamps import SECOND
from tests.support.domain.tally_model import LOG_ID, MODELS, START, VERSION

NAMES = ("24h", "7d", "30d")


def fold(*changes: tuple[int, str, int]) -> RecentCounts:
    """The recent counts at `START` of changes: seconds ago, basis, and how many items."""
    tally = Tally(VERSION, LOG_ID, ())
    for offset, (ago, basis, items) in enumerate(changes):
        totals = (items, 0) if basis == "request" else (0, items)
        change = Delta(0, BASES.index(basis), (START - ago) // MINUTE, (*totals, 0, 0, 0, 0, 0), [])
        batch = DeltaBatch(VERSION, LOG_ID, 0, offset, offset - 1, MODELS[:1], [], [change])
        assert tally.apply(offset, START * SECOND, batch)
    ((_, recent),) = tally.recent_counts(START)
    return recent


def test_the_rhythm_of_a_model() -> None:
    weekly = fold(
        (20 * DAY, "request", 9),
        (60, "request", 1),
        (15 * DAY, "feedback", 3),
        (8 * DAY, "feedback", 4),
        (2 * HOUR, "feedback", 1),
        (2 * HOUR, "feedback", -1),
    )
    assert weekly.last_prediction == START - 60
    # The label that was taken back does not count; what is older than a day is known by the hour.
    assert weekly.last_feedback == START - 8 * DAY
    assert weekly.longest_pause == 7 * DAY
    assert fold((20 * DAY, "request", 9), (HOUR, "feedback", 1)).longest_pause == 20 * DAY - HOUR
    assert fold((HOUR, "feedback", 1)).longest_pause == 0
    young = fold((HOUR, "request", 1))
    assert (young.last_prediction, young.last_feedback, young.longest_pause) == (
        START - HOUR,
        None,
        None,
    )
    assert fold((40 * DAY, "feedback", 1)).last_feedback == (START - 40 * DAY) // DAY * DAY


def totals(tally: Tally, now: float) -> dict[tuple[str, str], tuple[object, ...]]:
    """Totals and cells of the first model by window and basis."""
    ((_, recent),) = tally.recent_counts(now)
    assert tuple(recent.windows) == NAMES == tuple(window.name for window in RECENT)
    return {
        (window, basis): (counts.totals(), dict(counts.cells))
        for window, both in recent.windows.items()
        for basis, counts in zip(BASES, both, strict=True)
    }


def test_they_are_those_of_the_windows() -> None:
    few = Tally(VERSION, LOG_ID, (parse_window("5m"),))
    every = Tally(VERSION, LOG_ID, tuple(map(parse_window, (*NAMES, "all"))))
    random, offset = Random(1), -1
    for day in range(34):
        now = START + day * DAY
        for _ in range(4):
            ago = random.choice([0, 60, 3 * HOUR, DAY, 5 * DAY, 29 * DAY])
            minute, basis = (now - ago) // MINUTE, random.randrange(2)
            cells = [random.randrange(2), random.randrange(2), random.randrange(1, 5)]
            change = Delta(0, basis, minute, (1, 1, 1, 0, 0, 0, 0), cells)
            offset += 1
            batch = DeltaBatch(
                VERSION, LOG_ID, 0, offset, offset - 1, MODELS[:1], ["x", "y"], [change]
            )
            for tally in (few, every):
                assert tally.apply(offset, now * SECOND, batch)
        expected = {
            (window, basis): (counts.totals(), dict(counts.cells))
            for _, window, basis, counts in every.window_counts(now)
            if window != "all"
        }
        assert totals(few, now) == totals(every, now) == expected
    ((_, recent),) = few.recent_counts(now)
    assert recent.of_all_time is not None
    # More than the 30 days, since some are older.
    assert recent.of_all_time.judged > recent.windows["30d"][1].judged > 0
