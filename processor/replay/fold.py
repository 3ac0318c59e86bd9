"""Fold a stored period without Kafka, by the same pure functions as the live run: equal numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from processor.domain.events.attributes import OTHER, UNCOUNTED
from processor.domain.events.decoder import Decoder
from processor.domain.events.document_batches import document_batches
from processor.domain.events.documents import BatchKey, Document, DocumentReader
from processor.domain.events.event_lines import line_reader
from processor.domain.events.events_file import BadLine
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, Item, Outcome
from processor.domain.join.outcome_resolver import JoinedPrediction, judged_items
from processor.domain.log.observations import BatchBuilder, Feedback, ObservationBatch, Prediction
from processor.domain.memo import Memo
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.results import Replay, events_read, model_results
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import format_time
from processor.replay.content_groups import Group, ReplayJoin
from processor.replay.estimates import ModelEstimates, model_estimates
from processor.replay.selection import Selection, counts_of, no_match
from processor.telemetry import Telemetry

#: Observations folded at once; the result does not depend on this number.
_BATCH = 1000


class Shortfall(NamedTuple):
    """The reason why a result is empty or incomplete. ``is_failure`` is False only where sound sources
    hold no prediction, or none in the selected time."""

    message: str
    is_failure: bool


class FoldedDocuments(msgspec.Struct, array_like=True):
    """The observations of some documents, and the counters that decoding them has increased."""

    read: int
    batch: ObservationBatch
    batches: list[BatchKey]
    """Keys of the batches of items whose first document is one of these documents."""
    says_nothing: int
    dead_letters: dict[str, int]
    uncounted: dict[str, int] = {}
    """The events that are other, failed or an explanation, by kind."""


#: The message for sources without a single event.
NOTHING_READ = "nothing was read: the source holds no events"
#: Maximum number of outcomes whose items are cached.
_MAX_CACHED = 10_000


class ReplayFold:
    """Folds events, rows and documents; `result` gives the numbers of those added so far.

    ``read`` counts all inputs, including those that can't be decoded; ``damage`` holds a line of text
    for each source that could not be read to its end.
    """

    def __init__(self, rules: ModelRules, selection: Selection) -> None:
        self.rules, self.selection = rules, selection
        self.telemetry = Telemetry()
        self.read = 0
        self.damage: list[str] = []
        self._decoder = Decoder(rules, self.telemetry)
        self._lines = line_reader(self._decoder, selection.as_of)
        self._reader = DocumentReader(rules, self.telemetry)
        self._documents = document_batches(self._reader, self.telemetry, selection.as_of)
        self._builder = BatchBuilder()
        # All requests stay: a source can hold feedback of any age.
        self._join = ReplayJoin("", 0, 1, None, self.telemetry)

    def add_lines(self, block: bytes, first: int) -> list[BadLine]:
        """Fold whole lines of an events file; ``first`` is the number of the first one. Returns the
        lines that are not events."""
        lines = self._lines.read(block, first)
        self.read += lines.read
        self._join.apply(0, 0, lines.batch)
        return lines.bad

    def add(self, events: Iterable[RawEvent]) -> None:
        """Fold some events."""
        decode = self._decoder.decode
        for headers, value, timestamp in events:
            decoded = decode(headers, value, timestamp)
            self.read += decoded.events
            for observation in decoded.observations:
                self.observe(observation)

    def add_row(self, row: TableRow) -> DeadLetter | None:
        """Fold one row of a table. Returns the dead letter if the row can't be decoded."""
        self.read += 1
        found = self._decoder.decode_row(row)
        if isinstance(found, DeadLetter):
            return found
        for observation in found:
            self.observe(observation)
        return None

    def add_documents(self, documents: Sequence[Document]) -> None:
        """Fold some documents of an archive."""
        self.fold_documents(documents)

    def fold_documents(self, documents: Sequence[Document]) -> FoldedDocuments:
        """Fold some documents of an archive. Returns what `restore` needs to repeat this without the
        documents."""
        telemetry, reader = self.telemetry, self._reader
        known, nothing = reader.batches_read, telemetry.says_nothing
        dead_letters, events = telemetry.dead_letters.copy(), telemetry.events.copy()
        batch = self._documents.read(documents)
        self.read += len(documents)
        self._join.apply(0, 0, batch)
        return FoldedDocuments(
            len(documents),
            batch,
            reader.newest_batches(reader.batches_read - known),
            telemetry.says_nothing - nothing,
            dict(telemetry.dead_letters - dead_letters),
            {kind: n for kind, n in (telemetry.events - events).items() if kind in UNCOUNTED},
        )

    def restore(self, folded: FoldedDocuments) -> None:
        """Fold documents that an earlier process has decoded."""
        self.read += folded.read
        self.telemetry.says_nothing += folded.says_nothing
        self.telemetry.dead_letters.update(folded.dead_letters)
        self.telemetry.events.update(folded.uncounted)
        self._reader.remember_batches(folded.batches)
        self._join.apply(0, 0, folded.batch)

    def observe(self, observation: Prediction | Feedback) -> None:
        """Fold one observation, unless it is later than ``as_of`` of the selection."""
        as_of = self.selection.as_of
        if as_of is not None and observation.time > as_of:
            return
        self._builder.add(observation)
        if self._builder.rows >= _BATCH:
            self._fold()

    def add_bad(self, dead_letter: DeadLetter) -> None:
        """Count an input that is not an event as a dead letter."""
        self.read += 1
        self._decoder.count_dead_letter(dead_letter)

    async def wait_for_room(self) -> None:
        """Return at once: memory always has room."""

    def result(self) -> Replay:
        """The results of all models of the selection, and what became of the events."""
        self._fold()
        selection, state = self.selection, self._join.state
        models: dict[ModelKey, Counts] = {}
        kinds, reasons = Counter[str](), Counter[str]()
        for group, size in self._join.groups(selection):
            self._add_counts(models, group, size, selection)
            _, answers, outcome, _ = group
            for position in (answers,) if isinstance(answers, int) else answers:
                reason = state.answers[position].reason
                if reason is not None:
                    reasons[reason] += size
            if outcome is not None:
                kinds[outcome.kind] += size
                for reason in outcome.not_scorable:
                    reasons[reason] += size
        return Replay(
            format_time(selection.start) if selection.start is not None else None,
            format_time(selection.end) if selection.end is not None else None,
            selection.by,
            model_results(models, selection.by, self.rules),
            events_read(
                self.telemetry,
                reasons,
                read=self.read,
                unmatched=state.unmatched,
                rows_differ=kinds[ROWS_DIFFER],
                ambiguous=kinds[AMBIGUOUS],
            ),
        )

    def counts(self, selection: Selection) -> dict[ModelKey, Counts]:
        """The counts of each model that has any, by the basis, times and names of ``selection``."""
        self._fold()
        models: dict[ModelKey, Counts] = {}
        for group, size in self._join.groups(selection):
            self._add_counts(models, group, size, selection)
        return models

    def estimates(self, maturity: float) -> dict[ModelKey, ModelEstimates]:
        """The nowcast and drift of each model of labels; none on the feedback basis. It walks all
        requests of all times; ``maturity`` is in seconds."""
        if self.selection.by != "request":
            return {}
        self._fold()
        join = self._join
        return model_estimates(join.joined_predictions(), join.state, self.selection, maturity)

    def requests(self) -> Iterator[list[tuple[ModelKey, JoinedPrediction]]]:
        """The joined predictions of each request of the selected namespace and deployment, of any
        time."""
        self._fold()
        models = self._join.state.models
        for joined_predictions in self._join.requests():
            request = [(models[joined.prediction.model], joined) for joined in joined_predictions]
            if request and self.selection.matches(request[0][0]):
                yield request

    def items(self, joined: JoinedPrediction) -> list[Item | None]:
        """The items of a prediction, in the order of its rows; None for an item that is not judged."""
        return judged_items(self._join.state, joined)

    def shortfall(self, result: Replay) -> Shortfall | None:
        """The reason why ``result`` is empty or incomplete; None if it is neither."""
        if self.damage:
            return Shortfall("; ".join(self.damage), True)
        if result.models:
            return None
        if not self.read:
            return Shortfall(NOTHING_READ, True)
        dead_letters = self.telemetry.dead_letters
        # A type that is spelt wrong in every event looks like events of another system.
        unknown = dead_letters + Counter({OTHER: self.telemetry.events[OTHER]})
        if unknown.total() >= self.read:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(unknown.items()))
            message = f"none of the {self.read:,} events could be understood: {reasons}"
            return Shortfall(message, True)

        selection, models = self.selection, self._join.state.models
        if not (keys := {models[group[0]] for group, _ in self._join.groups(selection)}):
            return Shortfall("the sources hold no predictions", False)
        if not any(map(selection.matches, keys)):
            return Shortfall(no_match(selection, {key[:2] for key in keys}), True)
        message = f"nothing falls between --from and --to by {selection.by} time{self._span()}"
        return Shortfall(message, False)

    def judged_items(self, key: ModelKey) -> Iterator[tuple[str, list[Item | None]]]:
        """The request id and the items of each judged prediction of a model in the selected time; None
        for an item that is not judged."""
        self._fold()
        join, models = self._join, self._join.state.models
        deployments = join.state.deployments
        # Millions of predictions share few outcomes.
        cached = Memo[Outcome, list[Item | None]](_MAX_CACHED)
        for ref, _ in join.refs():
            if deployments[ref[0]] != key[:2]:
                continue
            for joined in join.joined_predictions_of(ref):
                outcome, time = joined.outcome, self.selection.time_of(joined)
                if outcome is None or time is None or models[joined.prediction.model] != key:
                    continue
                if not self.selection.in_range(time):
                    continue
                items = cached.get(outcome)
                if items is None:
                    items = cached.add(outcome, judged_items(join.state, joined))
                yield ref[1], items

    def _span(self) -> str:
        """The first and last time of all predictions, in words; empty without any."""
        times = [
            time
            for joined in self._join.joined_predictions()
            if (time := self.selection.time_of(joined)) is not None
        ]
        if not times:
            return ""
        return f"; there is something from {format_time(min(times))} to {format_time(max(times))}"

    def _fold(self) -> None:
        self._join.apply(0, 0, self._builder.build(""))

    def _add_counts(
        self, models: dict[ModelKey, Counts], group: Group, size: int, selection: Selection
    ) -> None:
        """Add the counts of a group of ``size`` predictions to its model's, if it is selected."""
        model, answers, outcome, is_in_range = group
        key = self._join.state.models[model]
        if not is_in_range or not selection.matches(key):
            return
        counts = counts_of(answers, outcome, selection.by)
        if not counts.is_empty():
            models.setdefault(key, Counts()).add(counts, size)
