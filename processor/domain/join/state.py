"""What the join keeps: a register per prediction and feedback of each request, and their tables."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from processor.domain.join.id_set import IdSet
from processor.domain.join.packed_table import PackedTable
from processor.domain.model_key import ModelKey
from processor.domain.values import Answer, Reading


class PredictionRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of one prediction; numbers are positions in the state's tables."""

    model: int
    time: int
    source_rank: int
    digest: int
    answers: int | list[int]
    provisional: bool
    restored: bool = False
    """Whether it was counted among the predictions before it had left memory."""


class FeedbackRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of the feedback of one scope; all truth shares one scope."""

    scope: int
    time: int
    source_rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None


class Request(msgspec.Struct, array_like=True, gc=False):
    """All that is known of a request. ``born`` is the log hour of its first observation."""

    first_seen_hour: int
    predictions: list[PredictionRegister]
    feedbacks: list[FeedbackRegister]


class PredictionContent(NamedTuple):
    """A prediction of one item without its time, as packed rows share it."""

    model: int
    source_rank: int
    digest: int
    answer: int
    provisional: bool
    restored: bool


class FeedbackContent(NamedTuple):
    """A feedback of one item without its time, as packed rows share it."""

    scope: int
    source_rank: int
    digest: int
    truth: int | None
    reward: int | None


class JoinState(msgspec.Struct, array_like=True):
    """The whole state of a partition: a function of the log before the next offset."""

    log_time: int = 0
    """The greatest append time seen, in ns: the only clock of the fold."""
    models: list[ModelKey] = []
    answers: list[Answer] = []
    truths: list[Reading] = []
    deployments: list[tuple[str, str]] = []
    packed_requests: list[PackedTable] = []
    """By deployment: requests with a UUID, one prediction of one item and at most one feedback."""
    object_requests: list[dict[str, Request]] = []
    """By deployment: all other requests."""
    prediction_contents: list[PredictionContent] = []
    feedback_contents: list[FeedbackContent] = []
    """What packed rows say, by position; the first of ``said`` is number 1."""
    sent: dict[int, int] = {}
    """The last offset that sent a delta, by target partition."""
    rows_differ: int = 0
    ambiguous: int = 0
    not_scorable: dict[str, int] = {}
    waiting: int = 0
    """Requests with a prediction and no feedback."""
    unmatched: int = 0
    """Requests with feedback and no prediction."""
    completed_ids: IdSet = msgspec.field(default_factory=IdSet)
    """Requests that were counted whole and not kept, until the horizon after the last of them."""
    completed_hour: int = 0
    """The log hour of the last of them."""
    completed_until: int = -1
    """The time of the latest prediction among them."""


def positions(packed: int | list[int]) -> Iterable[int]:
    """Positions in a table that a register or row holds packed: one, or a list."""
    return (packed,) if isinstance(packed, int) else packed
