"""Times as integer nanoseconds since 1970 (counting rule 13); floats would lose the last digits."""

import re
from datetime import UTC, datetime

from processor.domain.memo import Memo

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
#: The last year that fits in 64 bits of nanoseconds.
_LAST_YEAR = 2261


class TimeParser:
    """A parser of RFC 3339 times to nanoseconds that caches the starts of seconds and minutes: events
    arrive roughly in the order of time, and the calendar is the costly part.

    >>> TimeParser()(b"2026-11-20T09:03:59.330716836Z")
    1795165439330716836
    """

    def __init__(self) -> None:
        self._minutes = Memo[bytes, int](10_000)
        self._seconds = Memo[bytes, int](50_000)

    def __call__(self, text: bytes) -> int | None:
        """Nanoseconds since 1970; None if the text is not a time between 1970 and 2261."""
        second = self._seconds.get(text[:19])
        if second is not None and text[19:20] == b"." and text[-1:] == b"Z":
            fraction = text[20:-1]
            if fraction.isdigit() and len(fraction) <= 9:
                return second + int(fraction) * _SCALE[len(fraction) + 2]
        time = self._parse(text)
        if time is not None and text[16:17] == b":" and text[17:19] < b"60" and text[-1:] == b"Z":
            self._seconds.add(text[:19], time - time % SECOND)
        return time

    def _parse(self, text: bytes) -> int | None:
        # The fast path is for 2026-11-20T09:03:59[.fraction]Z; other forms take the regular expression.
        minute = self._minutes.get(text[:17])
        if minute is not None:
            seconds = text[17:-1]
            digits = seconds[:2] + seconds[3:]
            if (
                digits.isdigit()
                and 2 <= len(digits) <= 11
                and len(seconds) != 3
                and digits < b"6"
                and seconds[2:3] in _POINT
                and text[-1:] == b"Z"
            ):
                return minute + int(digits) * _SCALE[len(digits)]
        try:
            time = parse_time(text.decode())
        except UnicodeDecodeError:
            return None
        # A leap second belongs to the next minute.
        cacheable = text[-1:] == b"Z" and text[10:11] == b"T" and text[17:19] < b"60"
        if time is not None and cacheable:
            self._minutes.add(text[:17], time - time % MINUTE)
        return time


#: The character after the seconds: a point before a fraction, or nothing.
_POINT = (b".", b"")
#: Nanoseconds per unit of the last digit, by the number of digits: two of seconds, then the fraction.
_SCALE = [int(10 ** max(0, 11 - digits)) for digits in range(12)]


def parse_duration(text: str) -> int:
    """The seconds of a duration such as ``90s``, ``5m``, ``12h``, ``7d`` or ``2w``; ValueError if the
    text is not one.

    >>> parse_duration("7d")
    604800
    """
    match = _DURATION.fullmatch(text)
    if not match or not int(match[1]):
        raise ValueError(f"{text!r} is not a duration such as 5m, 12h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def parse_time(text: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time; None if the text is not one, or not between 1970 and
    2261. Digits beyond nanoseconds are cut off.

    >>> parse_time("1970-01-01T01:00:00.5+01:00")
    500000000
    >>> parse_time("yesterday")
    """
    match = _TIME.fullmatch(text)
    if not match:
        return None
    date, hour, minute, second, fraction, zone = match.groups()
    try:
        day = datetime.strptime(date, "%Y-%m-%d")
    except ValueError:
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or day.year > _LAST_YEAR:
        return None
    offset = 0
    if zone not in "Zz":
        if int(zone[1:3]) > 23 or int(zone[4:]) > 59:
            return None
        offset = (int(zone[1:3]) * 60 + int(zone[4:])) * (-1 if zone[0] == "-" else 1)
    minutes = (day.toordinal() - _EPOCH) * 1440 + int(hour) * 60 + int(minute) - offset
    time = minutes * MINUTE + int(second) * SECOND + int((fraction or "0")[:9].ljust(9, "0"))
    return time if time >= 0 else None


def is_zero_time(text: bytes) -> bool:
    """Return whether an RFC 3339 time is of the year 1: Go's zero time, which stands for no time.

    >>> is_zero_time(b"0001-01-01T00:00:00Z"), is_zero_time(b"0001-99-01T00:00:00Z")
    (True, False)
    """
    # The year 2001 has the same days.
    return text[:5] == b"0001-" and parse_time("2" + text[1:].decode("latin-1")) is not None


#: The forms that `parse_instant` accepts, for messages.
INSTANTS = (
    "2026-11-20T00:00:00Z (RFC 3339), 2026-11-20 (its first moment in UTC), yesterday or today (the "
    "same), now, or -24h (24 hours ago; also s, m, d and w)"
)
#: Days before today by name.
_DAYS = {"today": 0, "yesterday": 1}


def parse_instant(text: str, now: int) -> int | None:
    """Nanoseconds since 1970 of a time that a user writes: RFC 3339, a date, ``now``, the start of
    ``today`` or ``yesterday`` in UTC, or a duration before ``now`` (ns), with or without a minus sign;
    None if the text is none of these.

    >>> parse_instant("1970-01-02", 0), parse_instant("-1m", 90 * SECOND)
    (86400000000000, 30000000000)
    >>> parse_instant("yesterday", 50 * HOUR) == parse_instant("1970-01-02", 0)
    True
    >>> parse_instant("2026-11-31", 0), parse_instant("tomorrow", 0), parse_instant("2h", SECOND)
    (None, None, None)
    """
    if text == "now":
        return now
    if text in _DAYS:
        return max(0, now // DAY - _DAYS[text]) * DAY
    time = parse_time(text)
    if time is None and _DATE.fullmatch(text):
        time = parse_time(f"{text}T00:00:00Z")
    if time is None:
        try:
            time = now - parse_duration(text.removeprefix("-")) * SECOND
        except ValueError:
            return None
    return time if time >= 0 else None


def format_time(time: int) -> str:
    """A time (ns since 1970) in RFC 3339 and UTC, with the fraction only if it is not zero.

    >>> format_time(1795165439330716836)
    '2026-11-20T09:03:59.330716836Z'
    """
    seconds, nanoseconds = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{text}{fraction}Z"
