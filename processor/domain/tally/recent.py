"""Counts of recent windows of one model, and its rhythm: what alert rules compare."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from processor.domain.statistics.counts import BASES, Counts
from processor.domain.tally.windows import DAYS, HOURS, MINUTES, TIERS

#: The counts of each tier by basis and bucket.
Tiers = Sequence[Sequence[Mapping[int, Counts]]]
_REQUEST, _FEEDBACK = map(BASES.index, ("request", "feedback"))


class RecentCounts(NamedTuple):
    """The counts of one model in recent windows, by time of the request and of the feedback, without
    sums of statistics; and those of all time by time of the feedback, None if nothing was judged.

    The times are in seconds since 1970, to the minute, of older ones to the hour or the day;
    ``longest_pause`` is in seconds, see `longest_pause`. Each is None if there is none.
    """

    windows: Mapping[str, tuple[Counts, Counts]]
    of_all_time: Counts | None
    last_prediction: int | None = None
    last_feedback: int | None = None
    longest_pause: int | None = None


class Rhythm:
    """When a model was used and judged. A look at all hours takes half a millisecond, so the longest
    pause is found again once an hour, and when an hour is added."""

    def __init__(self) -> None:
        self._known: tuple[int, int, int] | None = None
        self._pause: int | None = None

    def at(self, now: float, tiers: Tiers) -> tuple[int | None, int | None, int | None]:
        """Return the last three fields of `RecentCounts`, from the buckets of a model at ``now`` (s)."""
        requests, feedback = tiers[HOURS]
        known = (int(now) // TIERS[HOURS].size, len(requests), len(feedback))
        if known != self._known:
            self._known, self._pause = known, longest_pause(tiers)
        return _last(tiers, _REQUEST), _last(tiers, _FEEDBACK), self._pause


def longest_pause(tiers: Tiers) -> int | None:
    """Return the longest time (s) between two hours with feedback among those that are kept, and before
    the first of them since the first prediction: the longest pause that is known to be normal."""
    requests, feedback = tiers[HOURS]
    hours = sorted(hour for hour, counts in feedback.items() if counts.judged > 0)
    if not hours:
        return None
    first = min((hour for hour, counts in requests.items() if counts.predictions > 0), default=None)
    if first is not None and first < hours[0]:
        hours.insert(0, first)
    longest = max((later - hour for hour, later in pairwise(hours)), default=0)
    return longest * TIERS[HOURS].size


def _last(tiers: Tiers, basis: int) -> int | None:
    """Return the start of the newest bucket with predictions, or with judged items."""
    for tier in (MINUTES, HOURS, DAYS):
        buckets = tiers[tier][basis]
        for bucket in sorted(buckets, reverse=True):
            counts = buckets[bucket]
            if (counts.judged if basis == _FEEDBACK else counts.predictions) > 0:
                return bucket * TIERS[tier].size
    return None
