"""The metric families of models, and their samples."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Family(NamedTuple):
    """A family of gauges. Its samples have the labels of every model family, then its own ``labels``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One value of a family; ``labels`` are the values of the family's own labels, where there are
    fewer of the first ones: to Prometheus a label that is absent is an empty one."""

    family: str
    labels: tuple[str, ...]
    value: float


def defined(
    families: Mapping[str, tuple[str, str]], scores: object, labels: tuple[str, ...] = ()
) -> Iterator[Sample]:
    """Yield a sample of each family whose score is defined; ``families`` are names with a field of
    ``scores`` and the HELP text."""
    for name, (field, _) in families.items():
        value = getattr(scores, field)
        if value is not None:
            yield Sample(name, labels, value)
