"""The meaning of the rows of a model's messages under its rule."""

from collections.abc import Callable

from processor.domain.events.payloads.forms import Choice
from processor.domain.interpreter import interpret, map_truth, name_truth
from processor.domain.memo import Memo
from processor.domain.model_rules import Rule
from processor.domain.quantities import pack_double
from processor.domain.row_reader import RowRules, read_row, read_truth
from processor.domain.values import (
    INTEGER,
    NUMBER,
    PROBABILITY,
    Answer,
    NamedScores,
    Reading,
    content_digest,
)

#: The most answers of a list of names that are remembered, and the most lists of names of a model.
_MAX_ENTRIES, _MAX_NAMES = 10_000, 16
#: The bytes, about, that a model, a list of names or an answer takes beside its texts.
_ENTRY_BYTES = 600


class Model:
    """A model: its rule, and what its messages have said, by the list of names that they have."""

    __slots__ = ("_add_bytes", "_answers", "_row_rules", "choice", "rule")

    def __init__(self, rule: Rule, add_bytes: Callable[[int], None]) -> None:
        self.rule = rule
        self.choice = Choice.of(rule)
        self._row_rules = RowRules(rule.task, rule.output, rule.threshold)
        self._add_bytes = add_bytes
        add_bytes(_ENTRY_BYTES)
        self._answers = Memo[tuple[str, ...] | None, _Answers](_MAX_NAMES)

    def answer(self, row: object, names: tuple[str, ...] | None) -> tuple[Answer, bytes, int]:
        """Return the predicted item of a row, its packed values, and the digest of the item alone."""
        if type(row) is NamedScores:
            names = row.names
        found = self._answers.get(names)
        if found is None:
            found = self._answers.add(names, _Answers(self.rule, names, self._add_bytes))
        return found.answer(read_row(row, self._row_rules))

    def truth(self, row: object, names: tuple[str, ...] | None) -> tuple[Reading, bytes]:
        """Return the reading of a truth row, and its number packed if it is one."""
        if type(row) is NamedScores:
            names = row.names
        reading = name_truth(read_truth(row, self._row_rules), names)
        if self.rule.labels is not None:
            reading = map_truth(reading, self.rule.labels)
        if reading.kind == NUMBER or (
            self.rule.task == "regression" and reading.kind in (INTEGER, PROBABILITY)
        ):
            packed = pack_double(reading.value)  # type: ignore[arg-type]
            if packed is not None:
                return _NUMBER, packed
        return reading._replace(probabilities=b"") if reading.probabilities else reading, b""


#: A truth that is a number, which stands beside it.
_NUMBER = Reading(NUMBER, None)


class _Answers:
    """The answers that a model has given with one list of names, each with its digest: most rows read
    like an earlier one."""

    __slots__ = ("_add_bytes", "_by_reading", "_digests", "_rule", "_schema")

    def __init__(
        self, rule: Rule, names: tuple[str, ...] | None, add_bytes: Callable[[int], None]
    ) -> None:
        self._rule = rule
        self._add_bytes = add_bytes
        add_bytes(_ENTRY_BYTES + sum(map(len, names or ())))
        self._schema = rule.schema(names)
        self._by_reading = Memo[tuple[int, object, int, bool], tuple[Answer, int]](_MAX_ENTRIES)
        self._digests = Memo[Answer, int](_MAX_ENTRIES)

    def answer(self, reading: Reading) -> tuple[Answer, bytes, int]:
        if reading.kind in (PROBABILITY, NUMBER) or self._rule.task == "regression":
            answer, packed = self._interpret(reading)
            return answer, packed, self._digest(answer)
        kind, value, width, probabilities = reading
        # Not which probabilities stand beside a label, but whether there are any: a bare 1 may itself
        # be the probability of the second of two classes.
        key = kind, value, width, bool(probabilities)
        found = self._by_reading.get(key)
        if found is None:
            answer, _ = self._interpret(reading)
            found = self._by_reading.add(key, (answer, self._digest(answer)))
        return found[0], probabilities if found[0].reason is None else b"", found[1]

    def _interpret(self, reading: Reading) -> tuple[Answer, bytes]:
        rule = self._rule
        return interpret(reading, self._schema, rule.output, rule.labels, rule.task)

    def _digest(self, answer: Answer) -> int:
        content = self._digests.get(answer)
        if content is None:
            content = self._digests.add(answer, content_digest(answer))
            self._add_bytes(_ENTRY_BYTES + len(answer.label or ""))
        return content
