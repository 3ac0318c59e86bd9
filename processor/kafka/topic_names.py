"""Names of topics: which are sources, and which of them an entry of PROCESSOR_TOPICS means."""

import re
from collections.abc import Collection, Iterable

#: Suffixes of the topics that a processor app creates, and of those that Faust creates for it.
_OWN_SUFFIXES = (
    *("observations", "deltas", "control", "dead-letters", "confusion-changelog"),
    "__assignor-__leader",
)


def source_candidates(topics: Collection[str]) -> list[str]:
    """The topics that can be sources, sorted: without those of processor apps, and the internal ones of
    Kafka and its clients.

    >>> own = [f"a-{name}" for name in ("observations", "deltas", "control", "dead-letters")]
    >>> source_candidates([*own, "__consumer_offsets", "b-control", "logs"])
    ['b-control', 'logs']
    """
    known = set(topics)
    apps = {
        name.removesuffix("-observations")
        for name in known
        if name.endswith("-observations") and name.removesuffix("observations") + "control" in known
    }
    own = {f"{app}-{suffix}" for app in apps for suffix in _OWN_SUFFIXES}
    return sorted(name for name in known - own if not name.startswith("__"))


def is_pattern(entry: str) -> bool:
    """Whether an entry of PROCESSOR_TOPICS is a regular expression."""
    return entry.startswith("^")


def matching(entry: str, topics: Iterable[str]) -> list[str]:
    """The topics that an entry of PROCESSOR_TOPICS means. A pattern has to match from the start of a
    name; it may end before the name does.

    >>> matching("^logs-", ["logs-a", "more-logs-b", "logs"]), matching("logs", ["logs-a", "logs"])
    (['logs-a'], ['logs'])
    """
    if not is_pattern(entry):
        return [name for name in topics if name == entry]
    pattern = re.compile(entry)
    return [name for name in topics if pattern.match(name)]
