"""Events to observations: the one place where what was sent becomes what it means."""

from collections.abc import Sequence

from processor.domain.counts import ModelKey
from processor.domain.envelope import FEEDBACK, REQUEST, EnvelopeReader
from processor.domain.events import DeadLetter
from processor.domain.labels import (
    UNSCORABLE,
    Answer,
    Reading,
    Schema,
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

#: How many different answers and schemas are remembered.
_CACHE = 10_000


class Decoder:
    """Understands events one by one and counts what it sees in ``telemetry``."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self._rule_of = rules
        self._envelope = EnvelopeReader()
        self._time = TimeParser()
        self._rules: dict[ModelKey, Rule] = {}
        self._schemas: dict[tuple[Rule, tuple[str, ...] | None], Schema] = {}
        self._answers: dict[tuple[Reading, Schema, str | None], tuple[Answer, int]] = {}

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Prediction | Feedback | DeadLetter | None:
        """What an event says; None where there is nothing to keep (a request, an excluded model,
        a feedback that says nothing). ``timestamp``: see `RawEvent`."""
        telemetry = self.telemetry
        envelope = self._envelope(headers, value)
        if isinstance(envelope, DeadLetter):
            return self.dead(envelope)
        kind, key, request_id, time_text, data = envelope
        if kind == REQUEST:
            telemetry.events[REQUEST] += 1
            return None
        if time_text is not None:
            time = self._time(time_text)
            if time is None:
                return self.dead(
                    DeadLetter("bad_time", f"ce_time {time_text[:60]!r} is not RFC 3339")
                )
        elif timestamp >= 0:
            time = timestamp
        else:
            return self.dead(DeadLetter("bad_time", "no ce_time, and a file has no other time"))
        telemetry.events[kind] += 1
        if time > timestamp + FUTURE and timestamp >= 0:
            telemetry.future_times += 1
        if kind == FEEDBACK:
            return self._feedback(key, request_id, time, data)
        rule = self._rules.get(key) or self._remember(key)
        if rule.exclude:
            return None
        rows = read_response(data)
        if isinstance(rows, DeadLetter):
            telemetry.events[kind] -= 1
            return self.dead(rows)
        answers, content = self.answers(rule, rows)
        return Prediction(key, request_id, time, EVENT, content, answers)

    def answers(self, rule: Rule, rows: Rows) -> tuple[tuple[Answer, ...], int]:
        """The predicted items of a message, and the digest of them all."""
        names = rows.names
        schema = self._schemas.get((rule, names))
        if schema is None:
            if len(self._schemas) > _CACHE:
                self._schemas.clear()
            schema = self._schemas[rule, names] = rule.schema(names)
        if len(rows.rows) == 1:
            answer, content = self._answer(read_row(rows.rows[0]), schema, rule)
            return (answer,), content
        pairs = [self._answer(read_row(row), schema, rule) for row in rows.rows]
        return tuple(answer for answer, _ in pairs), digest([content for _, content in pairs])

    def _answer(self, reading: Reading, schema: Schema, rule: Rule) -> tuple[Answer, int]:
        found = self._answers.get((reading, schema, rule.output))
        if found is None:
            if len(self._answers) > _CACHE:
                self._answers.clear()
            answer = interpret(reading, schema, rule.output)
            # The models file's part of the schema is no content of the event.
            content = digest(answer.label, answer.reason, answer.mode, answer.schema.names)
            found = self._answers[reading, schema, rule.output] = answer, content
        if found[0].reason is not None:
            self.telemetry.not_scorable[found[0].reason] += 1
        return found

    def _feedback(
        self, scope: ModelKey, request_id: str, time: int, data: bytes
    ) -> Feedback | DeadLetter | None:
        judgement = read_feedback(data)
        if isinstance(judgement, DeadLetter):
            self.telemetry.events[FEEDBACK] -= 1
            return self.dead(judgement)
        rows, reward = judgement
        if rows is None and reward is None:
            self.telemetry.says_nothing += 1
            return None
        truth = None
        if rows is not None:
            truth = tuple(name_truth(read_row(row), rows.names) for row in rows.rows)
            for reading in truth:
                if reading.kind == UNSCORABLE:
                    self.telemetry.not_scorable[str(reading.value)] += 1
        return Feedback(scope, request_id, time, EVENT, digest(truth, reward), truth, reward)

    def _remember(self, key: ModelKey) -> Rule:
        if len(self._rules) > _CACHE:
            self._rules.clear()
        rule = self._rules[key] = self._rule_of(key)
        return rule

    def dead(self, letter: DeadLetter) -> DeadLetter:
        """Count a dead letter."""
        self.telemetry.events["unreadable"] += 1
        self.telemetry.dead_letters[letter.reason] += 1
        return letter
