"""The counts of recent windows, which do not depend on the windows of the settings."""

from random import Random

from processor.domain.log.deltas import Delta, DeltaBatch
from processor.domain.statistics.counts import BASES
from processor.domain.tally.tally import Tally
from processor.domain.tally.windows import DAY, HOUR, MINUTE, RECENT, parse_window
from processor.domain.timestamps import SECOND
from tests.support.domain.tally_model import LOG_ID, MODELS, START, VERSION

NAMES = ("24h", "7d", "30d")


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
