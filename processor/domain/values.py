"""Values, which the rows of payloads say: a label, scores, a probability, a number or a label set
(counting rule 4)."""

from hashlib import blake2b
from typing import Literal, NamedTuple

from msgspec import msgpack

#: The kinds of a row. The values are on the log: never renumber.
SCORES, PROBABILITY, INTEGER, TEXT, UNSCORABLE, NUMBER, LABEL_SET = range(7)

#: The reasons why an item is never judged. Positions are on the log: only append.
NOT_SCORABLE = (
    "shape",
    "regression",
    "label_too_long",
    "no_maximum",
    "multi_label",
    "position",
    "kinds_differ",
    "out_of_range",
    "withdrawn",
)

#: Integers of this size or more are not exact in every JSON parser, so they are not labels.
INTEGER_LIMIT = 2**53
#: The largest label, in bytes of UTF-8.
LABEL_BYTES = 256

#: Power of ten of the unit in which numbers are counted, unless the models file has another.
DEFAULT_UNIT = -6

Output = Literal["scores", "probability", "label"]
Task = Literal["classification", "regression", "multilabel"]


class NamedScores(NamedTuple):
    """A row of scores that has its own names, such as an object of class to probability."""

    names: tuple[str, ...]
    scores: tuple[float, ...]


class Labelled(NamedTuple):
    """A row that names its label and says how sure the model is (counting rule 5).

    ``label`` is a text or a number. ``confidence`` is the probability of this label, ``positive`` that
    of the positive class of two, and ``scores`` are the probabilities of all classes in their order; at
    most one of the three is given.
    """

    label: object
    confidence: float | None = None
    positive: float | None = None
    scores: tuple[float, ...] | None = None


class Reading(NamedTuple):
    """A row of a payload, before its label is known.

    ``value`` depends on ``kind``:

    - SCORES: the position of the largest score
    - PROBABILITY: the number, from 0 to 1
    - INTEGER, TEXT: the label
    - NUMBER: the number; None if it stands in ``values`` of the observation
    - LABEL_SET: the labels, sorted; a number is a position among ``width`` labels
    - UNSCORABLE: one of `NOT_SCORABLE`

    ``width`` is the number of scores, 0 for rows without scores. ``probabilities`` are packed (see
    `quantities.pack_probabilities`), empty if the row has none.
    """

    kind: int
    value: int | float | str | tuple[int | str, ...] | None
    width: int = 0
    probabilities: bytes = b""


class Schema(NamedTuple):
    """The label names and settings of a prediction, which are needed to resolve its truth.

    ``names`` are those in the message, one per score, or None. The others come from the models file.
    ``unit`` is a power of ten. ``tolerance`` is None, or a pair of a number of units and a part of the
    truth in 10^-9, of which the one that is not given is -1. ``statistics`` names the custom statistics,
    each as ``package.module:Class``.
    """

    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    threshold: float = 0.5
    by_reward: bool = False
    unit: int = DEFAULT_UNIT
    tolerance: tuple[int, int] | None = None
    statistics: tuple[str, ...] = ()


class Answer(NamedTuple):
    """One predicted item: its ``label``, its ``labels`` (a label set) or its number; or the ``reason``
    why it has none of these (one of `NOT_SCORABLE`).

    ``mode`` is the kind of its row, ``width`` the number of scores in it. The number itself and the
    probabilities go beside an answer, packed (see `quantities`), since they differ in each.
    """

    label: str | None
    reason: str | None
    mode: int
    schema: Schema
    width: int = 0
    labels: tuple[str, ...] = ()


def fits(label: str) -> bool:
    """Return whether a label is not too long."""
    return len(label) * 4 <= LABEL_BYTES or len(label.encode("utf-8", "replace")) <= LABEL_BYTES


def digest(*content: object) -> int:
    """A 64-bit digest of some content (counting rule 12): BLAKE2b of its MessagePack encoding."""
    return int.from_bytes(blake2b(msgpack.encode(content), digest_size=8).digest(), "big")


def content_of(answer: Answer) -> tuple[object, ...]:
    """Return what one predicted item says without its values. The part of the schema from the models
    file is not content of the event."""
    return answer.label, answer.reason, answer.mode, answer.schema.names, answer.labels


def content_digest(answer: Answer) -> int:
    """Return the digest of one predicted item without its values."""
    return digest(*content_of(answer))


def mix(content: int, values: bytes) -> int:
    """Return the digest of some content and the packed values that go with it: ``content`` itself if
    there are none, else BLAKE2b of its eight bytes and the values."""
    if not values:
        return content
    hashed = blake2b(content.to_bytes(8, "little") + values, digest_size=8)
    return int.from_bytes(hashed.digest(), "big")
