"""The join: a fold of observations into a register per prediction and feedback of each request.

What a request contributes to the counts is a function of its registers, so neither the order of the
observations nor their repetition matters; each change of that contribution goes out as a delta.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from processor.domain.counts import Counts, ModelKey
from processor.domain.deltas import Changes, DeltaBatch, partition_of
from processor.domain.id_set import IdSet, identity
from processor.domain.join_state import (
    FeedbackRegister,
    JoinState,
    PredictionRegister,
    Request,
    positions,
)
from processor.domain.judge import AMBIGUOUS, ROWS_DIFFER, UNCERTAIN, Outcome, judge
from processor.domain.labels import Answer, Reading
from processor.domain.observations import (
    AS_THEY_ARE,
    KNOWN_ONLY,
    RECALLED,
    SCHEMA_VERSION,
    SETTLED,
    TOO_LATE,
    FeedbackRow,
    ObservationBatch,
    PredictionRow,
)
from processor.domain.telemetry import Telemetry
from processor.domain.times import HOUR, MINUTE, SECOND

#: Outcomes remembered, so that most judgements are one look-up.
_MEMORY = 50_000


R = TypeVar("R", PredictionRegister, FeedbackRegister)


#: A deployment's position in the state's table, and a request's id.
RequestPlace = tuple[int, str]


class Standing(NamedTuple):
    """What one prediction contributes; feedback and outcome are None while it waits."""

    prediction: PredictionRegister
    feedback: FeedbackRegister | None
    outcome: Outcome | None


class JoinFold:
    """Folds batches of one partition of the observations.

    ``horizon`` (ns of log time) bounds how long a request is kept, None keeps all. ``partitions`` is
    the number of partitions of the deltas.
    """

    def __init__(
        self, epoch: str, source: int, partitions: int, horizon: int | None, telemetry: Telemetry
    ) -> None:
        self.epoch = epoch
        self.source = source
        self.partitions = partitions
        self.horizon = horizon
        self.telemetry = telemetry
        self.unmatched: dict[RequestPlace, None] | None = None
        """Requests whose feedback found no prediction: for whoever asks the archive."""
        self.judged: dict[RequestPlace, int] | None = None
        """Requests that may be judged otherwise since an offset: for whoever tells the archive."""
        self._offset = -1
        self.restore(JoinState())

    def restore(self, state: JoinState) -> None:
        """Go on from a state; it becomes this fold's own."""
        self.state = state
        self._model_index = {model: i for i, model in enumerate(state.models)}
        self._answer_index = {answer: i for i, answer in enumerate(state.answers)}
        self._truth_index = {truth: i for i, truth in enumerate(state.truths)}
        self._deployment_index = {pair: i for i, pair in enumerate(state.deployments)}
        self._deployment_of: list[int] = []
        self._target_of: list[int] = []
        for model in state.models:
            self._place(model)
        self._outcomes: dict[object, Outcome] = {}
        self._changes = Changes()
        self._predicted: dict[tuple[int, int], int] = {}
        self._judged: dict[tuple[int, int, int, Outcome], int] = {}

    def apply(self, offset: int, timestamp: int, batch: ObservationBatch) -> dict[int, DeltaBatch]:
        """Fold the batch at ``offset``, appended at ``timestamp`` (ns); the deltas it makes, by
        target partition. After an exception the state is undefined: restore it."""
        self.advance(timestamp)
        self._offset = offset
        models = [self._model(ModelKey(*model)) for model in batch.models]
        answers = [
            self._answer(Answer(row.label, row.reason, row.mode, batch.schemas[row.schema]))
            for row in batch.answers
        ]
        truths = [self._truth(truth) for truth in batch.truths]
        if batch.terms == AS_THEY_ARE:
            for prediction in batch.predictions:
                self._predict(prediction, models[prediction.model], answers)
            for feedback in batch.feedbacks:
                self._feed(feedback, models[feedback.scope], truths)
        elif batch.terms == KNOWN_ONLY:
            self._apply_known(batch, models, answers, truths)
        elif batch.terms == SETTLED:
            self._settle(batch, models, answers, truths)
        elif batch.terms == RECALLED:
            for prediction in batch.predictions:
                if self._knows(models[prediction.model], prediction.request_id):
                    self._predict(prediction, models[prediction.model], answers, recalled=True)
        elif batch.terms == TOO_LATE:
            for prediction in batch.predictions:
                self._give_up(models[prediction.model], prediction.request_id)
        else:
            raise ValueError(f"a batch with terms {batch.terms}")
        return self._deltas(offset)

    def _apply_known(
        self, batch: ObservationBatch, models: list[int], answers: list[int], truths: list[int]
    ) -> None:
        for prediction in batch.predictions:
            if self._knows(models[prediction.model], prediction.request_id):
                self._predict(prediction, models[prediction.model], answers)
            else:
                self.telemetry.catch_up_skipped += 1
        for feedback in batch.feedbacks:
            if self._knows(models[feedback.scope], feedback.request_id):
                self._feed(feedback, models[feedback.scope], truths)
            else:
                self.telemetry.catch_up_skipped += 1

    def _settle(
        self, batch: ObservationBatch, models: list[int], answers: list[int], truths: list[int]
    ) -> None:
        """Count requests whole; those that are in memory already stay there."""
        state = self.state
        passing: list[RequestPlace] = []
        for prediction in batch.predictions:
            model, request_id = models[prediction.model], prediction.request_id
            requests = state.requests[self._deployment_of[model]]
            request = requests.get(request_id)
            if request is None or not request.predictions:
                if not state.settled.add(self._identity(model, request_id)):
                    self.telemetry.catch_up_skipped += 1
                    continue
                state.settled_at = state.log_time // HOUR
                if request is None:
                    passing.append((self._deployment_of[model], request_id))
            state.settled_to = max(state.settled_to, prediction.time)
            self._predict(prediction, model, answers, settling=True)
        for feedback in batch.feedbacks:
            if self._knows(models[feedback.scope], feedback.request_id):
                self._feed(feedback, models[feedback.scope], truths)
            else:
                self.telemetry.catch_up_skipped += 1
        for deployment, request_id in passing:
            if not state.requests[deployment].pop(request_id).feedbacks:
                state.waiting -= 1
            if self.judged is not None:
                # Whoever settled it tells the archive.
                self.judged.pop((deployment, request_id), None)

    def _give_up(self, model: int, request_id: str) -> None:
        """The feedback that waits for this request is late (rule 18)."""
        requests = self.state.requests[self._deployment_of[model]]
        request = requests.get(request_id)
        if request is not None and not request.predictions:
            self._forget(requests.pop(request_id))

    def advance(self, timestamp: int) -> None:
        """Move log time on; requests older than the horizon leave when an hour is over."""
        state = self.state
        if timestamp <= state.log_time:
            return
        before, state.log_time = state.log_time, timestamp
        if self.horizon is None or before // HOUR == timestamp // HOUR:
            return
        last = (timestamp - self.horizon) // HOUR
        for requests in state.requests:
            expired = []
            for request_id, request in requests.items():
                if request.born >= last:
                    break
                expired.append(request_id)
            for request_id in expired:
                self._forget(requests.pop(request_id))
        if state.settled.count and state.settled_at < last:
            state.settled, state.settled_to = IdSet(), -1

    def standings(self) -> Iterator[Standing]:
        """What every prediction in memory contributes now."""
        for standings in self.requests():
            yield from standings

    def requests(self) -> Iterator[list[Standing]]:
        """The same request by request; empty where feedback waits for its prediction."""
        for requests in self.state.requests:
            for request in requests.values():
                yield self._standing(request)

    def standings_of(self, place: RequestPlace) -> list[Standing]:
        """What the predictions of one request contribute now; none if it is not in memory."""
        deployment, request_id = place
        request = self.state.requests[deployment].get(request_id)
        return [] if request is None else self._standing(request)

    def is_unmatched(self, place: RequestPlace) -> bool:
        """Whether the feedback of a request in memory waits for its prediction."""
        deployment, request_id = place
        request = self.state.requests[deployment].get(request_id)
        return request is not None and not request.predictions

    def places(self) -> Iterator[tuple[RequestPlace, Request]]:
        """Every request in memory."""
        for deployment, requests in enumerate(self.state.requests):
            for request_id, request in requests.items():
                yield (deployment, request_id), request

    def _knows(self, model: int, request_id: str) -> bool:
        return request_id in self.state.requests[self._deployment_of[model]]

    def _identity(self, model: int, request_id: str) -> int:
        namespace, deployment, _, _ = self.state.models[model]
        return identity(namespace, deployment, request_id)

    def _forget(self, request: Request) -> None:
        if not request.predictions:
            self.state.unmatched -= 1
            self.telemetry.late += 1
        elif not request.feedbacks:
            self.state.waiting -= 1

    def _predict(
        self,
        row: PredictionRow,
        model: int,
        answers: list[int],
        recalled: bool = False,
        settling: bool = False,
    ) -> None:
        packed = row.answers
        register = PredictionRegister(
            model,
            row.time,
            row.rank,
            row.digest,
            answers[packed] if isinstance(packed, int) else [answers[i] for i in packed],
            row.weak,
            recalled,
        )
        state = self.state
        requests = state.requests[self._deployment_of[model]]
        request = requests.get(row.request_id)
        if (
            row.time <= state.settled_to
            and not (settling or recalled)
            and (request is None or not request.predictions)
            and self._identity(model, row.request_id) in state.settled
        ):
            self.telemetry.duplicates += 1  # it was counted, and not kept
            return
        if request is None:
            requests[row.request_id] = Request(state.log_time // HOUR, [register], [])
            state.waiting += 1
            self._count_predicted(register, 1)
            return
        if request.feedbacks and self.judged is not None:
            self.judged[self._deployment_of[model], row.request_id] = self._offset
        if request.predictions:
            register.recalled = any(held.recalled for held in request.predictions)
        for i, held in enumerate(request.predictions):
            if held.model == model and held.weak == register.weak:
                if self._wins(register, held):
                    self._replace(request, request.predictions, i, register)
                return
        self._insert(request, request.predictions, register)

    def _feed(self, row: FeedbackRow, scope: int, truths: list[int]) -> None:
        packed = row.truth
        truth: int | list[int] | None
        if packed is None:
            truth = None
        elif isinstance(packed, int):
            truth = truths[packed]
        else:
            truth = [truths[i] for i in packed]
        register = FeedbackRegister(scope, row.time, row.rank, row.digest, truth, row.reward)
        requests = self.state.requests[self._deployment_of[scope]]
        request = requests.get(row.request_id)
        if request is None:
            born = self.state.log_time // HOUR
            requests[row.request_id] = Request(born, [], [register])
            self.state.unmatched += 1
            if self.unmatched is not None:
                self.unmatched[self._deployment_of[scope], row.request_id] = None
            return
        if request.predictions and self.judged is not None:
            self.judged[self._deployment_of[scope], row.request_id] = self._offset
        if not request.feedbacks:
            self._judge_first(request, register)
            return
        for i, held in enumerate(request.feedbacks):
            if (truth is None) == (held.truth is None) and (
                truth is not None or held.scope == scope
            ):
                if self._wins(register, held):
                    self._replace(request, request.feedbacks, i, register)
                return
        self._insert(request, request.feedbacks, register)

    def _wins(
        self,
        new: PredictionRegister | FeedbackRegister,
        held: PredictionRegister | FeedbackRegister,
    ) -> bool:
        """Counting rule 12; either the new version or the held one is repeated or superseded."""
        if new.digest == held.digest:
            self.telemetry.duplicates += 1
        else:
            self.telemetry.superseded += 1
        return (new.time, new.rank, new.digest) > (held.time, held.rank, held.digest)

    def _replace(self, request: Request, registers: list[R], i: int, register: R) -> None:
        before = self._standing(request)
        registers[i] = register
        self._change(request, before)

    def _insert(self, request: Request, registers: list[R], register: R) -> None:
        before = self._standing(request)
        if not request.predictions:
            self.state.unmatched -= 1
        elif not request.feedbacks:
            self.state.waiting -= 1
        registers.append(register)
        if not request.predictions:
            self.state.unmatched += 1
        elif not request.feedbacks:
            self.state.waiting += 1
        self._change(request, before)

    def _judge_first(self, request: Request, feedback: FeedbackRegister) -> None:
        """The usual way of a request: its predictions wait, and the first feedback comes."""
        request.feedbacks.append(feedback)
        self.state.waiting -= 1
        predictions = request.predictions
        if len(predictions) == 1 and (
            feedback.truth is not None or feedback.scope == predictions[0].model
        ):
            outcome = self._outcome(predictions[0].answers, feedback)
            self._count_outcome(predictions[0], feedback, outcome, 1)
            self._note_joined(predictions[0], feedback)
            return
        for standing in self._standing(request):
            self._count_judged(standing, 1)
            if standing.feedback is not None:
                self._note_joined(standing.prediction, standing.feedback)

    def _standing(self, request: Request) -> list[Standing]:
        predictions = request.predictions
        if len(predictions) > 1:
            predictions = self._holding(predictions)
        feedbacks = request.feedbacks
        if not feedbacks:
            return [Standing(prediction, None, None) for prediction in predictions]
        return [self._judge(prediction, predictions, feedbacks) for prediction in predictions]

    def _holding(self, predictions: list[PredictionRegister]) -> list[PredictionRegister]:
        """Those that hold: a weak one only while its predictor has no other (rule 14)."""
        models = self.state.models
        strong = {models[p.model].predictor for p in predictions if not p.weak}
        return [p for p in predictions if not p.weak or models[p.model].predictor not in strong]

    def _judge(
        self,
        prediction: PredictionRegister,
        predictions: list[PredictionRegister],
        feedbacks: list[FeedbackRegister],
    ) -> Standing:
        """The greatest version among the feedbacks that apply counts, alone and whole (rule 12)."""
        best = None
        for feedback in feedbacks:
            if (
                feedback.truth is not None
                or feedback.scope == prediction.model
                or self._names(feedback.scope, prediction.model)
            ) and (best is None or self._is_above(feedback, best)):
                best = feedback
        if best is None:
            return Standing(prediction, None, None)
        if (
            best.truth is None
            and best.scope != prediction.model
            and sum(self._names(best.scope, other.model) for other in predictions) > 1
        ):
            return Standing(prediction, best, UNCERTAIN)
        return Standing(prediction, best, self._outcome(prediction.answers, best))

    def _is_above(self, feedback: FeedbackRegister, best: FeedbackRegister) -> bool:
        """The scope decides between rewards of one version, since the order of arrival must not:
        one that names a model is above one that names none."""
        version = (feedback.time, feedback.rank, feedback.digest)
        other = (best.time, best.rank, best.digest)
        models = self.state.models
        return version > other or (version == other and models[feedback.scope] > models[best.scope])

    def _names(self, scope: int, model: int) -> bool:
        """Whether a reward of this scope can be about the model: what it leaves out matches all."""
        named, key = self.state.models[scope], self.state.models[model]
        return named.predictor in ("", key.predictor) and named.model in ("", key.model)

    def _outcome(self, answers: int | list[int], feedback: FeedbackRegister) -> Outcome:
        truth = feedback.truth
        key = (
            answers if isinstance(answers, int) else tuple(answers),
            tuple(truth) if isinstance(truth, list) else truth,
            feedback.reward,
        )
        outcome = self._outcomes.get(key)
        if outcome is None:
            if len(self._outcomes) > _MEMORY:
                self._outcomes.clear()
            outcome = self._outcomes[key] = judge(
                [self.state.answers[i] for i in positions(answers)],
                None if truth is None else [self.state.truths[i] for i in positions(truth)],
                feedback.reward,
            )
        return outcome

    def _change(self, request: Request, before: list[Standing]) -> None:
        after = self._standing(request)
        for standing in before:
            self._count(standing, -1)
        for standing in after:
            self._count(standing, 1)
        telemetry = self.telemetry
        old = {standing.prediction.model: standing for standing in before}
        for standing in after:
            if standing.feedback is None or standing.outcome is None:
                continue
            previous = old.get(standing.prediction.model)
            if previous is None or previous.outcome is None:
                self._note_joined(standing.prediction, standing.feedback)
            elif previous.outcome is not standing.outcome:
                telemetry.corrections += 1

    def _note_joined(self, prediction: PredictionRegister, feedback: FeedbackRegister) -> None:
        self.telemetry.joined += 1
        self.telemetry.feedback_delay.observe(max(0, feedback.time - prediction.time) / SECOND)

    def _count(self, standing: Standing, sign: int) -> None:
        self._count_predicted(standing.prediction, sign)
        self._count_judged(standing, sign)

    def _count_judged(self, standing: Standing, sign: int) -> None:
        prediction, feedback, outcome = standing
        if feedback is not None and outcome is not None:
            self._count_outcome(prediction, feedback, outcome, sign)

    def _count_outcome(
        self,
        prediction: PredictionRegister,
        feedback: FeedbackRegister,
        outcome: Outcome,
        sign: int,
    ) -> None:
        judged = self._judged
        key = (prediction.model, 0, prediction.time // MINUTE, outcome)
        judged[key] = judged.get(key, 0) + sign
        key = (prediction.model, 1, feedback.time // MINUTE, outcome)
        judged[key] = judged.get(key, 0) + sign
        if outcome.kind == ROWS_DIFFER:
            self.state.rows_differ += sign
        elif outcome.kind == AMBIGUOUS:
            self.state.ambiguous += sign
        for reason in outcome.not_scorable:
            self.state.not_scorable[reason] = self.state.not_scorable.get(reason, 0) + sign

    def _count_predicted(self, prediction: PredictionRegister, sign: int) -> None:
        if prediction.recalled:
            return
        key = (prediction.model, prediction.time // MINUTE)
        items = 1 if isinstance(prediction.answers, int) else len(prediction.answers)
        self._predicted[key] = self._predicted.get(key, 0) + sign * items

    def _deltas(self, offset: int) -> dict[int, DeltaBatch]:
        changes = Changes()
        for (model, minute), items in self._predicted.items():
            if items:
                changes.add(model, 0, minute, Counts(predictions=items), 1)
        for (model, basis, minute, outcome), times in self._judged.items():
            if times:
                changes.add(model, basis, minute, outcome.counts, times)
        self._predicted.clear()
        self._judged.clear()
        batches = changes.batches(
            self.state.models, self._target_of, self.epoch, SCHEMA_VERSION, self.source, offset
        )
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
            self._place(model)
        return position

    def _place(self, model: ModelKey) -> None:
        pair = (model.namespace, model.deployment)
        deployment = self._deployment_index.get(pair)
        if deployment is None:
            deployment = self._deployment_index[pair] = len(self.state.deployments)
            self.state.deployments.append(pair)
            self.state.requests.append({})
        self._deployment_of.append(deployment)
        self._target_of.append(partition_of("\0".join(model), self.partitions))

    def _answer(self, answer: Answer) -> int:
        position = self._answer_index.get(answer)
        if position is None:
            position = self._answer_index[answer] = len(self.state.answers)
            self.state.answers.append(answer)
        return position

    def _truth(self, truth: Reading) -> int:
        position = self._truth_index.get(truth)
        if position is None:
            position = self._truth_index[truth] = len(self.state.truths)
            self.state.truths.append(truth)
        return position
