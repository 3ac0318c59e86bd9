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


#: Scores by the name of their family: the field that has the score, and the HELP text.
Fields = Mapping[str, tuple[str, str]]


def families_of(fields: Fields, labels: tuple[str, ...] = ()) -> Iterator[Family]:
    """Yield the families of some scores."""
    for name, (_, text) in fields.items():
        yield Family(name, text, labels)


def defined(fields: Fields, scores: object, labels: tuple[str, ...] = ()) -> Iterator[Sample]:
    """Yield a sample of each family whose score in ``scores`` is defined."""
    for name, (field, _) in fields.items():
        value = getattr(scores, field)
        if value is not None:
            yield Sample(name, labels, value)
