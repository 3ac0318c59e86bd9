"""The fast path of the join: the native extension applies most rows of a batch by itself.

All other rows are left to `JoinFold`, which applies them request by request. Once a row is left, so are
the later rows of the same request in the batch: the rows of a request are applied in their order.
"""

from typing import NamedTuple, Protocol

import msgspec

from processor.domain.join.request_store import RequestRef
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    decode_feedbacks,
    decode_predictions,
)


class Tables(NamedTuple):
    """The dictionaries of a batch, as positions in the state's tables."""

    models: list[int]
    answers: list[int]
    truths: list[int]


class FastPath(Protocol):
    """Applies rows to a state. Rows come encoded, as on the log; the remaining ones are returned
    decoded."""

    def watch(
        self, judged: dict[RequestRef, int] | None, unmatched: dict[RequestRef, None] | None
    ) -> None:
        """Note requests in these from now on: in ``judged`` the offset of the last change of a request
        that has both sides, in ``unmatched`` a feedback that finds no prediction."""
        ...

    def apply_predictions(
        self, rows: msgspec.Raw, tables: Tables, offset: int
    ) -> list[PredictionRow]:
        """Apply predictions. Returns the remaining rows."""
        ...

    def apply_feedback(self, rows: msgspec.Raw, tables: Tables, offset: int) -> list[FeedbackRow]:
        """Apply feedback. Returns the remaining rows."""
        ...

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count complete requests without keeping them. Returns the remaining rows."""
        ...


class GeneralPath:
    """The `FastPath` of an installation without the native extension: it leaves all rows."""

    def watch(
        self, judged: dict[RequestRef, int] | None, unmatched: dict[RequestRef, None] | None
    ) -> None:
        """Note nothing: no request is changed here."""

    def apply_predictions(
        self, rows: msgspec.Raw, tables: Tables, offset: int
    ) -> list[PredictionRow]:
        """Return all rows."""
        return decode_predictions(rows)

    def apply_feedback(self, rows: msgspec.Raw, tables: Tables, offset: int) -> list[FeedbackRow]:
        """Return all rows."""
        return decode_feedbacks(rows)

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Return all rows."""
        return decode_predictions(predictions), decode_feedbacks(feedbacks)
