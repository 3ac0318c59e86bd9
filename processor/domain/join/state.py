"""The state of the join: registers for the predictions and feedback of requests, and their tables."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from processor.domain.join.id_set import IdSet
from processor.domain.join.packed_table import PackedTable
from processor.domain.log.observations import Values
from processor.domain.model_key import ModelKey
from processor.domain.values import Answer, Reading


class PredictionRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of one prediction. ``time`` is in ns; ``model`` and ``answers`` are
    positions in the state's tables; ``values`` are those of the `Prediction`."""

    model: int
    time: int
    source_rank: int
    digest: int
    answers: int | list[int]
    provisional: bool
    restored: bool = False
    """Whether the prediction was counted earlier and came back from the archive."""
    values: Values = None


class FeedbackRegister(msgspec.Struct, array_like=True, gc=False):
    """The greatest version of the feedback of one scope; all truths share one register. ``time`` is
    in ns, ``reward`` in millionths; ``scope`` and ``truth`` are positions in the state's tables."""

    scope: int
    time: int
    source_rank: int
    digest: int
    truth: int | list[int] | None
    reward: int | None
    values: Values = None


class Request(msgspec.Struct, array_like=True, gc=False):
    """The registers of a request. ``first_seen_hour`` is the log hour of its first observation."""

    first_seen_hour: int
    predictions: list[PredictionRegister]
    feedbacks: list[FeedbackRegister]


class PredictionContent(NamedTuple):
    """A prediction of one item without its time and values; packed rows share it. ``digest`` is that of
    the content without the values, which take ``length`` bytes."""

    model: int
    source_rank: int
    digest: int
    answer: int
    provisional: bool
    restored: bool
    length: int = 0


class FeedbackContent(NamedTuple):
    """A feedback of one item without its time and values, as a `PredictionContent`."""

    scope: int
    source_rank: int
    digest: int
    truth: int | None
    reward: int | None
    length: int = 0


class JoinState(msgspec.Struct, array_like=True):
    """The state of a partition: a function of the log before the next offset."""

    log_time: int = 0
    """The greatest append time on the log (ns): the only clock of the fold."""
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
    """The contents of packed rows; ids of feedback contents count from 1."""
    sent: dict[int, int] = {}
    """The offset that sent the last delta, by target partition."""
    rows_differ: int = 0
    ambiguous: int = 0
    not_scorable: dict[str, int] = {}
    waiting: int = 0
    """Requests with a prediction and no feedback."""
    unmatched: int = 0
    """Requests with feedback and no prediction."""
    completed_ids: IdSet = msgspec.field(default_factory=IdSet)
    """Identities of requests that were counted when they were complete, and not kept. They stay for a
    horizon after the last of these requests."""
    completed_hour: int = 0
    """The log hour in which the last of these requests was counted."""
    completed_until: int = -1
    """The time (ns) of the latest prediction among these requests."""


def positions(packed: int | list[int]) -> Iterable[int]:
    """The positions of a register or row, which has one position or a list."""
    return (packed,) if isinstance(packed, int) else packed
