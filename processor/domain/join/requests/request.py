"""The registers of a request: the greatest version of each of its predictions and feedbacks."""

from collections.abc import Iterable

import msgspec

from processor.domain.log.observations import Values


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


def positions(packed: int | list[int]) -> Iterable[int]:
    """The positions of a register or row, which has one position or a list."""
    return (packed,) if isinstance(packed, int) else packed
