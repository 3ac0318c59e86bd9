"""Rolling windows, and the tiers of buckets whose sums they are (counting rule 16)."""

from typing import NamedTuple

from processor.domain.timestamps import parse_duration

MINUTE = 60
HOUR = 3600
DAY = 86400


class Tier(NamedTuple):
    """Buckets of one ``size`` in seconds, 0 for a single bucket of all time. A bucket is kept for
    ``keep`` seconds of log time, 0 for ever."""

    name: str
    size: int
    keep: int


#: Tiers keep their buckets a little longer than their longest window, so that windows are complete
#: even for a clock that runs behind the log.
TIERS = (
    Tier("minute", MINUTE, 25 * HOUR),
    Tier("hour", HOUR, 31 * DAY),
    Tier("day", DAY, 0),
    Tier("all", 0, 0),
)
MINUTES, HOURS, DAYS, ALL = range(4)


#: The longest window, in seconds, whose sums of statistics are those of minutes, and how long minutes
#: keep these. They are far more numbers than the cells of labels; longer windows take hours or days.
SUMS_WINDOW, SUMS_KEEP = HOUR, 2 * HOUR


class Window(NamedTuple):
    """A rolling window of ``seconds`` (0 is all time), as a sum of buckets of ``TIERS[tier]``."""

    name: str
    seconds: int
    tier: int

    @property
    def sums_tier(self) -> int:
        """The tier that the sums of statistics are taken from."""
        return HOURS if self.tier == MINUTES and self.seconds > SUMS_WINDOW else self.tier

    def length(self, tier: int) -> int:
        """The number of buckets of a tier that the window has, rounded up; 0 is all time."""
        return -(-self.seconds // TIERS[tier].size) if self.seconds else 0


def parse_window(name: str) -> Window:
    """The window of a name: a duration, or "all". ValueError if it is neither, or not a multiple of
    its bucket: 1 minute up to 24 hours, 1 hour up to 30 days, else 1 day.

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


#: The windows that alert rules compare, whatever PROCESSOR_WINDOWS is.
RECENT = (Window("24h", DAY, MINUTES), Window("7d", 7 * DAY, HOURS), Window("30d", 30 * DAY, HOURS))
