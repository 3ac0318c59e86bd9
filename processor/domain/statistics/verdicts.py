"""The outcomes that were ever counted as right or wrong, for alerts on the burn rate of an error budget.

Prometheus needs counters that never decrease, while the counts of right and wrong items do whenever an
outcome is corrected or withdrawn. So the items that were taken back are counted too, as sums that only
grow, and the counter is today's count plus these.
"""

from collections.abc import Iterator
from typing import NamedTuple

from processor.domain.statistics.counts import Counts
from processor.domain.statistics.labels import decided
from processor.domain.statistics.sums import Sum, Sums, add

#: The verdicts, in the order of the pairs below.
VERDICTS = ("right", "wrong")


class Outcomes(NamedTuple):
    """Items by verdict, right and wrong: those that were ever counted so, and those taken back."""

    counted: tuple[int, int]
    retracted: tuple[int, int]


def verdicts(counts: Counts) -> tuple[int, int]:
    """Return the right and the wrong items of some counts: a number is right within its tolerance, and
    neither without one; a label set is right if it matches exactly.

    >>> verdicts(Counts(judged=3, correct=2, unknown_actual=3))
    (2, 1)
    """
    return counts.correct, decided(counts) - counts.correct


def retractions(before: Counts, after: Counts | None) -> Iterator[tuple[str, int]]:
    """Yield the verdicts of which a changed outcome has fewer items than before, and how many fewer.

    >>> right, wrong = Counts(judged=1, correct=1, unknown_actual=1), Counts(judged=1, unknown_actual=1)
    >>> list(retractions(right, wrong)), list(retractions(wrong, wrong)), list(retractions(wrong, None))
    ([('right', 1)], [], [('wrong', 1)])
    """
    left = (0, 0) if after is None else verdicts(after)
    for verdict, was, now in zip(VERDICTS, verdicts(before), left, strict=True):
        if was > now:
            yield verdict, was - now


def contribute_retraction(verdict: str, sums: Sums, items: int) -> None:
    """Add items that are not of a verdict any more to the sums of the hour of their prediction."""
    add(sums, Sum.RETRACTED, items, verdict)
