"""A stored period folded without Kafka: the same pure functions as the live run, so the same numbers."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from processor.domain.counts import Counts, ModelKey
from processor.domain.decode import Decoder
from processor.domain.documents import Document, DocumentReader
from processor.domain.events import Batch, DeadLetter, RawEvent
from processor.domain.join import JoinFold, Standing
from processor.domain.join_state import positions
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


class ReplayFold:
    """Takes events and documents one after another, and tells the result at any time."""

    def __init__(self, rules: ModelRules, selection: Selection) -> None:
        self.selection = selection
        self.telemetry = Telemetry()
        self.read = 0
        self._decoder = Decoder(rules, self.telemetry)
        self._documents = DocumentReader(rules, self.telemetry)
        self._builder = BatchBuilder()
        # All requests stay: a source can hold feedback of any age.
        self._join = JoinFold("", 0, 1, None, self.telemetry)

    def add(self, events: Iterable[RawEvent]) -> None:
        """Fold some events."""
        decode = self._decoder.decode
        for headers, value, timestamp in events:
            observation = decode(headers, value, timestamp)
            if isinstance(observation, Batch):
                self.add(observation.events)
                continue
            self.read += 1
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
        selection, telemetry, state = self.selection, self.telemetry, self._join.state
        return Replay(
            format_time(selection.start) if selection.start is not None else None,
            format_time(selection.end) if selection.end is not None else None,
            selection.by,
            model_results(self._counts(), selection.by),
            Events(
                read=self.read,
                duplicates=telemetry.duplicates,
                superseded=telemetry.superseded,
                corrections=telemetry.corrections,
                unmatched_feedback=state.unmatched,
                late=telemetry.late,
                says_nothing=telemetry.says_nothing,
                rows_differ=state.rows_differ,
                ambiguous=state.ambiguous,
                not_scorable=dict(sorted(self._not_scorable().items())),
                dead_letters=dict(sorted(telemetry.dead_letters.items())),
            ),
        )

    def _fold(self) -> None:
        self._join.apply(0, 0, self._builder.build(""))

    def _not_scorable(self) -> Counter[str]:
        """Items of the last state that can't be judged, by reason, each once."""
        reasons: Counter[str] = Counter()
        answers = self._join.state.answers
        for standing in self._join.standings():
            for position in positions(standing.prediction.answers):
                reason = answers[position].reason
                if reason is not None:
                    reasons[reason] += 1
            if standing.outcome is not None:
                reasons.update(standing.outcome.not_scorable)
        return reasons

    def _counts(self) -> dict[ModelKey, Counts]:
        selection = self.selection
        models: dict[ModelKey, Counts] = {}
        for standing in self._join.standings():
            key = self._join.state.models[standing.prediction.model]
            if selection.namespace not in ("", key.namespace) or selection.deployment not in (
                "",
                key.deployment,
            ):
                continue
            counts = _contribution(standing, selection)
            if counts is not None and not counts.is_empty():
                models.setdefault(key, Counts()).add(counts)
        return models


def _contribution(standing: Standing, selection: Selection) -> Counts | None:
    prediction, feedback, outcome = standing
    if selection.by == "feedback":
        if feedback is None or outcome is None or not selection.holds(feedback.time):
            return None
        return outcome.counts
    if not selection.holds(prediction.time):
        return None
    answers = prediction.answers
    counts = Counts(predictions=1 if isinstance(answers, int) else len(answers))
    if outcome is not None:
        counts.add(outcome.counts)
    return counts
