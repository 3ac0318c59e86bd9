"""Rolling windows as sums of buckets, and the tiers of buckets that serve them (counting rule 16)."""

from typing import NamedTuple

from processor.domain.timestamps import parse_duration

MINUTE = 60
HOUR = 3600
DAY = 86400


class Tier(NamedTuple):
    """Buckets of one size. ``size`` in seconds, 0 = the one bucket of all time; ``keep`` is how many
    seconds of log time a bucket is kept for (0 = for ever)."""

    name: str
    size: int
    keep: int


#: Each a little longer than the longest window that it serves, so that a clock that runs behind the
#: log still finds whole windows.
TIERS = (
    Tier("minute", MINUTE, 25 * HOUR),
    Tier("hour", HOUR, 31 * DAY),
    Tier("day", DAY, 0),
    Tier("all", 0, 0),
)
MINUTES, HOURS, DAYS, ALL = range(4)


class Window(NamedTuple):
    """A rolling window: ``seconds`` long (0 = all time), made of buckets of ``TIERS[tier]``."""

    name: str
    seconds: int
    tier: int


def parse_window(name: str) -> Window:
    """The window of that name; ValueError if it is not a multiple of its bucket.

    >>> parse_window("24h")
    Window(name='24h', seconds=86400, tier=0)
    >>> parse_window("90s")
    Traceback (most recent call last):
    ValueError: '90s' is not a multiple of its bucket of 1 minute
    """
    if name == "all":
        return Window(name, 0, ALL)
    seconds = parse_duration(name)
    if seconds <= DAY:
        tier = MINUTES
    elif seconds <= 30 * DAY:
        tier = HOURS
    else:
        tier = DAYS
    if seconds % TIERS[tier].size:
        raise ValueError(f"{name!r} is not a multiple of its bucket of 1 {TIERS[tier].name}")
    return Window(name, seconds, tier)
