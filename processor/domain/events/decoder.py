"""Events to observations: the one place where what was sent becomes what it means."""

from collections.abc import Callable, Sequence

from processor.domain.events.attributes import FEEDBACK, REQUEST
from processor.domain.events.envelope import Envelope, EnvelopeReader
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.json_bodies import read_feedback, read_response
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.raw_event import Batch, DeadLetter, RawEvent
from processor.domain.events.structured import STRUCTURED_HEADERS
from processor.domain.log.observations import EVENT, Feedback, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.timestamps import MINUTE, TimeParser
from processor.domain.values import (
    UNSCORABLE,
    Answer,
    Reading,
    digest,
    interpret,
    map_truth,
    name_truth,
    read_row,
)
from processor.telemetry import Telemetry

#: A time this far ahead of its record's is counted: a clock is wrong somewhere (rule 13).
FUTURE = 5 * MINUTE

#: How many different models, answers and judgements are remembered, and lists of names of a model.
_CACHE, _NAMES = 10_000, 16
#: About how many bytes all that is remembered of models may take: who makes up a label with every
#: message, for many models, must not fill the memory.
_MAX_BYTES = 64 << 20
#: About what a model, a list of names or an answer takes beside its texts.
_ENTRY = 600


#: What one event says.
Decoded = Prediction | Feedback | DeadLetter | None


class Decoder:
    """Understands events one by one and counts what it sees in ``telemetry``."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.rules = rules
        rules.listeners.add(self)
        self._envelope = EnvelopeReader()
        self._time = TimeParser()
        self._models: dict[ModelKey, _Model] = {}
        self._remembered = 0
        self._judgements: dict[tuple[Reading | None, int | None], int] = {}

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Decoded | Batch:
        """What an event says; None where there is nothing to keep (a request, an excluded model,
        a feedback that says nothing); a `Batch` where there are several. ``timestamp``: see
        `RawEvent`."""
        envelope = self._envelope(headers, value)
        said = self._understand(envelope, timestamp)
        if type(said) is DeadLetter:
            if type(envelope) is Envelope and envelope.body_format is None:
                # Nearly all bodies are JSON, so only one that is not is asked what it is.
                said = self._understand(self._envelope.read(headers, value, True), timestamp)
            if type(said) is DeadLetter:
                self.dead(said)
        return said

    def _understand(
        self, envelope: Envelope | DeadLetter | list[bytes], timestamp: int
    ) -> Decoded | Batch:
        """What an envelope holds; counted, unless it is a dead letter."""
        if not isinstance(envelope, Envelope):
            if isinstance(envelope, DeadLetter):
                return envelope
            return Batch([RawEvent(STRUCTURED_HEADERS, event, timestamp) for event in envelope])
        kind = envelope.kind
        if kind == REQUEST:
            self.telemetry.events[REQUEST] += 1
            return None
        time = timestamp if envelope.time is None else self._time(envelope.time)
        if time is None:
            return DeadLetter(
                "bad_time", f"ce_time {(envelope.time or b'')[:60]!r} is not RFC 3339"
            )
        if time < 0:
            return DeadLetter("bad_time", "no ce_time, and a file has no other time")
        key, form = envelope.key, envelope.body_format
        model = self._models.get(key) or self._remember(key)
        said: Decoded = None
        if kind == FEEDBACK:
            said = self._feedback(envelope, model.rule, time)
            if type(said) is DeadLetter:
                return said
        elif not model.rule.exclude:
            output = model.rule.output_name
            rows = (
                read_response(envelope.data, output)
                if form is None
                else bodies.read_response(envelope.data, form, output)
            )
            if isinstance(rows, DeadLetter):
                return rows
            answers, content = self._answers(model, rows)
            said = Prediction(key, envelope.request_id, time, EVENT, content, answers)
        telemetry = self.telemetry
        telemetry.events[kind] += 1
        if time > timestamp + FUTURE and timestamp >= 0:
            telemetry.future_times += 1
        return said

    def _answers(self, model: "_Model", rows: PayloadRows) -> tuple[tuple[Answer, ...], int]:
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

    def _feedback(self, envelope: Envelope, rule: Rule, time: int) -> Feedback | DeadLetter | None:
        scope, request_id, form = envelope.key, envelope.request_id, envelope.body_format
        judgement = (
            read_feedback(envelope.data, rule.output_name)
            if form is None
            else bodies.read_feedback(envelope.data, form, rule.output_name)
        )
        if isinstance(judgement, DeadLetter):
            return judgement
        rows, reward = judgement.truth, judgement.reward
        if rows is None and reward is None:
            self.telemetry.says_nothing += 1
            return None
        if rows is None:
            return Feedback(
                scope, request_id, time, EVENT, self._digest(None, reward), None, reward
            )
        truth = tuple([name_truth(read_row(row), rows.names) for row in rows.rows])
        if rule.labels is not None:
            truth = tuple([map_truth(reading, rule.labels) for reading in truth])
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
        model = self._models[key] = _Model(self.rules(key), self._note)
        return model

    def _note(self, size: int) -> None:
        """So many bytes more are remembered; when it is too much, all is forgotten."""
        self._remembered += size
        if self._remembered > _MAX_BYTES:
            self.invalidate()

    def invalidate(self) -> None:
        """Ask the rules again of every model: they have changed."""
        self._models.clear()
        self._remembered = 0

    def dead(self, letter: DeadLetter) -> DeadLetter:
        """Count a dead letter."""
        self.telemetry.events["unreadable"] += 1
        self.telemetry.dead_letters[letter.reason] += 1
        return letter


class _Model:
    """What is known of a model: its rule, and by the names that its messages have, its labels."""

    __slots__ = ("_labels", "_note", "rule")

    def __init__(self, rule: Rule, note: Callable[[int], None]) -> None:
        self.rule = rule
        self._note = note
        note(_ENTRY)
        self._labels: dict[tuple[str, ...] | None, _Labels] = {}

    def labels(self, names: tuple[str, ...] | None) -> "_Labels":
        found = self._labels.get(names)
        if found is None:
            if len(self._labels) > _NAMES:
                self._labels.clear()
            found = self._labels[names] = _Labels(self.rule, names, self._note)
        return found


class _Labels:
    """Answers that a model has given, each with its digest: most rows read like an earlier one."""

    __slots__ = ("_answers", "_note", "_rule", "_schema")

    def __init__(
        self, rule: Rule, names: tuple[str, ...] | None, note: Callable[[int], None]
    ) -> None:
        self._rule = rule
        self._note = note
        note(_ENTRY + sum(map(len, names or ())))
        self._schema = rule.schema(names)
        self._answers: dict[Reading, tuple[tuple[Answer], int]] = {}

    def answer(self, reading: Reading) -> tuple[tuple[Answer], int]:
        found = self._answers.get(reading)
        if found is None:
            if len(self._answers) > _CACHE:
                self._answers.clear()
            answer = interpret(reading, self._schema, self._rule.output, self._rule.labels)
            # The models file's part of the schema is no content of the event.
            content = digest(answer.label, answer.reason, answer.mode, answer.schema.names)
            found = self._answers[reading] = (answer,), content
            self._note(_ENTRY + len(answer.label or ""))
        return found
