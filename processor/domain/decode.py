"""Events to observations: the one place where what was sent becomes what it means."""

from collections.abc import Sequence

from processor.domain.counts import ModelKey
from processor.domain.envelope import FEEDBACK, REQUEST, Envelope, EnvelopeReader
from processor.domain.events import DeadLetter
from processor.domain.labels import (
    UNSCORABLE,
    Answer,
    Reading,
    digest,
    interpret,
    name_truth,
    read_row,
)
from processor.domain.models import ModelRules, Rule
from processor.domain.observations import EVENT, Feedback, Prediction
from processor.domain.payloads import Rows, read_feedback, read_response
from processor.domain.telemetry import Telemetry
from processor.domain.times import MINUTE, TimeParser

#: A time this far ahead of its record's is counted: a clock is wrong somewhere (rule 13).
FUTURE = 5 * MINUTE

#: How many different models, answers and judgements are remembered, and lists of names of a model.
_CACHE, _NAMES = 10_000, 16


class Decoder:
    """Understands events one by one and counts what it sees in ``telemetry``."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self._rule_of = rules
        self._envelope = EnvelopeReader()
        self._time = TimeParser()
        self._models: dict[ModelKey, _Model] = {}
        self._judgements: dict[tuple[Reading | None, int | None], int] = {}

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Prediction | Feedback | DeadLetter | None:
        """What an event says; None where there is nothing to keep (a request, an excluded model,
        a feedback that says nothing). ``timestamp``: see `RawEvent`."""
        telemetry = self.telemetry
        envelope = self._envelope(headers, value)
        if isinstance(envelope, DeadLetter):
            return self.dead(envelope)
        kind = envelope.kind
        if kind == REQUEST:
            telemetry.events[REQUEST] += 1
            return None
        time = timestamp if envelope.time is None else self._time(envelope.time)
        if time is None:
            return self.dead(
                DeadLetter("bad_time", f"ce_time {(envelope.time or b'')[:60]!r} is not RFC 3339")
            )
        if time < 0:
            return self.dead(DeadLetter("bad_time", "no ce_time, and a file has no other time"))
        telemetry.events[kind] += 1
        if time > timestamp + FUTURE and timestamp >= 0:
            telemetry.future_times += 1
        if kind == FEEDBACK:
            return self._feedback(envelope, time)
        key = envelope.key
        model = self._models.get(key) or self._remember(key)
        if model.rule.exclude:
            return None
        rows = read_response(envelope.data)
        if isinstance(rows, DeadLetter):
            telemetry.events[kind] -= 1
            return self.dead(rows)
        answers, content = self._answers(model, rows)
        return Prediction(key, envelope.request_id, time, EVENT, content, answers)

    def _answers(self, model: "_Model", rows: Rows) -> tuple[tuple[Answer, ...], int]:
        """The predicted items of a message, and the digest of them all."""
        known = model.labels(rows.names)
        if len(rows.rows) == 1:
            found = known.answer(read_row(rows.rows[0]))
            reason = found[0][0].reason
            if reason is not None:
                self.telemetry.not_scorable[reason] += 1
            return found
        every = [known.answer(read_row(row)) for row in rows.rows]
        answers = tuple([answer for (answer,), _ in every])
        for answer in answers:
            if answer.reason is not None:
                self.telemetry.not_scorable[answer.reason] += 1
        return answers, digest([content for _, content in every])

    def _feedback(self, envelope: Envelope, time: int) -> Feedback | DeadLetter | None:
        scope, request_id = envelope.key, envelope.request_id
        judgement = read_feedback(envelope.data)
        if isinstance(judgement, DeadLetter):
            self.telemetry.events[FEEDBACK] -= 1
            return self.dead(judgement)
        rows, reward = judgement.truth, judgement.reward
        if rows is None and reward is None:
            self.telemetry.says_nothing += 1
            return None
        if rows is None:
            return Feedback(
                scope, request_id, time, EVENT, self._digest(None, reward), None, reward
            )
        truth = tuple([name_truth(read_row(row), rows.names) for row in rows.rows])
        for reading in truth:
            if reading.kind == UNSCORABLE:
                self.telemetry.not_scorable[str(reading.value)] += 1
        content = self._digest(truth[0], reward) if len(truth) == 1 else digest(truth, reward)
        return Feedback(scope, request_id, time, EVENT, content, truth, reward)

    def _digest(self, reading: Reading | None, reward: int | None) -> int:
        """The digest of a feedback on one row: there are few different ones."""
        content = self._judgements.get((reading, reward))
        if content is None:
            if len(self._judgements) > _CACHE:
                self._judgements.clear()
            truth = None if reading is None else (reading,)
            content = self._judgements[reading, reward] = digest(truth, reward)
        return content

    def _remember(self, key: ModelKey) -> "_Model":
        if len(self._models) > _CACHE:
            self._models.clear()
        model = self._models[key] = _Model(self._rule_of(key))
        return model

    def dead(self, letter: DeadLetter) -> DeadLetter:
        """Count a dead letter."""
        self.telemetry.events["unreadable"] += 1
        self.telemetry.dead_letters[letter.reason] += 1
        return letter


class _Model:
    """What is known of a model: its rule, and by the names that its messages have, its labels."""

    __slots__ = ("_labels", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._labels: dict[tuple[str, ...] | None, _Labels] = {}

    def labels(self, names: tuple[str, ...] | None) -> "_Labels":
        found = self._labels.get(names)
        if found is None:
            if len(self._labels) > _NAMES:
                self._labels.clear()
            found = self._labels[names] = _Labels(self.rule, names)
        return found


class _Labels:
    """Answers that a model has given, each with its digest: most rows read like an earlier one."""

    __slots__ = ("_answers", "_output", "_schema")

    def __init__(self, rule: Rule, names: tuple[str, ...] | None) -> None:
        self._output = rule.output
        self._schema = rule.schema(names)
        self._answers: dict[Reading, tuple[tuple[Answer], int]] = {}

    def answer(self, reading: Reading) -> tuple[tuple[Answer], int]:
        found = self._answers.get(reading)
        if found is None:
            if len(self._answers) > _CACHE:
                self._answers.clear()
            answer = interpret(reading, self._schema, self._output)
            # The models file's part of the schema is no content of the event.
            content = digest(answer.label, answer.reason, answer.mode, answer.schema.names)
            found = self._answers[reading] = (answer,), content
        return found
