"""What the join keeps: a register per prediction and feedback of each request, and their tables."""

from collections.abc import Iterable

import msgspec

from processor.domain.counts import ModelKey
from processor.domain.id_set import IdSet
from processor.domain.labels import Answer, Reading


class PredictionRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of one prediction; numbers are positions in the state's tables."""

    model: int
    time: int
    rank: int
    digest: int
    answers: int | list[int]
    weak: bool
    recalled: bool = False
    """Whether it was counted among the predictions before it had left memory."""


class FeedbackRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of the feedback of one scope; all truth shares one scope."""

    scope: int
    time: int
    rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None


class Request(msgspec.Struct, array_like=True, gc=False):
    """All that is known of a request. ``born`` is the log hour of its first observation."""

    born: int
    predictions: list[PredictionRegister]
    feedbacks: list[FeedbackRegister]


class JoinState(msgspec.Struct, array_like=True):
    """The whole state of a partition: a function of the log before the next offset."""

    log_time: int = 0
    """The greatest append time seen, in ns: the only clock of the fold."""
    models: list[ModelKey] = []
    answers: list[Answer] = []
    truths: list[Reading] = []
    requests: list[dict[str, Request]] = []
    """By deployment; each in the order of birth."""
    deployments: list[tuple[str, str]] = []
    sent: dict[int, int] = {}
    """The last offset that sent a delta, by target partition."""
    rows_differ: int = 0
    ambiguous: int = 0
    not_scorable: dict[str, int] = {}
    waiting: int = 0
    """Requests with a prediction and no feedback."""
    unmatched: int = 0
    """Requests with feedback and no prediction."""
    settled: IdSet = msgspec.field(default_factory=IdSet)
    """Requests that were counted whole and not kept, until the horizon after the last of them."""
    settled_at: int = 0
    """The log hour of the last of them."""
    settled_to: int = -1
    """The time of the latest prediction among them."""


def positions(packed: int | list[int]) -> Iterable[int]:
    """Positions in a table that a register or row holds packed: one, or a list."""
    return (packed,) if isinstance(packed, int) else packed
