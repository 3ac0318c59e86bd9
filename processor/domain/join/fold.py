"""The join: a fold of observations into last-writer-wins registers, one for each prediction and feedback
of a request.

The contribution of a request to the counts is a function of its registers, so neither the order nor the
repetition of observations matters. Each change of a contribution is sent as a delta.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from processor.domain.join.delta_accumulator import (
    DeltaAccumulator,
    Deltas,
    NativeDeltaAccumulator,
)
from processor.domain.join.fast_path import FastPath, GeneralPath, Tables
from processor.domain.join.id_set import identity, new_id_set
from processor.domain.join.native_fast_path import NativeFastPath
from processor.domain.join.outcome_resolver import JoinedPrediction, OutcomeResolver
from processor.domain.join.register_rows import answers_of, feedback_register, prediction_register
from processor.domain.join.request_store import RequestRef, RequestStore
from processor.domain.join.request_updater import RequestUpdater
from processor.domain.join.requests.finder import BatchRequests, batch_requests
from processor.domain.join.requests.request import PredictionRegister, Request
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import partition_of
from processor.domain.log.observations import (
    SCHEMA_VERSION,
    FeedbackRow,
    IngestMode,
    ObservationBatch,
    PredictionRow,
)
from processor.domain.model_key import ModelKey
from processor.domain.native import use_native
from processor.domain.timestamps import HOUR
from processor.telemetry import Telemetry

T = TypeVar("T")


class JoinFold:
    """Folds the batches of one partition (``source``) of the observations.

    A request is kept for ``horizon`` ns of log time; None keeps all. ``partitions`` is the number of
    partitions of the deltas.
    """

    def __init__(
        self, log_id: str, source: int, partitions: int, horizon: int | None, telemetry: Telemetry
    ) -> None:
        self.log_id = log_id
        self.source = source
        self.partitions = partitions
        self.horizon = horizon
        self.telemetry = telemetry
        self.unmatched: dict[RequestRef, None] | None = None
        """Requests whose feedback found no prediction, if the archive is asked for late feedback."""
        self.judged: dict[RequestRef, int] | None = None
        """Requests whose outcome may have changed, with the offset of the last change, if outcomes are
        written to the archive."""
        self._offset = -1
        self.restore(JoinState())

    def restore(self, state: JoinState) -> None:
        """Continue from a state, which the fold changes from now on."""
        self.state = state
        self._model_index = {model: i for i, model in enumerate(state.models)}
        self._answer_index = {answer: i for i, answer in enumerate(state.answers)}
        self._truth_index = {truth: i for i, truth in enumerate(state.truths)}
        self._deployment_index = {pair: i for i, pair in enumerate(state.deployments)}
        self._deployment_of: list[int] = []
        self._target_of: list[int] = []
        self._store = RequestStore(state)
        for model in state.models:
            self._add_model(model)
        self._resolver = OutcomeResolver(state)
        self._accumulator: DeltaAccumulator
        self._fast_path: FastPath
        if use_native:
            self._accumulator = accumulator = NativeDeltaAccumulator(state, self.telemetry)
            self._fast_path = NativeFastPath(
                state, self._store.codec, self._resolver, accumulator, self._deployment_of
            )
        else:
            self._accumulator = DeltaAccumulator(state, self.telemetry)
            self._fast_path = GeneralPath()
        self._updater = RequestUpdater(state, self._resolver, self._accumulator)

    def apply(self, offset: int, timestamp: int, batch: ObservationBatch) -> Deltas:
        """Fold the batch at ``offset``, appended at ``timestamp`` (ns). Returns the deltas by target
        partition. After an exception the state is undefined and must be restored; `ValueError` for an
        unknown ingest mode or malformed rows."""
        self.advance(timestamp)
        self.fold(offset, batch)
        return self.drain(offset)

    def fold(self, offset: int, batch: ObservationBatch) -> None:
        """Fold a batch at the present log time, as `apply` does; `drain` returns the deltas."""
        self._offset = offset
        self._accumulator.telemetry = self.telemetry
        models, answers, truths = tables = self._tables(batch)
        if batch.mode == IngestMode.NORMAL:
            self._fast_path.watch(self.judged, self.unmatched)
            for prediction in self._fast_path.apply_predictions(batch.predictions, tables, offset):
                self._apply_prediction(prediction, models[prediction.model], answers)
            for feedback in self._fast_path.apply_feedback(batch.feedbacks, tables, offset):
                self._apply_feedback(feedback, models[feedback.scope], truths)
        elif batch.mode == IngestMode.IF_PRESENT:
            self._apply_if_present(batch, tables)
        elif batch.mode == IngestMode.COUNT_AND_DROP:
            self._apply_completed(batch, tables)
        elif batch.mode == IngestMode.RESTORED:
            for prediction in batch.prediction_rows():
                model = models[prediction.model]
                ref = self._deployment_of[model], prediction.request_id
                request = self._store.get(*ref)
                if request is not None:
                    register = prediction_register(prediction, model, answers)
                    register.restored = True
                    self._update_with_prediction(ref, request, register)
        elif batch.mode == IngestMode.EXPIRED:
            for prediction in batch.prediction_rows():
                self._expire_feedback(models[prediction.model], prediction.request_id)
        else:
            raise ValueError(f"a batch with ingest mode {batch.mode}")

    def page_in(self, batch: ObservationBatch, restored: bool = False) -> None:
        """Put requests back that have left memory, as they were counted: no count changes. ``batch``
        holds all their observations. Predictions that are ``restored`` were counted by other rules of
        the models file, and are never taken back. Requests in memory stay as they are."""
        models, answers, truths = self._tables(batch)
        state, accumulator = self.state, self._accumulator
        diagnostics = state.rows_differ, state.ambiguous, dict(state.not_scorable)
        accumulator.telemetry = Telemetry()
        requests: dict[RequestRef, Request] = {}
        for row in batch.prediction_rows():
            ref = self._deployment_of[models[row.model]], row.request_id
            register = prediction_register(row, models[row.model], answers)
            register.restored = restored
            if ref in requests:
                self._updater.apply_prediction(requests[ref], register)
            elif not self._store.has(*ref):
                requests[ref] = self._updater.open_with_prediction(register)
        for feedback in batch.feedback_rows():
            scope = models[feedback.scope]
            ref = self._deployment_of[scope], feedback.request_id
            content = feedback_register(feedback, scope, truths)
            if ref in requests:
                self._updater.apply_feedback(requests[ref], content)
            elif not self._store.has(*ref):
                requests[ref] = self._updater.open_with_feedback(content)
        for ref, request in requests.items():
            self._store.put(*ref, request)
        accumulator.clear()
        state.rows_differ, state.ambiguous, state.not_scorable = diagnostics

    def requests_of(self, batch: ObservationBatch) -> BatchRequests:
        """The requests of a batch, and which of them are not in memory."""
        return batch_requests(self.state.requests, self._deployment_index, batch)

    def _tables(self, batch: ObservationBatch) -> Tables:
        """The positions of a batch's models, answers and truths in the tables of the state."""
        models = [self._model(model) for model in batch.models]
        answers = _positions(answers_of(batch), self._answer_index, self.state.answers)
        truths = _positions(batch.truths, self._truth_index, self.state.truths)
        return Tables(models, answers, truths)

    def _apply_if_present(self, batch: ObservationBatch, tables: Tables) -> None:
        models, answers, truths = tables
        for prediction in batch.prediction_rows():
            if self._knows(models[prediction.model], prediction.request_id):
                self._apply_prediction(prediction, models[prediction.model], answers)
            else:
                self.telemetry.catch_up_skipped += 1
        for feedback in batch.feedback_rows():
            if self._knows(models[feedback.scope], feedback.request_id):
                self._apply_feedback(feedback, models[feedback.scope], truths)
            else:
                self.telemetry.catch_up_skipped += 1

    def _apply_completed(self, batch: ObservationBatch, tables: Tables) -> None:
        """Count complete requests without keeping them; requests that are in memory stay there."""
        state = self.state
        models, answers, truths = tables
        predictions, feedbacks = self._fast_path.apply_completed(
            batch.predictions, batch.feedbacks, tables
        )
        completed: dict[RequestRef, Request] = {}
        for prediction in predictions:
            model = models[prediction.model]
            ref = self._deployment_of[model], prediction.request_id
            request = completed.get(ref) or self._store.get(*ref)
            if request is None or not request.predictions:
                if not state.completed_ids.add(self._identity(model, prediction.request_id)):
                    self.telemetry.catch_up_skipped += 1
                    continue
                state.completed_hour = state.log_time // HOUR
            state.completed_until = max(state.completed_until, prediction.time)
            register = prediction_register(prediction, model, answers)
            if request is None:
                completed[ref] = self._updater.open_with_prediction(register)
            elif ref in completed:
                self._updater.apply_prediction(request, register)
            else:
                self._update_with_prediction(ref, request, register)
        for feedback in feedbacks:
            scope = models[feedback.scope]
            request = completed.get((self._deployment_of[scope], feedback.request_id))
            if request is not None:
                self._updater.apply_feedback(request, feedback_register(feedback, scope, truths))
            elif self._knows(scope, feedback.request_id):
                self._apply_feedback(feedback, scope, truths)
            else:
                self.telemetry.catch_up_skipped += 1
        state.waiting -= sum(not request.feedbacks for request in completed.values())

    def _expire_feedback(self, model: int, request_id: str) -> None:
        """Drop a request whose feedback waits in vain: it came too late (counting rule 18)."""
        ref = self._deployment_of[model], request_id
        if self.is_unmatched(ref):
            self._store.remove(*ref)
            self.state.unmatched -= 1
            self.telemetry.late += 1

    def advance(self, timestamp: int) -> None:
        """Advance log time to ``timestamp`` (ns). Requests older than the horizon are dropped when an
        hour is over."""
        state = self.state
        if timestamp <= state.log_time:
            return
        before, state.log_time = state.log_time, timestamp
        if self.horizon is None or before // HOUR == timestamp // HOUR:
            return
        oldest = (timestamp - self.horizon) // HOUR
        self._drop_before(oldest)
        if state.completed_ids and state.completed_hour < oldest:
            state.completed_ids, state.completed_until = new_id_set(), -1

    def evict(self, before: int) -> int:
        """Drop requests first seen before a log hour, ahead of the horizon. Returns how many."""
        return self._drop_before(before)

    @property
    def approx_bytes(self) -> int:
        """About how many bytes of memory the requests take."""
        return self._store.approx_bytes

    def oldest(self) -> int | None:
        """The log hour in which the oldest request in memory was first seen, None if there is none.
        Looks at every request."""
        return self._store.oldest()

    def joined_predictions(self) -> Iterator[JoinedPrediction]:
        """Every prediction in memory with its feedback and outcome, as they count now."""
        for joined_predictions in self.requests():
            yield from joined_predictions

    def requests(self) -> Iterator[list[JoinedPrediction]]:
        """The joined predictions of every request in memory; an empty list for a request whose feedback
        waits for its prediction."""
        for _, request in self._store.items():
            yield self._resolver.of(request)

    def group_by_content(
        self,
        in_range: Callable[[int, int | None], bool],
        judge: Callable[[Request, bool], bool] | None = None,
    ) -> Iterator[tuple[JoinedPrediction, bool, int]]:
        """The joined predictions in memory, grouped by content: one of each group, whether ``in_range``
        is true of the times (ns) of the prediction and its feedback, and the size of the group. A
        joined prediction of a group has no times of its own. See `RequestStore.group_by_content` for
        ``judge``."""
        for request, is_in_range, count in self._store.group_by_content(in_range, judge):
            for joined in self._resolver.of(request):
                feedback = joined.feedback
                feedback_at = None if feedback is None else feedback.time
                yield (
                    joined,
                    in_range(joined.prediction.time, feedback_at)
                    if is_in_range is None
                    else is_in_range,
                    count,
                )

    def joined_predictions_of(self, ref: RequestRef) -> list[JoinedPrediction]:
        """The joined predictions of one request; an empty list if it is not in memory."""
        request = self._store.get(*ref)
        return [] if request is None else self._resolver.of(request)

    def has_prediction(self, namespace: str, deployment: str, request_id: str) -> bool:
        """Whether a request in memory has a prediction."""
        position = self._deployment_index.get((namespace, deployment))
        request = None if position is None else self._store.get(position, request_id)
        return request is not None and bool(request.predictions)

    def is_unmatched(self, ref: RequestRef) -> bool:
        """Whether the feedback of a request in memory waits for its prediction."""
        request = self._store.get(*ref)
        return request is not None and not request.predictions

    def refs(self) -> Iterator[tuple[RequestRef, Request]]:
        """Every request in memory, to be read only; see `RequestStore.items` for changes meanwhile."""
        return self._store.items()

    def unmatched_refs(self) -> Iterator[RequestRef]:
        """Every request in memory whose feedback waits for its prediction."""
        return self._store.unmatched()

    def _knows(self, model: int, request_id: str) -> bool:
        return self._store.has(self._deployment_of[model], request_id)

    def _identity(self, model: int, request_id: str) -> int:
        namespace, deployment, _, _ = self.state.models[model]
        return identity(namespace, deployment, request_id)

    def _drop_before(self, before: int) -> int:
        """Drop all requests first seen before a log hour. Returns how many."""
        dropped, waiting, unmatched = self._store.expire(before)
        self.state.waiting -= waiting
        self.state.unmatched -= unmatched
        self.telemetry.late += unmatched
        return dropped

    def _apply_prediction(self, row: PredictionRow, model: int, answers: list[int]) -> None:
        ref = self._deployment_of[model], row.request_id
        request, state = self._store.get(*ref), self.state
        if (
            row.time <= state.completed_until
            and (request is None or not request.predictions)
            and self._identity(model, row.request_id) in state.completed_ids
        ):
            self.telemetry.duplicates += 1  # it was counted and not kept
            return
        self._update_with_prediction(ref, request, prediction_register(row, model, answers))

    def _update_with_prediction(
        self, ref: RequestRef, request: Request | None, register: PredictionRegister
    ) -> None:
        if request is None:
            self._store.put(*ref, self._updater.open_with_prediction(register))
            return
        if request.feedbacks and self.judged is not None:
            self.judged[ref] = self._offset
        if self._updater.apply_prediction(request, register):
            self._store.put(*ref, request)

    def _apply_feedback(self, row: FeedbackRow, scope: int, truths: list[int]) -> None:
        ref = self._deployment_of[scope], row.request_id
        register, request = feedback_register(row, scope, truths), self._store.get(*ref)
        if request is None:
            self._store.put(*ref, self._updater.open_with_feedback(register))
            if self.unmatched is not None:
                self.unmatched[ref] = None
            return
        if request.predictions and self.judged is not None:
            self.judged[ref] = self._offset
        if self._updater.apply_feedback(request, register):
            self._store.put(*ref, request)

    def drain(self, offset: int) -> Deltas:
        """Return the deltas since the last call, by target partition."""
        head = (SCHEMA_VERSION, self.log_id, self.source, offset)
        batches = self._accumulator.drain(self._target_of, head)
        sent = self.state.sent
        for target, batch in batches.items():
            batch.prev = sent.get(target, -1)
            sent[target] = offset
        return batches

    def _model(self, model: ModelKey) -> int:
        position = self._model_index.get(model)
        if position is None:
            position = self._model_index[model] = len(self.state.models)
            self.state.models.append(model)
            self._add_model(model)
        return position

    def _add_model(self, model: ModelKey) -> None:
        pair = (model.namespace, model.deployment)
        deployment = self._deployment_index.get(pair)
        if deployment is None:
            deployment = self._deployment_index[pair] = len(self.state.deployments)
            self.state.deployments.append(pair)
            self._store.add_deployment()
        self._deployment_of.append(deployment)
        self._target_of.append(partition_of("\0".join(model), self.partitions))


def _positions(entries: Iterable[T], index: dict[T, int], table: list[T]) -> list[int]:
    """The positions of a dictionary's entries in a table of the state, to which new ones are added."""
    positions = []
    for entry in entries:
        position = index.setdefault(entry, len(table))
        if position == len(table):
            table.append(entry)
        positions.append(position)
    return positions
