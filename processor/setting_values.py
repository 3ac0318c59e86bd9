"""The forms of settings: a parser for each, which returns the value or raises `ValueError` with
the remedy."""

import re
from collections.abc import Callable
from pathlib import Path

from processor.domain.tally.windows import Window, parse_window
from processor.domain.timestamps import parse_duration, parse_time

#: The prefixes of an HTTP address.
HTTP = ("http://", "https://")

#: Characters that Kafka accepts in a topic name; they are safe in metric labels and file names too.
_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,180}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: A host name, an IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]|[^\s/:;,@\[\]]+")

#: A bucket's name, perhaps with a prefix.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9/._=-]*)?")

#: The groups of model metrics. The two before the last have no family yet.
METRIC_GROUPS = (
    "labels", "probabilities", "numbers", "sets", "nowcast", "comparison", "slices", "custom",
)  # fmt: skip


class Secret(str):
    """A string whose repr hides it, so that it does not appear in logs and errors."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


def app_id(value: str) -> str:
    if not _APP_ID.fullmatch(value):
        raise ValueError("use letters, digits, '.', '_' and '-' only, 180 at most")
    return value


def broker(value: str) -> tuple[str, ...]:
    if not value:
        return ()
    if not value.startswith("kafka://"):
        raise ValueError("write it as kafka://host:port[,host:port]")
    # Other products separate their URLs by semicolons, or repeat the scheme.
    servers = tuple(
        server.strip().removeprefix("kafka://") for server in value.replace(";", ",").split(",")
    )
    for server in servers:
        if "@" in server:
            raise ValueError("use PROCESSOR_KAFKA_SASL_USER and _PASSWORD for a login")
        host, _, port = server.rpartition(":")
        if not _HOST.fullmatch(host) or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{server!r} is not host:port")
    return servers


def address(value: str) -> tuple[str, int | None] | None:
    """A host, perhaps with a port; None if empty."""
    if not value:
        return None
    if "/" in value:
        raise ValueError("write host:port, or a host alone")
    host, colon, port = value.rpartition(":")
    if not colon or (":" in host and not value.startswith("[")) or value.endswith("]"):
        # Without a port: an IPv6 address has several colons.
        host, port = value, ""
    bare = host.removeprefix("[").removesuffix("]")
    if not (_HOST.fullmatch(bare) or _HOST.fullmatch(f"[{bare}]")):
        raise ValueError("write host:port, or a host alone")
    if not port:
        return bare, None
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{port!r} is not a port")
    return bare, int(port)


def topics(value: str) -> tuple[str, ...]:
    topics = tuple(topic.strip() for topic in value.split(",") if topic.strip())
    if not topics:
        raise ValueError("name one topic at least")
    for topic in topics:
        if topic.startswith("^"):
            try:
                re.compile(topic)
            except re.error as error:
                raise ValueError(
                    f"{topic!r} is not a regular expression ({error}): a pattern can't contain a "
                    "comma, which separates the topics"
                ) from None
        elif not _TOPIC.fullmatch(topic):
            raise ValueError(
                f"{topic!r} is not a Kafka topic name: use letters, digits, '.', '_' and '-', or "
                "begin a pattern with ^"
            )
    return topics


def number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", value) or not low <= int(value) <= high:
            raise ValueError(f"use a whole number from {low} to {high}")
        return int(value)

    return parse


def optional_number(low: int, high: int) -> Callable[[str], int | None]:
    parse_number = number(low, high)

    def parse(value: str) -> int | None:
        return parse_number(value) if value else None

    return parse


def size(value: str) -> int | None:
    if not value:
        return None
    match = re.fullmatch(r"([0-9]{1,12})\s*([kKMGT]i?B?|B)?", value)
    if not match:
        raise ValueError("use bytes, or a number with KiB, MiB or GiB")
    unit = (match[2] or "").upper().strip("IB")
    return int(match[1]) * int(1024 ** " KMGT".index(unit or " "))


def windows(value: str) -> tuple[Window, ...]:
    windows = tuple(parse_window(name.strip()) for name in value.split(",") if name.strip())
    if not windows:
        raise ValueError("name one window at least, such as 1h or all")
    return tuple(dict.fromkeys(windows))


def horizon(value: str) -> int:
    seconds = parse_duration(value)
    if seconds < 60:
        raise ValueError("use a minute at least, such as 7d or 12h")
    return seconds


def retention(value: str) -> int | None:
    return horizon(value) if value else None


def maturity(value: str) -> int | None:
    if not value:
        return None
    seconds = parse_duration(value)
    # Hours are kept for 31 days.
    if not 3600 <= seconds <= 30 * 86_400:
        raise ValueError("use 1h to 30d, such as 7d or 36h")
    return seconds


def session_timeout(value: str) -> int:
    seconds = parse_duration(value)
    # Faust refuses a session that outlasts its requests (90 s).
    if seconds > 60:
        raise ValueError("use a minute at most, such as 10s")
    return seconds


def bases(value: str) -> tuple[str, ...]:
    bases = tuple(dict.fromkeys(base.strip() for base in value.split(",") if base.strip()))
    if not bases or not set(bases) <= {"request", "feedback"}:
        raise ValueError("use request, feedback or both")
    return bases


def metrics(value: str) -> tuple[str, ...]:
    groups = tuple(dict.fromkeys(group.strip() for group in value.split(",") if group.strip()))
    choices = ", ".join(METRIC_GROUPS)
    if not groups:
        raise ValueError(f"name one group at least, of {choices}")
    for group in groups:
        if group not in METRIC_GROUPS:
            raise ValueError(f"{group!r} is not a group of metrics: use {choices}")
    return groups


def archive(value: str) -> str:
    if value.startswith(HTTP) and "@" in value:
        raise ValueError("use PROCESSOR_ES_USER and PROCESSOR_ES_PASSWORD for a login")
    if value in ("", "none") or value.startswith(HTTP):
        return value
    if value.startswith("sqlite:"):
        return value
    raise ValueError("use http(s)://host:port, sqlite:PATH or none")


def bootstrap(value: str) -> str:
    if value not in ("auto", "full", "never") and parse_time(value) is None:
        raise ValueError("use auto, full, never or a time such as 2026-11-20T00:00:00Z")
    return value


def snapshots(value: str) -> str:
    """The URL of a store; empty for none."""
    if not value:
        return value
    scheme, _, rest = value.partition("://")
    if "@" in rest.partition("/")[0]:
        raise ValueError(
            "credentials are not a part of it: use AWS_ACCESS_KEY_ID and _SECRET_ACCESS_KEY"
        )
    if scheme == "file" and rest.startswith("/"):
        return value
    if scheme == "s3" and _BUCKET.fullmatch(rest):
        return value
    raise ValueError("use file:///folder or s3://bucket/prefix")


def choice(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"use one of {', '.join(c or 'nothing' for c in choices)}")
        return value

    return parse


def flag(value: str) -> bool:
    if value.lower() not in ("0", "1", "true", "false", "on", "off", ""):
        raise ValueError("use on or off")
    return value.lower() in ("1", "true", "on")


def optional_path(value: str) -> Path | None:
    return Path(value) if value else None
