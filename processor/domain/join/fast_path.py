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
    MAX_BUCKET_BYTES,
    ROW,
)
from processor.domain.join.request_ids import pack_ids
from processor.domain.join.request_store import RequestRef, RequestStore
from processor.domain.join.state import FeedbackContent, JoinState, PredictionContent
from processor.domain.log.observations import (
    FeedbackRow,
    PredictionRow,
    decode_feedbacks,
    decode_predictions,
)
from processor.domain.timestamps import HOUR, MINUTE

#: Outcomes of packed contents remembered.
_MEMORY = 50_000


class Tables(NamedTuple):
    """What the rows of a batch point at, as positions in the state's tables."""

    models: list[int]
    answers: list[int]
    truths: list[int]


class FastPath(Protocol):
    """Folds the common case into a state. Rows come encoded, as on the log; what is left is decoded."""

    def apply_predictions(self, rows: msgspec.Raw, tables: Tables) -> list[PredictionRow]:
        """Take predictions; those that are left."""
        ...

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """Take feedbacks, and note in ``judged`` whose they are; those that are left."""
        ...

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count requests that are whole and not to be kept; the rows of those that are left."""
        ...


class PythonFastPath:
    """The short way in Python; ``deployment_of`` is by model."""

    def __init__(
        self,
        state: JoinState,
        store: RequestStore,
        resolver: OutcomeResolver,
        accumulator: DeltaAccumulator,
        deployment_of: Sequence[int],
    ) -> None:
        self._state = state
        self._store = store
        self._accumulator = accumulator
        self._deployment_of = deployment_of
        self._resolver = resolver
        self._outcomes: dict[tuple[int, int], Outcome] = {}

    def apply_predictions(self, rows: msgspec.Raw, tables: Tables) -> list[PredictionRow]:
        """See `FastPath`."""
        decoded, left = decode_predictions(rows), list[PredictionRow]()
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, answers, _ = tables
        known, packed, others = store.prediction_ids, state.packed_requests, state.object_requests
        first_seen_hour, completed_until, pack = (
            state.log_time // HOUR,
            state.completed_until,
            ROW.pack,
        )
        counts: dict[tuple[int, int], int] = {}
        ids = pack_ids([row.request_id for row in decoded])
        for row, (key, code) in zip(decoded, ids, strict=True):
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
                if bucket.find(key) < 0 and len(bucket) < MAX_BUCKET_BYTES:
                    content = (
                        model,
                        row.source_rank,
                        row.digest,
                        answers[answer],
                        row.provisional,
                        False,
                    )
                    prediction_id = known.get(content)
                    if prediction_id is None:
                        prediction_id = store.prediction_id(PredictionContent._make(content))
                    if prediction_id is not None:
                        if table.copy_on_write is not None:
                            table.preserve(number)
                        bucket += pack(key, first_seen_hour, prediction_id, predicted_at, 0, 0)
                        table.count += 1
                        if table.count > table.grow_at:
                            table.grow()
                        minute = model, predicted_at // MINUTE
                        counts[minute] = counts.get(minute, 0) + 1
                        continue
            left.append(row)
        for (model, at), items in counts.items():
            self._accumulator.predicted(model, at, items)
            state.waiting += items
        return left

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """See `FastPath`."""
        decoded, left = decode_feedbacks(rows), list[FeedbackRow]()
        taken: list[tuple[int, int, int, Outcome]] = []
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, _, truths = tables
        known, packed, prediction_contents = (
            store.feedback_ids,
            state.packed_requests,
            state.prediction_contents,
        )
        size = ROW.size
        read, write, outcomes = CONTENT.unpack_from, FEEDBACK.pack_into, self._outcomes
        ids = pack_ids([row.request_id for row in decoded])
        for row, (key, code) in zip(decoded, ids, strict=True):
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
                    prediction_id, predicted_at, held, _ = read(bucket, at + CONTENT_AT)
                    model = prediction_contents[prediction_id].model
                    if not held and (truth is not None or scope == model):
                        reading = None if truth is None else truths[truth]
                        content = scope, row.source_rank, row.digest, reading, row.reward
                        feedback_id = known.get(content)
                        if feedback_id is None:
                            feedback_id = store.feedback_id(FeedbackContent._make(content))
                        if feedback_id is not None:
                            feedback_at = row.time
                            if table.copy_on_write is not None:
                                table.preserve(number)
                            write(bucket, at + FEEDBACK_AT, feedback_id, feedback_at)
                            outcome = outcomes.get((prediction_id, feedback_id)) or self._outcome(
                                prediction_id, feedback_id
                            )
                            taken.append((model, predicted_at, feedback_at, outcome))
                            if judged is not None:
                                judged[deployment, row.request_id] = offset
                            continue
            left.append(row)
        self._accumulator.first_judged(taken)
        state.waiting -= len(taken)
        return left

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """See `FastPath`: there is none."""
        return decode_predictions(predictions), decode_feedbacks(feedbacks)

    def _outcome(self, prediction_id: int, feedback_id: int) -> Outcome:
        """What packed contents come to, for the first time."""
        if len(self._outcomes) > _MEMORY:
            self._outcomes.clear()
        _, _, _, truth, reward = self._state.feedback_contents[feedback_id - 1]
        outcome = self._resolver.outcome(
            self._state.prediction_contents[prediction_id].answer, truth, reward
        )
        self._outcomes[prediction_id, feedback_id] = outcome
        return outcome
