"""A join that is read at its end only, as groups of predictions with equal content."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from processor.domain.join.delta_accumulator import Deltas, NativeDeltaAccumulator
from processor.domain.join.fold import JoinFold
from processor.domain.join.judge import SCORED, Outcome
from processor.domain.join.native_fast_path import NativeFastPath
from processor.domain.join.plans import Part
from processor.domain.join.requests.request import Request
from processor.domain.join.state import JoinState
from processor.domain.log.deltas import DeltaBatch, unpack
from processor.domain.log.records import decode_delta, encode
from processor.domain.statistics.counts import Counts
from processor.domain.statistics.sums import DELAYS

#: Position of the answers in the state's table, one for each item; a single one without a tuple.
Answers = int | tuple[int, ...]
#: Predictions with equal content: model, answers, outcome, and whether their time is in range.
Group = tuple[int, Answers, Outcome | None, bool]

#: Rows that are judged at once.
_AT_ONCE = 4096
#: The minutes in which rows are counted whose time is in range, and the others.
_IN_RANGE, _OUT_OF_RANGE = 0, 1


class TimeRange(Protocol):
    """Chooses predictions by a time in ns, that of the prediction or of its feedback."""

    @property
    def by(self) -> str:
        """The basis of the time: "request" or "feedback"."""
        ...

    def in_range(self, time: int) -> bool:
        """Whether a time is in the range."""
        ...


class ReplayJoin(JoinFold):
    """A join without deltas."""

    def _deltas(self, offset: int) -> Deltas:
        self._accumulator.clear()
        return {}

    def groups(self, selection: TimeRange) -> Iterator[tuple[Group, int]]:
        """The groups of predictions and their sizes: millions fall into few groups. The counts of those
        with probabilities or numbers come summed, as an outcome of no answers."""
        by_feedback = selection.by == "feedback"

        def in_range(predicted_at: int, feedback_at: int | None) -> bool:
            time = feedback_at if by_feedback else predicted_at
            return time is not None and selection.in_range(time)

        judge = None
        if isinstance(self._accumulator, NativeDeltaAccumulator) and isinstance(
            self._fast_path, NativeFastPath
        ):
            judge = _ValueJudge(self.state, self._accumulator, self._fast_path)
        groups: Counter[Group] = Counter()
        for joined, is_in_range, size in self.group_by_content(
            in_range, None if judge is None else judge.add
        ):
            prediction, feedback, outcome = joined
            answers = prediction.answers
            group = (
                prediction.model,
                answers if isinstance(answers, int) else tuple(answers),
                outcome,
                is_in_range and not (by_feedback and feedback is None),
            )
            if outcome is not None and outcome.counts.sums:
                yield group, size
            else:
                groups[group] += size
        yield from groups.items()
        if judge is not None:
            yield from judge.groups()


#: The model, answer, truth and reward of a request; its plan depends on nothing else but the values.
_Content = tuple[int, int, int | None, int | None]


class _ValueJudge:
    """Judges requests with values in the native extension."""

    def __init__(
        self, state: JoinState, accumulator: NativeDeltaAccumulator, fast_path: NativeFastPath
    ) -> None:
        accumulator.clear()
        self._state = state
        self._accumulator = accumulator
        self._plan_of = fast_path.plan_of
        #: None if Python must judge them.
        self._plans: dict[_Content, int | None] = {}
        self._waiting: dict[tuple[_Content, bool], list[tuple[bytes, bytes]]] = {}
        self._groups: Counter[Group] = Counter()

    def add(self, request: Request, is_in_range: bool) -> bool:
        """Judge a request with one prediction and one feedback, now or later. False if Python must do
        it."""
        ((prediction,), (feedback,)) = request.predictions, request.feedbacks
        model, answer, truth, values = (
            prediction.model, prediction.answers, feedback.truth, prediction.values
        )  # fmt: skip
        truth_values = feedback.values or b""
        if (
            not isinstance(answer, int)
            or isinstance(truth, list)
            or not isinstance(values, bytes)
            or not isinstance(truth_values, bytes)
            or (truth is None and feedback.scope != model)  # the reward may be another model's
        ):
            return False
        content = model, answer, truth, feedback.reward
        if content not in self._plans:
            self._plans[content] = self._plan_of(answer, truth, feedback.reward, Part.ALONE)
        if self._plans[content] is None:
            return False
        rows = self._waiting.setdefault((content, is_in_range), [])
        rows.append((values, truth_values))
        if len(rows) >= _AT_ONCE:
            self._judge(content, is_in_range, rows)
            rows.clear()
        return True

    def groups(self) -> Iterator[tuple[Group, int]]:
        """The groups of all rows: their predictions, their kinds of outcomes without the counts, and the
        counts of each model."""
        for (content, is_in_range), rows in self._waiting.items():
            self._judge(content, is_in_range, rows)
        models = self._state.models
        batches = self._accumulator.drain([0] * len(models), (0, "", 0, 0))
        yield from self._groups.items()
        for packed in batches.values():
            batch = decode_delta(encode(packed))
            assert isinstance(batch, DeltaBatch)
            for delta in batch.deltas:
                if (delta.basis, delta.minute) == (0, _IN_RANGE):
                    counts = unpack(delta, batch.labels)
                    counts.sums = {key: n for key, n in counts.sums.items() if key[0] not in DELAYS}
                    outcome = Outcome(SCORED, counts)
                    yield (models.index(batch.models[delta.model]), (), outcome, True), 1

    def _judge(self, content: _Content, is_in_range: bool, rows: list[tuple[bytes, bytes]]) -> None:
        plan, (model, answer, _, _) = self._plans[content], content
        if plan is None or not rows:
            return
        minute = _IN_RANGE if is_in_range else _OUT_OF_RANGE
        native = self._accumulator.native
        self._groups[model, answer, None, is_in_range] += len(rows)
        for outcome_id, times in native.add_valued_judgements(model, minute, plan, rows):
            outcome = self._accumulator.outcome(outcome_id)
            if outcome.affects_diagnostics:
                kind = Outcome(outcome.kind, Counts(), outcome.not_scorable)
                self._groups[model, (), kind, is_in_range] += times
