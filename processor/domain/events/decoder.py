"""Events to observations: the one place that decides what an event means."""

import logging
from collections.abc import Sequence
from itertools import chain

import msgspec

from processor.domain.events.attributes import FEEDBACK, OTHER, REQUEST, is_quoted
from processor.domain.events.dead_letters import printable
from processor.domain.events.envelope import Envelope, EnvelopeReader
from processor.domain.events.payloads import bodies
from processor.domain.events.payloads.json_bodies import read_feedback, read_response
from processor.domain.events.payloads.model_rows import Model
from processor.domain.events.payloads.rows import PayloadRows
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent, Uncounted
from processor.domain.events.structured import STRUCTURED_HEADERS
from processor.domain.log.observations import EVENT, Feedback, Prediction
from processor.domain.memo import Memo
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules, Rule
from processor.domain.timestamps import MINUTE, TimeParser, is_zero_time
from processor.domain.values import (
    LABEL_SET,
    SCORES,
    UNSCORABLE,
    Answer,
    Reading,
    digest,
    mix,
)
from processor.telemetry import Telemetry

logger = logging.getLogger(__name__)

#: A time this far ahead of its record's time, in ns, is counted: some clock is wrong (rule 13).
FUTURE = 5 * MINUTE

#: The most models and feedback contents that a decoder remembers.
_MAX_ENTRIES = 10_000
#: The most bytes, about, of all that is remembered of models: a sender that makes up a label with
#: every message, for many models, must not fill the memory.
_MAX_BYTES = 64 << 20
#: Stands for a truth row without a number where some have one.
_NO_DOUBLE = b"\xff" * 8


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """The meaning of one event, of all events in a batched one, or of one document of an archive.

    Nothing is left of a request, of an excluded model's response and of an empty feedback.
    """

    observations: tuple[Prediction | Feedback, ...] = ()
    dead_letters: tuple[tuple[RawEvent, DeadLetter], ...] = ()
    """The events that cannot be understood, each with its reason."""
    reusable: bool = False
    """Whether an event that differs in nothing but its request, time and values means the same but for
    these values, and counts the same in the telemetry: all of its items can be scored, or it is a
    request. The values must be on the same side of a threshold, or have the same largest one."""
    events: int = 1
    """The number of events that were read."""
    excluded: ModelKey | None = None
    """The model of a response that the models file excludes, which means nothing and is only counted."""
    is_other: bool = False
    """Whether it is one event, which says nothing about predictions and need not be kept."""

    @property
    def repeats(self) -> bool:
        """Whether an event with equal values is likely to come again: it is reusable, and no row is a
        number, a single probability or a label set."""
        return self.reusable and all(map(_repeats, self.observations))

    @property
    def dead_letter(self) -> DeadLetter | None:
        """The first dead letter, None if everything was understood."""
        return self.dead_letters[0][1] if self.dead_letters else None


_NOTHING, _REQUEST, _OTHER = Decoded(), Decoded(reusable=True), Decoded(is_other=True)


def merge(parts: Sequence[Decoded], events: int) -> Decoded:
    """Return the meaning of several parts as one of ``events`` events, which is not reusable."""
    return Decoded(
        tuple(chain.from_iterable(part.observations for part in parts)),
        tuple(chain.from_iterable(part.dead_letters for part in parts)),
        events=events,
    )


def _repeats(observation: Prediction | Feedback) -> bool:
    if isinstance(observation, Feedback):
        is_set = any(row.kind == LABEL_SET for row in observation.truth or ())
        return not observation.values and not is_set
    modes = {answer.mode for answer in observation.answers}
    return modes == {SCORES} if observation.values else LABEL_SET not in modes


class Decoder:
    """Decodes events one by one and counts them in ``telemetry``."""

    def __init__(self, rules: ModelRules, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.rules = rules
        rules.listeners.add(self)
        self._envelope = EnvelopeReader(rules)
        self._time = TimeParser()
        self._models = Memo[ModelKey, Model](_MAX_ENTRIES)
        self._remembered_bytes = 0
        self._feedback_digests = Memo[tuple[Reading | None, int | None], int](_MAX_ENTRIES)

    def decode(
        self, headers: Sequence[tuple[str, bytes]], value: bytes | None, timestamp: int
    ) -> Decoded:
        """Decode a record, whose parts are those of a `RawEvent`.

        It never fails: a defect of the decoder makes a dead letter too, and is logged.
        """
        try:
            envelope = self._envelope(headers, value)
            decoded = self._decode(envelope, timestamp) if type(envelope) is Envelope else envelope
            if type(decoded) is Decoded:
                return decoded
            if isinstance(decoded, Uncounted):
                return self._count_only(decoded)
            if isinstance(decoded, list):
                parts = [self.decode(STRUCTURED_HEADERS, event, timestamp) for event in decoded]
                return merge(parts, len(parts))
            if type(envelope) is Envelope and envelope.body_format is None:
                # Nearly all bodies are JSON, so the format is resolved only for one that is not.
                again = self._envelope.read(headers, value, True)
                decoded = self._decode(again, timestamp) if type(again) is Envelope else again
                if type(decoded) is Decoded:
                    return decoded
                if isinstance(decoded, Uncounted):
                    return self._count_only(decoded)
            assert isinstance(decoded, DeadLetter)
            letter = decoded
        except Exception as error:
            # It must not stop the stream, nor lose the event that showed it.
            logger.exception("an event failed to decode")
            letter = DeadLetter("bad_shape", f"{type(error).__name__} while decoding")
        self.count_dead_letter(letter)
        return Decoded((), ((RawEvent(headers, value, timestamp), letter),))

    def decode_row(self, row: TableRow) -> list[Prediction | Feedback] | DeadLetter:
        """Decode a row of a table to its prediction and its feedback.

        A row that has neither is counted as a feedback that says nothing. A dead letter is counted
        too.
        """
        key, request_id, time, feedback_time, answer, truth, reward = row
        model = self._models.get(key) or self._add_model(key)
        output = model.choice
        predicted = read_response(answer, output) if isinstance(answer, bytes) else answer
        judged = read_response(truth, output) if isinstance(truth, bytes) else truth
        is_uncounted = isinstance(predicted, Uncounted)
        if isinstance(predicted, Uncounted):
            self.telemetry.events[predicted.kind] += 1
            predicted = None
        if isinstance(judged, Uncounted):
            judged = DeadLetter("bad_shape", "the truth is an error or an explanation")
        if isinstance(predicted, DeadLetter) or isinstance(judged, DeadLetter):
            letter = predicted if isinstance(predicted, DeadLetter) else judged
            assert isinstance(letter, DeadLetter)
            self.count_dead_letter(letter)
            return letter
        found: list[Prediction | Feedback] = []
        if predicted is not None and not model.rule.exclude:
            answers, values, content = self._answers(model, predicted)
            found.append(Prediction(key, request_id, time, EVENT, content, answers, values=values))
        if judged is not None or reward is not None:
            found.append(self._judged(key, request_id, feedback_time, model, judged, reward))
        elif predicted is None and not is_uncounted:
            self.telemetry.says_nothing += 1
        return found

    def _count_only(self, verdict: Uncounted) -> Decoded:
        """Count an event that means nothing else."""
        self.telemetry.events[verdict.kind] += 1
        return _OTHER if verdict.kind == OTHER else _NOTHING

    def _decode(self, envelope: Envelope, timestamp: int) -> Decoded | DeadLetter | Uncounted:
        """Decode the body of a single event; the event is counted, a dead letter is not."""
        kind = envelope.kind
        if kind == REQUEST:
            self.telemetry.events[REQUEST] += 1
            return _REQUEST
        time = timestamp if envelope.time is None else self._time(envelope.time)
        if time is None:
            written = envelope.time or b""
            if not is_zero_time(written):
                hint = ": it is in quotes" if is_quoted(written) else ""
                detail = f"ce_time '{printable(written, 60)}' is not RFC 3339{hint}"
                return DeadLetter("bad_time", detail)
            time = timestamp
        if time < 0:
            return DeadLetter("bad_time", "no ce_time, and a file has no other time")
        key, body_format = envelope.key, envelope.body_format
        model = self._models.get(key) or self._add_model(key)
        decoded: Decoded | DeadLetter = _NOTHING
        if kind == FEEDBACK:
            decoded = self._feedback(envelope, model, time)
            if type(decoded) is DeadLetter:
                return decoded
        elif model.rule.exclude:
            decoded = Decoded(excluded=key)
        else:
            output = model.choice
            rows = (
                read_response(envelope.data, output)
                if body_format is None
                else bodies.read_response(envelope.data, body_format, output)
            )
            if isinstance(rows, DeadLetter | Uncounted):
                return rows
            answers, values, content = self._answers(model, rows)
            prediction = Prediction(
                key, envelope.request_id, time, EVENT, content, answers, values=values
            )
            reusable = all(answer.reason is None for answer in answers)
            decoded = Decoded((prediction,), (), reusable)
        telemetry = self.telemetry
        telemetry.events[kind] += 1
        if time > timestamp + FUTURE and timestamp >= 0:
            telemetry.future_times += 1
        if envelope.by_rule and type(decoded) is Decoded:
            # Another event with equal attributes can be of another request or model.
            return msgspec.structs.replace(decoded, reusable=False, excluded=None)
        return decoded

    def _answers(
        self, model: Model, rows: PayloadRows
    ) -> tuple[tuple[Answer, ...], tuple[bytes, ...], int]:
        """Return the predicted items of a message, their packed values (empty if there are none), and
        the digest of them all."""
        found = [model.answer(row, rows.names) for row in rows.rows]
        for answer, _, _ in found:
            if answer.reason is not None:
                self.telemetry.not_scorable[answer.reason] += 1
        if len(found) == 1:
            ((answer, packed, content),) = found
            return (answer,), (packed,) if packed else (), mix(content, packed)
        answers = tuple([answer for answer, _, _ in found])
        values = tuple([packed for _, packed, _ in found])
        content = digest([mix(content, packed) for _, packed, content in found])
        return answers, values if any(values) else (), content

    def _feedback(self, envelope: Envelope, model: Model, time: int) -> Decoded | DeadLetter:
        output = model.choice
        judgement = (
            read_feedback(envelope.data, output)
            if envelope.body_format is None
            else bodies.read_feedback(envelope.data, envelope.body_format, output)
        )
        if isinstance(judgement, DeadLetter):
            return judgement
        if judgement.truth is None and judgement.reward is None:
            self.telemetry.says_nothing += 1
            return _NOTHING
        feedback = self._judged(
            envelope.key, envelope.request_id, time, model, judgement.truth, judgement.reward
        )
        truth, rule = feedback.truth or (), model.rule
        # A label map changes some numbers, and not all.
        is_mapped = rule.task == "regression" and rule.labels is not None
        reusable = not is_mapped and all(row.kind != UNSCORABLE for row in truth)
        return Decoded((feedback,), (), reusable)

    def _judged(
        self,
        scope: ModelKey,
        request_id: str,
        time: int,
        model: Model,
        rows: PayloadRows | None,
        reward: int | None,
    ) -> Feedback:
        """Return the feedback that has truth rows, a reward, or both. Rows that cannot be scored are
        counted at the join, where they meet the items of a prediction."""
        if rows is None:
            return Feedback(
                scope, request_id, time, EVENT, self._digest(None, reward), None, reward
            )
        found = [model.truth(row, rows.names) for row in rows.rows]
        truth = tuple([reading for reading, _ in found])
        values = tuple([packed for _, packed in found])
        content = self._digest(truth[0], reward) if len(truth) == 1 else digest(truth, reward)
        if any(values):
            content = mix(content, b"".join([packed or _NO_DOUBLE for packed in values]))
        else:
            values = ()
        return Feedback(scope, request_id, time, EVENT, content, truth, reward, values)

    def _digest(self, reading: Reading | None, reward: int | None) -> int:
        """Return the digest of a feedback on one row; few of them differ."""
        content = self._feedback_digests.get((reading, reward))
        if content is None:
            truth = None if reading is None else (reading,)
            content = self._feedback_digests.add((reading, reward), digest(truth, reward))
        return content

    def rule(self, key: ModelKey) -> Rule:
        """Return the entry of the models file for a model whose events are decoded."""
        return (self._models.get(key) or self._add_model(key)).rule

    def _add_model(self, key: ModelKey) -> Model:
        return self._models.add(key, Model(self.rules(key), self._add_bytes))

    def _add_bytes(self, size: int) -> None:
        """Note that so many more bytes are remembered; above the bound, everything is forgotten."""
        self._remembered_bytes += size
        if self._remembered_bytes > _MAX_BYTES:
            self.invalidate()

    def invalidate(self) -> None:
        """Forget every model, so that the rules, which have changed, are asked again."""
        self._models.clear()
        self._remembered_bytes = 0
        self._envelope.invalidate()

    def count_dead_letter(self, letter: DeadLetter) -> None:
        """Count a dead letter in the telemetry."""
        self.telemetry.events["unreadable"] += 1
        self.telemetry.dead_letters[letter.reason] += 1
