"""The join's short way for the usual observations of a batch: most of the stream goes it.

It does what the fold does with a request at a time, on packed rows and without objects: the first
prediction of a request, of one item, and the first feedback of a packed request. All else is left to
the fold; in which order the two take a batch's rows makes no difference.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from processor.domain.join.delta_accumulator import DeltaAccumulator
from processor.domain.join.judge import Outcome
from processor.domain.join.outcome_resolver import OutcomeResolver
from processor.domain.join.packed_table import (
    CONTENT,
    CONTENT_AT,
    FEEDBACK,
    FEEDBACK_AT,
    MOST_BYTES,
    ROW,
)
from processor.domain.join.request_ids import pack_ids
from processor.domain.join.request_store import RequestRef, RequestStore
from processor.domain.join.state import JoinState, Made, Said
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    read_feedbacks,
    read_predictions,
)
from processor.domain.timestamps import HOUR, MINUTE

#: Outcomes of packed contents remembered.
_MEMORY = 50_000


class Tables(NamedTuple):
    """What the rows of a batch point at, as positions in the state's tables."""

    models: list[int]
    answers: list[int]
    truths: list[int]


#: Rows as objects, or packed as they are on the log.
Predictions = list[PredictionRow] | msgspec.Raw
Feedbacks = list[FeedbackRow] | msgspec.Raw


def prediction_rows(rows: Predictions) -> list[PredictionRow]:
    """The rows as objects."""
    return read_predictions(rows) if isinstance(rows, msgspec.Raw) else rows


def feedback_rows(rows: Feedbacks) -> list[FeedbackRow]:
    """The rows as objects."""
    return read_feedbacks(rows) if isinstance(rows, msgspec.Raw) else rows


class FastPath(Protocol):
    """Folds what is usual into a state. Rows may be as they are on the log; what is left never is."""

    def predict(self, rows: Predictions, tables: Tables) -> list[PredictionRow]:
        """Take predictions; those that are left."""
        ...

    def feed(
        self,
        rows: Feedbacks,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """Take feedbacks, and note in ``judged`` whose they are; those that are left."""
        ...

    def settle(
        self, predictions: Predictions, feedbacks: Feedbacks, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count requests that are whole and not to be kept; the rows of those that are left."""
        ...


class PythonFastPath:
    """The short way in Python; ``deployment_of`` is by model."""

    def __init__(
        self,
        state: JoinState,
        store: RequestStore,
        standings: OutcomeResolver,
        contributions: DeltaAccumulator,
        deployment_of: Sequence[int],
    ) -> None:
        self._state = state
        self._store = store
        self._contributions = contributions
        self._deployment_of = deployment_of
        self._standings = standings
        self._outcomes: dict[tuple[int, int], Outcome] = {}

    def predict(self, rows: Predictions, tables: Tables) -> list[PredictionRow]:
        """See `FastPath`."""
        rows, left = prediction_rows(rows), []
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, answers, _ = tables
        known, packed, others = store.prediction_ids, state.packed, state.others
        first_seen_hour, completed_until, pack = (
            state.log_time // HOUR,
            state.completed_until,
            ROW.pack,
        )
        counts: dict[tuple[int, int], int] = {}
        ids = pack_ids([row.request_id for row in rows])
        for row, (key, code) in zip(rows, ids, strict=True):
            answer, predicted_at, model = row.answers, row.time, models[row.model]
            deployment = deployment_of[model]
            held = others[deployment]
            if (
                key is not None
                and isinstance(answer, int)
                and predicted_at > completed_until
                and not (held and row.request_id in held)
            ):
                table = packed[deployment]
                number = code & table.mask
                if number < table.split:
                    number = code & (table.mask << 1 | 1)
                bucket = table.buckets[number]
                if bucket.find(key) < 0 and len(bucket) < MOST_BYTES:
                    content = (
                        model,
                        row.source_rank,
                        row.digest,
                        answers[answer],
                        row.provisional,
                        False,
                    )
                    made = known.get(content)
                    if made is None:
                        made = store.made(Made._make(content))
                    if made is not None:
                        if table.copies is not None:
                            table.keep(number)
                        bucket += pack(key, first_seen_hour, made, predicted_at, 0, 0)
                        table.count += 1
                        if table.count > table.room:
                            table.grow()
                        minute = model, predicted_at // MINUTE
                        counts[minute] = counts.get(minute, 0) + 1
                        continue
            left.append(row)
        for (model, at), items in counts.items():
            self._contributions.predicted(model, at, items)
            state.waiting += items
        return left

    def feed(
        self,
        rows: Feedbacks,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """See `FastPath`."""
        rows, left, taken = feedback_rows(rows), [], []
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, _, truths = tables
        known, packed, made_contents = store.feedback_ids, state.packed, state.made
        size = ROW.size
        read, write, outcomes = CONTENT.unpack_from, FEEDBACK.pack_into, self._outcomes
        ids = pack_ids([row.request_id for row in rows])
        for row, (key, code) in zip(rows, ids, strict=True):
            truth, scope = row.truth, models[row.scope]
            deployment = deployment_of[scope]
            if key is not None and not isinstance(truth, list):
                table = packed[deployment]
                number = code & table.mask
                if number < table.split:
                    number = code & (table.mask << 1 | 1)
                bucket = table.buckets[number]
                at = bucket.find(key)
                if at >= 0 and not at % size:
                    made, predicted_at, held, _ = read(bucket, at + CONTENT_AT)
                    model = made_contents[made].model
                    if not held and (truth is not None or scope == model):
                        reading = None if truth is None else truths[truth]
                        content = scope, row.source_rank, row.digest, reading, row.reward
                        said = known.get(content)
                        if said is None:
                            said = store.said(Said._make(content))
                        if said is not None:
                            feedback_at = row.time
                            if table.copies is not None:
                                table.keep(number)
                            write(bucket, at + FEEDBACK_AT, said, feedback_at)
                            outcome = outcomes.get((made, said)) or self._outcome(made, said)
                            taken.append((model, predicted_at, feedback_at, outcome))
                            if judged is not None:
                                judged[deployment, row.request_id] = offset
                            continue
            left.append(row)
        self._contributions.first_judged(taken)
        state.waiting -= len(taken)
        return left

    def settle(
        self, predictions: Predictions, feedbacks: Feedbacks, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """See `FastPath`: there is none."""
        return prediction_rows(predictions), feedback_rows(feedbacks)

    def _outcome(self, made: int, said: int) -> Outcome:
        """What packed contents come to, for the first time."""
        if len(self._outcomes) > _MEMORY:
            self._outcomes.clear()
        _, _, _, truth, reward = self._state.said[said - 1]
        outcome = self._standings.outcome(self._state.made[made].answer, truth, reward)
        self._outcomes[made, said] = outcome
        return outcome
