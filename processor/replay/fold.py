"""A stored period folded without Kafka: the same pure functions as the live run, so the same numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import msgspec

from processor.domain.events.decoder import Decoder
from processor.domain.events.document_batches import document_batches
from processor.domain.events.documents import BatchKey, Document, DocumentReader
from processor.domain.events.event_lines import line_reader
from processor.domain.events.events_file import BadLine
from processor.domain.events.payloads.table_rows import TableRow
from processor.domain.events.raw_event import DeadLetter, RawEvent
from processor.domain.join.delta_accumulator import Deltas
from processor.domain.join.fold import JoinFold
from processor.domain.join.judge import AMBIGUOUS, ROWS_DIFFER, Item, Outcome
from processor.domain.join.outcome_resolver import JoinedPrediction, judged_items
from processor.domain.log.observations import BatchBuilder, Feedback, ObservationBatch, Prediction
from processor.domain.model_key import ModelKey
from processor.domain.model_rules import ModelRules
from processor.domain.results import Events, Replay, model_results
from processor.domain.statistics.counts import Counts
from processor.domain.timestamps import format_time
from processor.telemetry import Telemetry

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

    def names(self, key: ModelKey) -> bool:
        """Whether the model is of the namespace and deployment that are asked for."""
        return self.namespace in ("", key.namespace) and self.deployment in ("", key.deployment)

    def in_range(self, time: int) -> bool:
        """Whether a time is between start and end."""
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


class Shortfall(NamedTuple):
    """Why there are no numbers, or not those of all that a source holds. ``is_failure``: nothing was
    understood or matches, or a source is damaged."""

    message: str
    is_failure: bool


class FoldedDocuments(msgspec.Struct, array_like=True):
    """What some documents say, and what was counted in decoding them."""

    read: int
    batch: ObservationBatch
    batches: list[BatchKey]
    """Batches of items whose first document is among them."""
    says_nothing: int
    dead_letters: dict[str, int]


class _Join(JoinFold):
    """The join without its deltas: what stands at the end is all that a replay asks for."""

    def _deltas(self, offset: int) -> Deltas:
        self._accumulator.clear()
        return {}


#: Model, answers and outcome of predictions that are alike, and whether they are of the time asked for.
_Group = tuple[int, int | tuple[int, ...], Outcome | None, bool]
#: What is said of sources that are empty.
NOTHING_READ = "nothing was read: the source holds no events"
#: Outcomes whose items are remembered.
_MEMORY = 10_000
#: Names that a message lists at most.
_MAX_NAMES = 10


class ReplayFold:
    """Takes events and documents one after another, and tells the result at any time."""

    def __init__(self, rules: ModelRules, selection: Selection) -> None:
        self.selection = selection
        self.telemetry = Telemetry()
        self.read = 0
        self.damage: list[str] = []
        self._decoder = Decoder(rules, self.telemetry)
        self._lines = line_reader(self._decoder, selection.as_of)
        self._reader = DocumentReader(rules, self.telemetry)
        self._documents = document_batches(self._reader, self.telemetry, selection.as_of)
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
            decoded = decode(headers, value, timestamp)
            self.read += decoded.events
            for observation in decoded.observations:
                self.observe(observation)

    def add_row(self, row: TableRow) -> DeadLetter | None:
        """Fold one row of a table; the dead letter where it can't be understood."""
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
        """`add_documents`, and what `restore` needs to do the same without them."""
        telemetry, reader = self.telemetry, self._reader
        known, nothing = reader.batches_read, telemetry.says_nothing
        dead_letters = telemetry.dead_letters.copy()
        batch = self._documents.read(documents)
        self.read += len(documents)
        self._join.apply(0, 0, batch)
        return FoldedDocuments(
            len(documents),
            batch,
            reader.newest_batches(reader.batches_read - known),
            telemetry.says_nothing - nothing,
            dict(telemetry.dead_letters - dead_letters),
        )

    def restore(self, folded: FoldedDocuments) -> None:
        """Fold what an earlier process made of documents."""
        self.read += folded.read
        self.telemetry.says_nothing += folded.says_nothing
        self.telemetry.dead_letters.update(folded.dead_letters)
        self._reader.remember_batches(folded.batches)
        self._join.apply(0, 0, folded.batch)

    def observe(self, observation: Prediction | Feedback) -> None:
        """Fold one observation, unless it is later than what is to be known."""
        as_of = self.selection.as_of
        if as_of is not None and observation.time > as_of:
            return
        self._builder.add(observation)
        if self._builder.rows >= _BATCH:
            self._fold()

    def add_bad(self, letter: DeadLetter) -> None:
        """Count what is no event at all."""
        self.read += 1
        self._decoder.count_dead_letter(letter)

    async def settle(self) -> None:
        """Nothing waits: all that was added is in memory."""

    def result(self) -> Replay:
        """The numbers of all that was added."""
        self._fold()
        selection, telemetry, state = self.selection, self.telemetry, self._join.state
        models: dict[ModelKey, Counts] = {}
        group_by_content: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for group, times in self._groups(selection).items():
            self._add_counts(models, group, times, selection)
            _, answers, outcome, _ = group
            for position in (answers,) if isinstance(answers, int) else answers:
                reason = state.answers[position].reason
                if reason is not None:
                    reasons[reason] += times
            if outcome is not None:
                group_by_content[outcome.kind] += times
                for reason in outcome.not_scorable:
                    reasons[reason] += times
        return Replay(
            format_time(selection.start) if selection.start is not None else None,
            format_time(selection.end) if selection.end is not None else None,
            selection.by,
            model_results(models, selection.by),
            Events(
                read=self.read,
                duplicates=telemetry.duplicates,
                superseded=telemetry.superseded,
                corrections=telemetry.corrections,
                unmatched_feedback=state.unmatched,
                late=telemetry.late,
                says_nothing=telemetry.says_nothing,
                rows_differ=group_by_content[ROWS_DIFFER],
                ambiguous=group_by_content[AMBIGUOUS],
                not_scorable=dict(sorted(reasons.items())),
                dead_letters=dict(sorted(telemetry.dead_letters.items())),
            ),
        )

    def counts(self, selection: Selection) -> dict[ModelKey, Counts]:
        """The counts of each model that has any, by the basis, times and names of ``selection``."""
        self._fold()
        models: dict[ModelKey, Counts] = {}
        for group, times in self._groups(selection).items():
            self._add_counts(models, group, times, selection)
        return models

    def requests(self) -> Iterator[list[tuple[ModelKey, JoinedPrediction]]]:
        """What each request of the chosen namespace and deployment contributes, of any time."""
        self._fold()
        models = self._join.state.models
        for joined_predictions in self._join.requests():
            request = [(models[joined.prediction.model], joined) for joined in joined_predictions]
            if request and self.selection.names(request[0][0]):
                yield request

    def right(self, joined: JoinedPrediction) -> list[bool | None]:
        """Whether each item of a prediction was right, None where it was not judged."""
        return [item and item.correct for item in judged_items(self._join.state, joined)]

    def shortfall(self, result: Replay) -> Shortfall | None:
        """What a user must hear of a result that is empty, or is not of all that the sources hold."""
        if self.damage:
            return Shortfall("; ".join(self.damage), True)
        if result.models:
            return None
        if not self.read:
            return Shortfall(NOTHING_READ, True)
        dead_letters = self.telemetry.dead_letters
        if dead_letters.total() >= self.read:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(dead_letters.items()))
            message = f"none of the {self.read:,} events could be understood: {reasons}"
            return Shortfall(message, True)

        selection, models = self.selection, self._join.state.models
        keys = {models[group[0]] for group in self._groups(selection)}
        if not keys:
            return Shortfall("there are no predictions in what was read", False)
        if not any(map(selection.names, keys)):
            return Shortfall(no_match(selection, {key[:2] for key in keys}), True)
        message = f"nothing falls between --from and --to by {selection.by} time{self._span()}"
        return Shortfall(message, False)

    def judged_items(self, key: ModelKey) -> Iterator[tuple[str, list[Item | None]]]:
        """The request id and the items of each judged prediction of a model in the chosen time; None
        for an item that is not judged."""
        self._fold()
        join, models = self._join, self._join.state.models
        deployments = join.state.deployments
        known: dict[Outcome, list[Item | None]] = {}  # few of millions differ
        for ref, _ in join.refs():
            if deployments[ref[0]] != key[:2]:
                continue
            for joined in join.joined_predictions_of(ref):
                prediction, feedback, outcome = joined
                if feedback is None or outcome is None or models[prediction.model] != key:
                    continue
                time = feedback.time if self.selection.by == "feedback" else prediction.time
                if not self.selection.in_range(time):
                    continue
                items = known.get(outcome)
                if items is None:
                    if len(known) > _MEMORY:
                        known.clear()
                    items = known[outcome] = judged_items(join.state, joined)
                yield ref[1], items

    def _span(self) -> str:
        """From when to when there is something, in words; empty where nothing is."""
        times = [
            register.time
            for prediction, feedback, _ in self._join.joined_predictions()
            if (register := feedback if self.selection.by == "feedback" else prediction) is not None
        ]
        if not times:
            return ""
        return f"; there is something from {format_time(min(times))} to {format_time(max(times))}"

    def _fold(self) -> None:
        self._join.apply(0, 0, self._builder.build(""))

    def _groups(self, selection: Selection) -> dict[_Group, int]:
        """How many predictions there are of each kind: of millions there are few that differ."""
        by_feedback = selection.by == "feedback"

        def in_range(predicted_at: int, feedback_at: int | None) -> bool:
            time = feedback_at if by_feedback else predicted_at
            return time is not None and selection.in_range(time)

        groups: Counter[_Group] = Counter()
        for (prediction, feedback, outcome), held, times in self._join.group_by_content(in_range):
            answers = prediction.answers
            group = (
                prediction.model,
                answers if isinstance(answers, int) else tuple(answers),
                outcome,
                held and not (by_feedback and feedback is None),
            )
            groups[group] += times
        return groups

    def _add_counts(
        self, models: dict[ModelKey, Counts], group: _Group, times: int, selection: Selection
    ) -> None:
        """Add what so many predictions contribute to the counts that are asked for."""
        model, answers, outcome, counted = group
        key = self._join.state.models[model]
        if not counted or not selection.names(key):
            return
        counts = Counts()
        if selection.by == "request":
            counts.predictions = 1 if isinstance(answers, int) else len(answers)
        if outcome is not None:
            counts.add(outcome.counts)
        if not counts.is_empty():
            models.setdefault(key, Counts()).add(counts, times)


def no_match(selection: Selection, names: Iterable[tuple[str, str]]) -> str:
    """That no model is of the selection's names; ``names`` are the namespaces and deployments that
    there are.

    >>> no_match(Selection(deployment="sklern"), [("seldon", "sklearn"), ("shop", "churn")])
    'no model matches --deployment sklern: did you mean seldon/sklearn?'
    >>> no_match(Selection(namespace="me"), [("seldon", "sklearn")])
    'no model matches --namespace me; there are: seldon/sklearn'
    """
    wanted = {"namespace": selection.namespace, "deployment": selection.deployment}
    asked = " ".join(f"--{option} {value}" for option, value in wanted.items() if value)
    there = sorted(names)
    close = [
        "/".join(pair)
        for pair in there
        if all(
            not value or get_close_matches(value, [name])
            for value, name in zip(wanted.values(), pair, strict=True)
        )
    ]
    if close:
        return f"no model matches {asked}: did you mean {' or '.join(close[:_MAX_NAMES])}?"
    more = f" and {len(there) - _MAX_NAMES} more" if len(there) > _MAX_NAMES else ""
    listed = ", ".join("/".join(pair) for pair in there[:_MAX_NAMES])
    return f"no model matches {asked}; there are: {listed}{more}"


def contribution(joined: JoinedPrediction, selection: Selection) -> Counts | None:
    """What a prediction adds to the counts of a selection; None where its time is outside."""
    prediction, feedback, outcome = joined
    if selection.by == "feedback":
        if feedback is None or outcome is None or not selection.in_range(feedback.time):
            return None
        return outcome.counts
    if not selection.in_range(prediction.time):
        return None
    answers = prediction.answers
    counts = Counts(predictions=1 if isinstance(answers, int) else len(answers))
    if outcome is not None:
        counts.add(outcome.counts)
    return counts
