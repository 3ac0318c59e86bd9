"""A stored period folded without Kafka: the same pure functions as the live run, so the same numbers."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from processor.domain.counts import Counts, ModelKey
from processor.domain.decode import Decoder
from processor.domain.documents import Document, DocumentReader
from processor.domain.event_lines import BadLine, LineReader
from processor.domain.events import DeadLetter, RawEvent
from processor.domain.join import JoinFold
from processor.domain.join_state import FeedbackRegister, PredictionRegister, positions
from processor.domain.judge import AMBIGUOUS, ROWS_DIFFER, Outcome
from processor.domain.models import ModelRules
from processor.domain.observations import BatchBuilder, Feedback, Prediction
from processor.domain.results import Events, Replay, model_results
from processor.domain.telemetry import Telemetry
from processor.domain.times import format_time

#: Observations folded at once; the result does not depend on it.
_BATCH = 1000


class Selection(NamedTuple):
    """What of a source is asked for. ``start`` and ``end`` bound the time on the basis ``by``:
    [start, end) in ns, None = open. ``as_of`` (ns) is the last time that is known of. Empty names
    select all."""

    by: str = "request"
    start: int | None = None
    end: int | None = None
    as_of: int | None = None
    namespace: str = ""
    deployment: str = ""

    def holds(self, time: int) -> bool:
        """Whether a time is between start and end."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


class _Join(JoinFold):
    """The join without its deltas: what stands at the end is all that a replay asks for."""

    def _count_predicted(self, prediction: PredictionRegister, sign: int) -> None:
        pass

    def _count_outcome(
        self,
        prediction: PredictionRegister,
        feedback: FeedbackRegister,
        outcome: Outcome,
        sign: int,
    ) -> None:
        pass


class _Standings(NamedTuple):
    """What stands at the end: counts of the models that are asked for, the rest of all."""

    counts: dict[ModelKey, Counts]
    rows_differ: int
    ambiguous: int
    not_scorable: Counter[str]


class ReplayFold:
    """Takes events and documents one after another, and tells the result at any time."""

    def __init__(self, rules: ModelRules, selection: Selection) -> None:
        self.selection = selection
        self.telemetry = Telemetry()
        self.read = 0
        self._decoder = Decoder(rules, self.telemetry)
        self._lines = LineReader(self._decoder, selection.as_of)
        self._documents = DocumentReader(rules, self.telemetry)
        self._builder = BatchBuilder()
        # All requests stay: a source can hold feedback of any age.
        self._join = _Join("", 0, 1, None, self.telemetry)

    def add_lines(self, block: bytes, first: int) -> list[BadLine]:
        """Fold whole lines of an events file, the ``first``-th on; those that are no events."""
        lines = self._lines.read(block, first)
        self.read += lines.read
        self._join.apply(0, 0, lines.batch)
        return lines.bad

    def add(self, events: Iterable[RawEvent]) -> None:
        """Fold some events."""
        decode = self._decoder.decode
        for headers, value, timestamp in events:
            self.read += 1
            observation = decode(headers, value, timestamp)
            if observation is not None and not isinstance(observation, DeadLetter):
                self.observe(observation)

    def add_documents(self, documents: Iterable[Document]) -> None:
        """Fold some documents of an archive."""
        read = self._documents.read
        for document in documents:
            self.read += 1
            for observation in read(document):
                if not isinstance(observation, DeadLetter):
                    self.observe(observation)

    def observe(self, observation: Prediction | Feedback) -> None:
        """Fold one observation, unless it is later than what is to be known."""
        as_of = self.selection.as_of
        if as_of is not None and observation.time > as_of:
            return
        self._builder.add(observation)
        if self._builder.rows >= _BATCH:
            self._fold()

    def result(self) -> Replay:
        """The numbers of all that was added."""
        self._fold()
        selection, telemetry = self.selection, self.telemetry
        standings = self._standings()
        return Replay(
            format_time(selection.start) if selection.start is not None else None,
            format_time(selection.end) if selection.end is not None else None,
            selection.by,
            model_results(standings.counts, selection.by),
            Events(
                read=self.read,
                duplicates=telemetry.duplicates,
                superseded=telemetry.superseded,
                corrections=telemetry.corrections,
                unmatched_feedback=self._join.state.unmatched,
                late=telemetry.late,
                says_nothing=telemetry.says_nothing,
                rows_differ=standings.rows_differ,
                ambiguous=standings.ambiguous,
                not_scorable=dict(sorted(standings.not_scorable.items())),
                dead_letters=dict(sorted(telemetry.dead_letters.items())),
            ),
        )

    def names(self) -> set[tuple[str, str]]:
        """The namespaces and deployments of all predictions."""
        state = self._join.state
        return {
            (state.models[number].namespace, state.models[number].deployment)
            for number in {standing.prediction.model for standing in self._join.standings()}
        }

    def _fold(self) -> None:
        self._join.apply(0, 0, self._builder.build(""))

    def _standings(self) -> _Standings:
        """Of millions of predictions there are few that differ: what they contribute is added up
        once for all that are alike."""
        by_feedback, holds = self.selection.by == "feedback", self.selection.holds
        everything = self.selection.start is None and self.selection.end is None
        alike: dict[_Like, int] = {}
        for prediction, feedback, outcome in self._join.standings():
            answers = prediction.answers
            if by_feedback:
                counted = feedback is not None and (everything or holds(feedback.time))
            else:
                counted = everything or holds(prediction.time)
            like = (
                prediction.model,
                answers if isinstance(answers, int) else tuple(answers),
                outcome,
                counted,
            )
            alike[like] = alike.get(like, 0) + 1
        total = _Standings({}, 0, 0, Counter())
        for like, times in alike.items():
            total = self._add(total, like, times)
        return total

    def _add(self, total: _Standings, like: "_Like", times: int) -> _Standings:
        """The total with what so many predictions contribute that are alike."""
        model, packed, outcome, counted = like
        state, selection = self._join.state, self.selection
        answers = [state.answers[position] for position in positions(packed)]
        reasons = [answer.reason for answer in answers if answer.reason is not None]
        reasons += () if outcome is None else outcome.not_scorable
        for reason in reasons:
            total.not_scorable[reason] += times
        key = state.models[model]
        if (
            counted
            and selection.namespace in ("", key.namespace)
            and selection.deployment in ("", key.deployment)
        ):
            counts = Counts() if selection.by == "feedback" else Counts(predictions=len(answers))
            if outcome is not None:
                counts.add(outcome.counts)
            if not counts.is_empty():
                total.counts.setdefault(key, Counts()).add(counts, times)
        kind = None if outcome is None else outcome.kind
        return total._replace(
            rows_differ=total.rows_differ + times * (kind == ROWS_DIFFER),
            ambiguous=total.ambiguous + times * (kind == AMBIGUOUS),
        )


#: Model, answers, outcome, and whether the time is one that is asked for.
_Like = tuple[int, int | tuple[int, ...], Outcome | None, bool]
