"""The fast path of the join for the common case of observations: most of the stream takes it.

It applies the first prediction of a request, if it has one item, and the first feedback of a packed
request, on packed rows and without objects. All other rows are left to `JoinFold`, which applies them
request by request; the order in which the two apply a batch's rows makes no difference.
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
    MAX_ROWS_PER_BUCKET,
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
from processor.domain.values import mix

#: Outcomes of packed contents that are kept.
_MAX_OUTCOMES = 50_000


class Tables(NamedTuple):
    """The dictionaries of a batch, as positions in the state's tables."""

    models: list[int]
    answers: list[int]
    truths: list[int]


class FastPath(Protocol):
    """Applies the common case to a state. Rows come encoded, as on the log; rows for which the fast path
    is not made are returned decoded."""

    def apply_predictions(self, rows: msgspec.Raw, tables: Tables) -> list[PredictionRow]:
        """Apply predictions. Returns the remaining rows."""
        ...

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """Apply feedback, and note the offset in ``judged`` by request. Returns the remaining rows."""
        ...

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Count complete requests without keeping them. Returns the remaining rows."""
        ...


class PythonFastPath:
    """A `FastPath` in Python, without the native extension. ``deployment_of`` is by model and grows."""

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
        """Apply predictions. Returns the remaining rows."""
        decoded, remaining = decode_predictions(rows), list[PredictionRow]()
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, answers, _ = tables
        known, packed, objects = store.prediction_ids, state.packed_requests, state.object_requests
        first_seen_hour, completed_until = state.log_time // HOUR, state.completed_until
        pack = ROW.pack
        counts: dict[tuple[int, int], int] = {}
        ids = pack_ids([row.request_id for row in decoded])
        for row, (key, code) in zip(decoded, ids, strict=True):
            answer, predicted_at, model = row.answers, row.time, models[row.model]
            deployment = deployment_of[model]
            others = objects[deployment]
            if (
                key is not None
                and isinstance(answer, int)
                and not isinstance(row.values, list)
                and predicted_at > completed_until
                and not (others and row.request_id in others)
            ):
                table = packed[deployment]
                number = code & table.mask
                if number < table.split:
                    number = code & (table.mask << 1 | 1)
                bucket, values = table.buckets[number], row.values or b""
                base: int | None = row.digest
                answer = answers[answer]
                if values:
                    base = store.packed_base(answer, values, row.digest, table)
                if (
                    base is not None
                    and bucket.find(key) < 0
                    and len(bucket) < MAX_ROWS_PER_BUCKET * table.size
                ):
                    content = (
                        model,
                        row.source_rank,
                        base,
                        answer,
                        row.provisional,
                        False,
                        len(values),
                    )
                    prediction_id = known.get(content)
                    if prediction_id is None:
                        prediction_id = store.prediction_id(PredictionContent._make(content))
                    if prediction_id is not None:
                        if table.copy_on_write is not None:
                            table.preserve(number)
                        bucket += pack(key, first_seen_hour, prediction_id, predicted_at, 0, 0)
                        if table.width:
                            bucket += values.ljust(table.width, b"\0")
                        table.count += 1
                        if table.count > table.grow_at:
                            table.grow()
                        minute = model, predicted_at // MINUTE
                        counts[minute] = counts.get(minute, 0) + 1
                        continue
            remaining.append(row)
        for (model, at), items in counts.items():
            self._accumulator.add_predictions(model, at, items)
            state.waiting += items
        return remaining

    def apply_feedback(
        self,
        rows: msgspec.Raw,
        tables: Tables,
        judged: dict[RequestRef, int] | None,
        offset: int,
    ) -> list[FeedbackRow]:
        """Apply feedback, and note the offset in ``judged`` by request. Returns the remaining rows."""
        decoded, remaining = decode_feedbacks(rows), list[FeedbackRow]()
        judgements: list[tuple[int, int, int, Outcome]] = []
        store, state, deployment_of = self._store, self._state, self._deployment_of
        models, _, truths = tables
        known, packed = store.feedback_ids, state.packed_requests
        prediction_contents = state.prediction_contents
        read, write, outcomes = CONTENT.unpack_from, FEEDBACK.pack_into, self._outcomes
        ids = pack_ids([row.request_id for row in decoded])
        for row, (key, code) in zip(decoded, ids, strict=True):
            truth, scope = row.truth, models[row.scope]
            deployment = deployment_of[scope]
            values = row.values or b""
            if (
                key is not None
                and not isinstance(truth, list)
                and not isinstance(values, list)
                and (not values or truth is not None)
            ):
                table = packed[deployment]
                number = code & table.mask
                if number < table.split:
                    number = code & (table.mask << 1 | 1)
                bucket = table.buckets[number]
                at, size = bucket.find(key), table.size
                if at >= 0 and not at % size:
                    prediction_id, predicted_at, feedback, _ = read(bucket, at + CONTENT_AT)
                    prediction = prediction_contents[prediction_id]
                    model, start = prediction.model, prediction.length
                    reading = None if truth is None else truths[truth]
                    base = (
                        row.digest if not values else self._feedback_base(prediction, reading, row)
                    )
                    if not feedback and base is not None and (truth is not None or scope == model):
                        content = scope, row.source_rank, base, reading, row.reward, len(values)
                        feedback_id = known.get(content)
                        if feedback_id is None:
                            feedback_id = store.feedback_id(FeedbackContent._make(content))
                        if feedback_id is not None:
                            feedback_at = row.time
                            if table.copy_on_write is not None:
                                table.preserve(number)
                            write(bucket, at + FEEDBACK_AT, feedback_id, feedback_at)
                            at += ROW.size
                            if values:
                                bucket[at + start : at + start + len(values)] = values
                            outcome = (
                                self._resolver.outcome(
                                    prediction.answer, reading, row.reward,
                                    bytes(bucket[at : at + start]), values or None,
                                )
                                if start
                                else outcomes.get((prediction_id, feedback_id))
                                or self._outcome(prediction_id, feedback_id)
                            )  # fmt: skip
                            judgements.append((model, predicted_at, feedback_at, outcome))
                            if judged is not None:
                                judged[deployment, row.request_id] = offset
                            continue
            remaining.append(row)
        self._accumulator.add_first_judgements(judgements)
        state.waiting -= len(judgements)
        return remaining

    def apply_completed(
        self, predictions: msgspec.Raw, feedbacks: msgspec.Raw, tables: Tables
    ) -> tuple[list[PredictionRow], list[FeedbackRow]]:
        """Decode all rows: complete requests have no fast path without the native extension."""
        return decode_predictions(predictions), decode_feedbacks(feedbacks)

    def _feedback_base(
        self, prediction: PredictionContent, truth: int | None, row: FeedbackRow
    ) -> int | None:
        """The digest of a feedback without the values of its truth; None if the row has no room for
        these, or the digest of both is another."""
        values, start, store = row.values, prediction.length, self._store
        if truth is None or not isinstance(values, bytes):
            return None
        base = store.base_of_feedback(truth, row.reward)
        fits = start + len(values) <= store.width_of(prediction.answer, start)
        return base if fits and mix(base, values) == row.digest else None

    def _outcome(self, prediction_id: int, feedback_id: int) -> Outcome:
        """The outcome of two packed contents that is not kept yet."""
        if len(self._outcomes) > _MAX_OUTCOMES:
            self._outcomes.clear()
        _, _, _, truth, reward, _ = self._state.feedback_contents[feedback_id - 1]
        outcome = self._resolver.outcome(
            self._state.prediction_contents[prediction_id].answer, truth, reward
        )
        self._outcomes[prediction_id, feedback_id] = outcome
        return outcome
